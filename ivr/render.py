"""Makes the WAVs of prompts.yaml with espeak-ng (extra `prompts`), and the music on hold.

Debian's espeak-ng 1.51 reads Mandarin as letters; 1.52, which espeakng-loader brings, speaks it. It gives 22 050 Hz; a
windowed-sinc low-pass at 3 600 Hz brings that to the telephone's 8 000 Hz. Silence at the ends is cut, loudness is set
to -20 dBFS over what is spoken, peaks stay below -1 dBFS.
"""

import ctypes
import hashlib
import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ivr.prompts import SAMPLE_RATE
from ivr.speech import WHOLE_NUMBERS
from kernel.schema import Model, validate
from kernel.yamlsrc import Problem, read

Sound = NDArray[np.float64]
"""Mono samples, full scale ±1."""

LOUDNESS_DB = -20.0
PEAK = 10 ** (-1 / 20)
QUIET = 10 ** (-50 / 20)
"""What counts as silence at the ends."""
LEAD_SECONDS = 0.02
TAIL_SECONDS = 0.06
SENTENCE_TAIL_SECONDS = 0.3
"""After a full stop: what is played next is another sentence."""
CUTOFF_HZ = 3600.0
TAPS = 64
"""Of the low-pass, on each side, in input samples at the lower rate."""
NUMBER_SPEED = 0.85
"""Of the voice's: a number stands alone, and must be understood at once."""
STAMPS = "rendered.json"
"""In the prompts' folder: clip → hash of the words and voice that it was rendered from."""


class Voice(Model):
    voice: str
    speed: int = Field(default=160, ge=80, le=400)
    """Words a minute."""
    pitch: int = Field(default=50, ge=0, le=99)


class PromptTexts(Model):
    voices: dict[str, Voice]
    prompts: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Job:
    clip: str
    text: str
    voice: Voice

    @property
    def stamp(self) -> str:
        words = f"{self.text}|{self.voice.voice}|{self.voice.speed}|{self.voice.pitch}"
        return hashlib.sha256(words.encode()).hexdigest()[:16]

    @property
    def tail(self) -> float:
        return SENTENCE_TAIL_SECONDS if self.text.endswith((".", "。", "！", "？")) else TAIL_SECONDS


class NoSpeech(Exception):
    """espeakng-loader is not installed."""


def read_texts(folder: Path) -> tuple[PromptTexts | None, list[Problem]]:
    """prompts.yaml of a prompts' folder."""
    document = read(folder / "prompts.yaml", f"{folder.name}/prompts.yaml")
    if document.problems:
        return None, list(document.problems)
    texts, problems = validate(PromptTexts, document.value, document.source)
    for name, words in texts.prompts.items() if texts else ():
        problems += [
            document.source.problem(("prompts", name, language), f"no voice for language '{language}'", key=True)
            for language in words
            if texts and language not in texts.voices
        ]
    return (None if problems else texts), problems


def jobs(texts: PromptTexts) -> Iterator[Job]:
    """Every clip to speak: the prompts, and the numbers in each language."""
    for name, words in texts.prompts.items():
        for language, text in words.items():
            yield Job(f"{language}/{name}", text, texts.voices[language])
    for language, voice in texts.voices.items():
        slower = voice.model_copy(update={"speed": round(voice.speed * NUMBER_SPEED)})
        for number in WHOLE_NUMBERS:
            yield Job(f"{language}/n{number}", str(number), slower)


