"""Audits of what the far ends heard: pure functions over a capture. All times are UTC seconds since 1970.

A far end's silence is told from RMS per WINDOW; whether packets got lost, from the numbers hidden in them (tones.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.faults.tones import FRAME, RATE, Bytes, decode, frequency, read_tags

WINDOW = 0.1
"""Seconds."""
FAINT = 1500.0
"""Amplitude of a tone below which it is not among those that are heard: said are 9830."""
QUIET = 200.0
"""RMS of a window below which nothing is heard: of full scale 32 767."""


@dataclass(frozen=True, slots=True)
class Capture:
    """heard_*: one entry a packet that arrived, in order of arrival; said_*: one a packet sent. Ends are far ends'
    numbers; talker is -1 for what none of us said."""

    heard_end: NDArray[np.int32]
    heard_at: NDArray[np.float64]
    talker: NDArray[np.int32]
    number: NDArray[np.int64]
    power: NDArray[np.float64]
    """Mean square of the packet's samples."""
    payloads: Bytes
    """Shape (n, FRAME)."""
    said_end: NDArray[np.int32]
    said_number: NDArray[np.int64]
    said_at: NDArray[np.float64]


def load(path: Path) -> Capture:
    """What bench/faults/sound.py saved."""
    with np.load(path) as file:
        return capture(
            (file["heard_end"], file["heard_ns"] / 1e9, file["payloads"]),
            (file["said_end"], file["said_number"], file["said_ns"] / 1e9),
        )


def capture(
    heard: tuple[NDArray[np.int32], NDArray[np.float64], Bytes],
    said: tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]],
) -> Capture:
    """heard: end, time of arrival, payloads of shape (n, FRAME). said: end, packet number, time."""
    talker, number = read_tags(heard[2])
    power = np.mean(np.square(decode(heard[2]).astype(np.float64)), axis=1) if len(heard[2]) else np.zeros(0)
    return Capture(heard[0], heard[1], talker, number, power, heard[2], *said)


def rms(captured: Capture, end: int, begin: float, until: float) -> NDArray[np.float64]:
    """Loudness of each WINDOW from `begin`; a window in which nothing arrived has 0."""
    windows = max(0, int((until - begin) / WINDOW + 1e-6))
    mine = (captured.heard_end == end) & (captured.heard_at >= begin)
    at = ((captured.heard_at[mine] - begin) / WINDOW).astype(np.int64)
    inside = at < windows
    energy = np.bincount(at[inside], captured.power[mine][inside] * FRAME, windows)[:windows]
    return np.sqrt(energy / (WINDOW * RATE))


def silence_ms(captured: Capture, end: int, begin: float, until: float) -> float:
    """The longest run of windows without sound: 0.0 when there is none."""
    longest = run = 0
    for quiet in rms(captured, end, begin, until) < QUIET:
        run = run + 1 if quiet else 0
        longest = max(longest, run)
    return longest * WINDOW * 1000


def absent_ms(captured: Capture, talker: int, listener: int, begin: float, until: float) -> float:
    """The longest run of windows in which the talker's tone is not in what the listener hears, alone or among others:
    0.0 when there is none."""
    mine = (captured.heard_end == listener) & (captured.heard_at >= begin) & (captured.heard_at < until)
    at = ((captured.heard_at[mine] - begin) / WINDOW).astype(np.int64)
    samples = decode(captured.payloads[mine]).astype(np.float64)
    longest = run = 0
    for window in range(int((until - begin) / WINDOW + 1e-6)):
        run = 0 if _amplitude(samples[at == window].ravel(), frequency(talker)) >= FAINT else run + 1
        longest = max(longest, run)
    return longest * WINDOW * 1000


def _amplitude(samples: NDArray[np.float64], hertz: int) -> float:
    """Of one tone in all that is heard; as in a whole window, be it whole or not."""
    turns = np.exp(-2j * np.pi * hertz / RATE * np.arange(len(samples)))
    return 2 * float(np.abs(samples @ turns)) / (WINDOW * RATE)


def gap_ms(captured: Capture, end: int, begin: float, until: float) -> float:
    """The longest time between two packets that arrived, or between one and an edge of the span, over the 20 ms that
    are due."""
    mine = captured.heard_at[captured.heard_end == end]
    inside = mine[(mine >= begin) & (mine < until)]
    edges = np.concatenate(([begin], inside, [until]))
    return max(0.0, float(np.max(np.diff(edges))) * 1000 - 20.0)


def lost(captured: Capture, talker: int, listener: int, begin: float, until: float) -> list[int]:
    """Numbers of the packets said in that span which the listener never got, whenever."""
    mine = (captured.said_end == talker) & (captured.said_at >= begin) & (captured.said_at < until)
    got = captured.number[(captured.heard_end == listener) & (captured.talker == talker)]
    return [int(n) for n in np.setdiff1d(captured.said_number[mine], got)]


def strangers(captured: Capture, listener: int, allowed: Collection[int], begin: float, until: float) -> set[int]:
    """Far ends whose voice was heard though they had nothing to say to this one."""
    mine = (captured.heard_end == listener) & (captured.heard_at >= begin) & (captured.heard_at < until)
    return {int(t) for t in np.unique(captured.talker[mine]) if t >= 0 and t not in allowed}


def first_sound(captured: Capture, end: int, after: float) -> float | None:
    """Seconds from `after` to the first window with sound that follows it; None: never again."""
    mine = captured.heard_at[(captured.heard_end == end) & (captured.heard_at >= after)]
    if not len(mine):
        return None
    loud = np.flatnonzero(rms(captured, end, after, float(mine[-1]) + WINDOW) >= QUIET)
    return float(loud[0]) * WINDOW if len(loud) else None
