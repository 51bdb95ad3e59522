"""What a soak looks at, from a process of its own at the lowest priority.

Looking takes a tenth of a second of Python at a time. Done by the load itself, even in a thread, callers and phones
would wait for the interpreter's lock, and their waits be taken for the hotline's.
"""

import asyncio
import multiprocessing
import os
import socket
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Self

from bench.faults import balance
from bench.measure import anonymous_kb, descriptors, usage
from bench.soaked import Seen, newest
from events.journal import Tail
from events.types import ControlReported

LOWEST = 19
PACKETS = 300
PACKET = bytes(172)
"""20 ms of G.711 in RTP."""

_tails: list[Tail] = []
"""The one of the observing process."""


class Observer:
    """Of one hotline. `with` ends its process."""

    def __init__(self, pid: int, journal: Path, after: int, core: int | None) -> None:
        """core: of the hotline, when it is pinned. after: the last event that no longer matters."""
        self._pid = pid
        self._core = core
        context = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(journal, after))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()

    async def look(self) -> Seen:
        return await asyncio.get_running_loop().run_in_executor(self._process, _look, self._pid, self._core)

    async def sweep(self, recordings: Path, keep: float) -> Counter[str]:
        """Plays each recording that nobody has written to for `keep` seconds, then deletes it: an hour of them is
        30 GB. Counts by what was heard, "good" or the fault."""
        return await asyncio.get_running_loop().run_in_executor(self._process, _sweep, recordings, keep)


def _begin(journal: Path, after: int) -> None:
    os.nice(LOWEST)
    _tails.append(Tail(journal, after))


def _look(pid: int, core: int | None) -> Seen:
    [tail] = _tails
    used = usage(pid)
    report = newest((record.event for record in tail.rest()), ControlReported)
    return Seen(
        pss_kb=used.pss_kb,
        own_kb=anonymous_kb(pid),
        cpu_seconds=used.cpu_seconds,
        descriptors=descriptors(pid),
        tasks=report.tasks if report is not None else -1,
        reference_ms=_reference(core),
    )


def _reference(core: int | None) -> float:
    """Python and the kernel's network in turns, as in a hotline."""
    here = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as itself:
        itself.bind(("127.0.0.1", 0))
        itself.connect(itself.getsockname())
        begun = time.thread_time()
        for _ in range(PACKETS):
            itself.send(PACKET)
            itself.recv(len(PACKET))
        took = time.thread_time() - begun
    os.sched_setaffinity(0, here)
    return took * 1000


def _sweep(recordings: Path, keep: float) -> Counter[str]:
    seen: Counter[str] = Counter()
    for path in recordings.rglob("*.wav"):
        if time.time() - path.stat().st_mtime >= keep:
            try:
                balance.playable(path)
                seen["good"] += 1
            except (OSError, EOFError, ValueError) as error:
                seen[f"{type(error).__name__}: {error}"] += 1
            path.unlink()
    return seen
