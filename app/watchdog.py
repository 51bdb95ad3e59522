"""Finds processes whose event loop stands still, and has them killed: their restart is the remedy.

A process beats twice a second (kernel/heartbeat.py). Time is CLOCK_MONOTONIC, which stands still while a machine
sleeps and does not follow the wall clock. When everything stood still, we with it (a paused container, a stopped
virtual machine), our own look comes late: then everybody gets the whole of its time anew.
"""

import math
from collections.abc import Sequence

from app.processes import Process

LOOK_EVERY = 0.5
"""Seconds between two looks."""
LATE = 1.0
"""Seconds after which a look counts as late."""


class Watchdog:
    """`tick` at `due`, or later."""

    def __init__(self, processes: Sequence[Process], now: float) -> None:
        self._processes = processes
        self.due = now + LOOK_EVERY

    def tick(self, now: float) -> None:
        for process in self._processes:
            if process.kill_at <= now:
                process.kill(for_good=False)
        if now < self.due:
            return
        slept = now - self.due > LATE
        self.due = now + LOOK_EVERY
        for process in self._processes:
            process.listen(now)
            if slept and process.heard_at < math.inf:
                process.heard_at = now
            limit = process.spec.stalls_after
            if limit and now - process.heard_at > limit:
                process.stalled(now - process.heard_at)
