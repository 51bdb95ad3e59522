"""Prompt and music clips: WAV files, checked and encoded once for both codecs."""

import io
import os
import wave
from dataclasses import dataclass

import numpy as np

from engine.media.plane import PlaneError
from engine.rtp import g711

RATE = 8000
MAX_SECONDS = 900
"""Both encodings of the longest clip take 14 MB."""
_MAX_FILE = 44 + 1024 + MAX_SECONDS * RATE * 2


@dataclass(frozen=True, slots=True)
class Clip:
    pcmu: bytes
    pcma: bytes
    """One octet per sample each."""

    @property
    def seconds(self) -> float:
        return len(self.pcmu) / RATE


def load(path: str) -> Clip:
    """Read and encode. Raises PlaneError that names the file and what is wrong with it."""
    try:
        if os.path.getsize(path) > _MAX_FILE:
            raise PlaneError(f"clip {path}: longer than {MAX_SECONDS} s")
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE)
    except OSError as error:
        raise PlaneError(f"clip {path}: {error.strerror}") from error
    return decode(data, path)


def decode(data: bytes, path: str) -> Clip:
    """The WAV file `data`; `path` names it in errors."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            shape = (file.getnchannels(), file.getsampwidth() * 8, file.getframerate())
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise PlaneError(f"clip {path}: not a WAV file ({error or 'it ends early'})") from error
    if shape != (1, 16, RATE):
        raise PlaneError(
            f"clip {path}: {shape[0]} channels, {shape[1]} bit, {shape[2]} Hz; must be mono, 16 bit, 8000 Hz"
        )
    samples = np.frombuffer(frames[: len(frames) & ~1], "<i2").astype(np.int16)
    return Clip(g711.encode_ulaw(samples), g711.encode_alaw(samples))