def render(folder: Path, *, every: bool = False) -> list[str]:
    """Speak what is missing or whose words have changed (`every`: all of it); returns the clips written.

    A WAV without a stamp is a recording of yours, and is left alone. Raises NoSpeech; ValueError when prompts.yaml has
    mistakes."""
    texts, problems = read_texts(folder)
    if texts is None:
        raise ValueError("\n".join(map(str, problems)))
    stamps_path = folder / STAMPS
    stamps: dict[str, str] = json.loads(stamps_path.read_text()) if stamps_path.exists() else {}
    todo = [job for job in jobs(texts) if every or _stale(folder, job, stamps)]
    speaker = Speaker() if todo else None
    for job in todo:
        path = folder / f"{job.clip}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert speaker is not None
        write_clip(path, finish(speaker.say(job.text, job.voice), speaker.rate, job.tail))
        stamps[job.clip] = job.stamp
    if not (folder / "music.wav").exists():
        write_clip(folder / "music.wav", music())
    if not (folder / "ringback.wav").exists():
        write_clip(folder / "ringback.wav", ringback())
    if todo:
        stamps_path.write_text(json.dumps(stamps, indent=0, sort_keys=True) + "\n")
    return [job.clip for job in todo]


def _stale(folder: Path, job: Job, stamps: dict[str, str]) -> bool:
    if not (folder / f"{job.clip}.wav").exists():
        return True
    return job.clip in stamps and stamps[job.clip] != job.stamp


