"""Finds processes that take more memory than they may, and has them end in order: their restart is the remedy, and
costs no call. The kernel, when it runs out, would choose by size, and kill in the middle of anything."""

import math
from collections.abc import Callable, Sequence

from app.memory import resident_bytes
from app.processes import Process

LOOK_EVERY = 5.0
"""Seconds between two looks."""


class Growth:
    """`tick` at `due`, or later. used: bytes of a process."""

    def __init__(self, processes: Sequence[Process], now: float, used: Callable[[int], int] = resident_bytes) -> None:
        self._processes = processes
        self._used = used
        self.due = now + LOOK_EVERY

    def tick(self, now: float) -> None:
        if now < self.due:
            return
        self.due = now + LOOK_EVERY
        for process in self._processes:
            limit = process.spec.memory
            if not limit or not process.running or process.kill_at < math.inf:  # that one is on its way out
                continue
            used = self._used(process.pid)
            if used > limit:
                process.outgrew(used)
