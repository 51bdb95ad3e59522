"""Tones that tell who hears whom: make them, write and read WAV files, find the frequency in what was heard.

Samples are int16, 8 kHz unless a rate is given, shape (n,) for one channel and (n, channels) in files.
"""

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
RATE = 8000
PHONES = (555, 610, 740, 830, 960, 1250, 1430, 1620)
"""Tones for phones, in whole Hz: between the notes of the music on hold, none a multiple of another."""
QUIET = 200.0
"""RMS below which a stretch counts as silence."""


def tone(hz: float, seconds: float, *, rate: int = RATE, level: float = 0.3) -> Samples:
    """A sine; `level` 1.0 is full scale."""
    at = np.arange(round(seconds * rate)) / rate
    return (np.sin(2 * np.pi * hz * at) * level * 32767).astype(np.int16)


def write_wav(path: Path, samples: Samples, *, rate: int = RATE) -> None:
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())


def read_wav(path: Path) -> tuple[int, Samples]:
    """Rate and samples of shape (n, channels). Raises wave.Error or ValueError for what is no 16-bit WAV."""
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path}: {8 * file.getsampwidth()} bit, not 16")
        data = file.readframes(file.getnframes())
        return file.getframerate(), np.frombuffer(data, "<i2").reshape(-1, file.getnchannels()).astype(np.int16)


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0


def dominant(samples: Samples, *, rate: int = RATE) -> float:
    """Strongest frequency in Hz; 0.0 in silence. One channel, at least 0.1 s."""
    if samples.size < rate // 10 or rms(samples) < QUIET:
        return 0.0
    windowed = samples.astype(np.float64) * np.hanning(samples.size)
    spectrum = np.abs(np.fft.rfft(windowed, n=max(samples.size, rate)))
    spectrum[: int(60 * spectrum.size * 2 / rate)] = 0  # no DC, no hum
    return float(np.argmax(spectrum)) * rate / (2 * (spectrum.size - 1))


def timeline(samples: Samples, *, rate: int = RATE, step: float = 0.2) -> list[float]:
    """The dominant frequency of each `step` seconds, in order."""
    n = round(step * rate)
    return [dominant(samples[at : at + n], rate=rate) for at in range(0, samples.size - n + 1, n)]


def seconds_of(hz: float, samples: Samples, *, rate: int = RATE, within: float = 25.0, step: float = 0.2) -> float:
    """For how long the tone `hz` was the dominant one."""
    return step * sum(1 for found in timeline(samples, rate=rate, step=step) if abs(found - hz) <= within)


def presence(
    tones: Sequence[float], samples: Samples, *, rate: int = RATE, step: float = 0.2, floor: float = 0.02
) -> float:
    """For how long all of `tones` were there at once, each at `floor` of full scale or above."""
    n = round(step * rate)
    window = np.hanning(n)
    waves = [np.exp(-2j * np.pi * hz * np.arange(n) / rate) * window for hz in tones]
    loud = [
        all(2 * abs(np.dot(samples[at : at + n], wave)) / window.sum() > floor * 32767 for wave in waves)
        for at in range(0, samples.size - n + 1, n)
    ]
    return step * sum(loud)


def seconds_of_others(
    mine: float, others: Sequence[float], samples: Samples, *, rate: int = RATE, within: float = 25.0
) -> float:
    """For how long any of `others` (but `mine`) was dominant: leaked audio."""
    return sum(seconds_of(hz, samples, rate=rate, within=within) for hz in others if hz != mine)