def write_clip(path: Path, sound: Sound) -> None:
    samples = np.round(np.clip(sound, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(SAMPLE_RATE)
        clip.writeframes(samples.tobytes())


def finish(sound: Sound, rate: int, tail: float = TAIL_SECONDS) -> Sound:
    """Resample to 8 kHz, take out what lies below the telephone band, cut the silent ends, set the loudness."""
    return level(trim(high_pass(resample(sound, rate, SAMPLE_RATE)), tail))


def high_pass(sound: Sound, low: float = 60.0, high: float = 120.0) -> Sound:
    """Nothing below `low` Hz, all above `high`, a raised cosine between: the voice's plosives carry direct current."""
    if not len(sound):
        return sound
    hertz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    pass_part = np.clip((hertz - low) / (high - low), 0, 1)
    return np.asarray(np.fft.irfft(np.fft.rfft(sound) * (0.5 - 0.5 * np.cos(np.pi * pass_part)), len(sound)))


def resample(sound: Sound, rate: int, to: int) -> Sound:
    """By a windowed-sinc low-pass (Kaiser, ~80 dB) evaluated at each output sample. rate > to; the cutoff is 3 600 Hz.

    Returns: len(sound) * to / rate samples, rounded down. Cost: O(output x taps)."""
    if not len(sound):
        return sound
    count = len(sound) * to // rate
    half = TAPS * rate // to
    step = gcd(rate, to)
    centre = np.arange(count, dtype=np.int64) * (rate // step)  # position in units of 1/(to/step) input samples
    whole, part = np.divmod(centre, to // step)
    offsets = np.arange(-half + 1, half + 1)
    padded = np.concatenate([np.zeros(half), sound, np.zeros(half + 1)])
    phases = np.arange(to // step)[:, None] * (step / to)
    distance = offsets[None, :] - phases
    cut = 2 * CUTOFF_HZ / rate
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1))) / np.i0(8.0)
    taps = cut * np.sinc(cut * distance) * window
    out = np.empty(count)
    for start in range(0, count, 4096):  # bounded memory: 4096 outputs x taps at a time
        stop = min(start + 4096, count)
        rows = padded[whole[start:stop, None] + offsets[None, :] + half]
        out[start:stop] = np.einsum("ij,ij->i", rows, taps[part[start:stop]])
    return out


def trim(sound: Sound, tail: float = TAIL_SECONDS) -> Sound:
    """Without the silence at both ends, but for a little that keeps the edges soft, and `tail` seconds after it."""
    loud = np.flatnonzero(np.abs(sound) > QUIET)
    if not len(loud):
        return sound
    first = max(0, loud[0] - int(LEAD_SECONDS * SAMPLE_RATE))
    last = loud[-1] + int(tail * SAMPLE_RATE)
    return np.concatenate([sound[first:last], np.zeros(max(0, last - len(sound)))])


def level(sound: Sound) -> Sound:
    """To LOUDNESS_DB over its spoken part (20 ms frames within 30 dB of the loudest); never above PEAK."""
    frames = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    power = (frames**2).mean(axis=1) if len(frames) else np.array([0.0])
    spoken = power[power > power.max() / 1000]
    if not len(spoken):
        return sound
    gain = min(10 ** (LOUDNESS_DB / 20) / np.sqrt(spoken.mean()), PEAK / np.abs(sound).max())
    return np.asarray(sound * gain)


def music(seconds: float = 20.0) -> Sound:
    """Music on hold, of our own making and so free of anyone's rights: slow broken chords that meet their beginning.

    I-vi-IV-V in F, eighth notes of soft sine partials decaying over 1.6 s; tails wrap round: the loop has no seam."""
    chords = [(53, 57, 60, 65, 69), (50, 57, 62, 65, 69), (58, 62, 65, 70, 74), (48, 58, 64, 67, 72)]
    pattern = (0, 1, 2, 3, 4, 3, 2, 1)
    count = int(seconds * SAMPLE_RATE)
    notes = len(chords) * len(pattern) * 2
    out = np.zeros(count)
    time = np.arange(int(1.6 * SAMPLE_RATE)) / SAMPLE_RATE
    envelope = np.minimum(time / 0.012, 1) * np.exp(-time / 0.45) * np.minimum((1.6 - time) / 0.05, 1)
    for number in range(notes):
        chord = chords[number // (len(pattern) * 2)]
        hertz = 440.0 * 2 ** ((chord[pattern[number % len(pattern)]] - 69) / 12)
        tone = sum(np.sin(2 * np.pi * hertz * k * time) * weight for k, weight in ((1, 1.0), (2, 0.35), (3, 0.12)))
        at = (np.arange(len(time)) + number * count // notes) % count
        np.add.at(out, at, tone * envelope)
    out *= 10 ** ((LOUDNESS_DB - 2) / 20) / np.sqrt((out**2).mean())
    return np.asarray(np.clip(out, -PEAK, PEAK))


def ringback() -> Sound:
    """The ring-back tone of China: 450 Hz, 1 s on and 4 s off, at the level of -20 dB below full scale."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    edges = np.minimum(1, np.minimum(time, 1 - time) / 0.005)
    on = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 450 * time) * edges
    return np.concatenate([on, np.zeros(4 * SAMPLE_RATE)])


class Speaker:
    """espeak-ng in this process, by its C interface (speak_lib.h); one at a time. Raises NoSpeech."""

    RETRIEVAL = 1
    """AUDIO_OUTPUT_RETRIEVAL: samples come to the callback."""
    UTF8 = 1
    RATE, PITCH = 1, 3

    def __init__(self) -> None:
        try:
            loader = import_module("espeakng_loader")
        except ImportError as error:
            raise NoSpeech("speech needs espeak-ng: pip install 'callwright[prompts]'") from error
        self._library: Any = ctypes.CDLL(loader.get_library_path())
        self.rate: int = self._library.espeak_Initialize(self.RETRIEVAL, 0, str(loader.get_data_path()).encode(), 0)
        if self.rate <= 0:
            raise NoSpeech("espeak-ng did not find its data")
        self._chunks: list[bytes] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(self._take)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, count * 2))
        return 0

    def say(self, text: str, voice: Voice) -> Sound:
        """The text as sound at `rate`. Raises ValueError for an unknown voice."""
        if self._library.espeak_SetVoiceByName(voice.voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice '{voice.voice}'")
        self._library.espeak_SetParameter(self.RATE, voice.speed, 0)
        self._library.espeak_SetParameter(self.PITCH, voice.pitch, 0)
        self._chunks = []
        data = text.encode() + b"\0"
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, self.UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.frombuffer(b"".join(self._chunks), dtype="<i2").astype(np.float64) / 32768
