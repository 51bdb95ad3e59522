"""Replaces the running code, process by process, under live calls.

Theory of operation. First `app.preflight`, by the code on the disk: what would not run is not begun. Then the
supervisor executes itself anew (same pid; app/supervisor.py), so that new code starts new code, and takes over its
processes as after its death (app/adoption.py). From there, one after the other: ledger, web, control. Each is ended in
order and started again; the next one's turn comes when it gives signs of life (control: when calls are answered).
Control does not hang up: SIGUSR1 makes it leave its calls to the next one. Last, each media process gets a successor
for new calls, and ends when its last call does.

A process that does not come up ends the upgrade, loudly: what comes after it, control above all, goes on as it is. The
failing one is started again and again, as any that dies.
"""

import math
from collections.abc import Callable, Sequence
from enum import Enum, auto

from app.processes import Process

STOP_WITHIN = 10.0
"""Seconds for the old process to end in order, then it is killed."""
READY_WITHIN = 30.0
"""Seconds for the new one, from the order to the old one."""
TRIES = 3
"""Times that the new one may end before it is up."""
ORDER = ("ledger", "web", "control")


class Step(Enum):
    IDLE = auto()
    PROCESS = auto()
    MEDIA = auto()


class Upgrade:
    """begin, then `tick` at `due` or later, and `ready` when control answers calls.

    media: starts the successors of all media processes and returns them. ended: called once, with what went wrong."""

    def __init__(
        self,
        processes: Sequence[Process],
        say: Callable[[str], None],
        media: Callable[[], Sequence[Process]],
        ended: Callable[[str], None],
    ) -> None:
        self._processes = processes
        self._say = say
        self._start_media = media
        self._ended = ended
        self._names = iter(ORDER)
        self._waiting: Sequence[Process] = ()
        """These have to come up."""
        self._deaths: dict[Process, int] = {}
        """As they were when the new one was asked for."""
        self._old = 0
        self._answers = False
        self.media: Sequence[Process] = ()
        """The successors."""
        self.step = Step.IDLE
        self.due = math.inf
        self.fault = ""
        """Of the last one."""

    @property
    def busy(self) -> bool:
        return self.step is not Step.IDLE

    def begin(self, now: float) -> None:
        self.step = Step.PROCESS
        self._next(now)

    def ready(self) -> None:
        """Control answers calls."""
        self._answers = True

    def tick(self, now: float) -> None:
        if self.step is Step.IDLE:
            return
        late = [process for process in self._waiting if not self._is_up(process)]
        dying = [process for process in late if process.deaths - self._deaths[process] >= TRIES]
        if not late:
            self._next(now)
        elif dying:
            name, status = dying[0].spec.name, dying[0].status
            self._fail(f"{name} ended {TRIES} times before it was up, the last time with {status}")
        elif now >= self.due:
            self._fail(f"{late[0].spec.name} did not come up within {READY_WITHIN:.0f} s")

    def _is_up(self, process: Process) -> bool:
        new = process.running and process.pid != self._old and process.heard_at < math.inf
        return new and (process.spec.name != "control" or self._answers)

    def _next(self, now: float) -> None:
        if self.step is Step.MEDIA:
            self._end("")
            return
        name = next(self._names, "")
        self.due = now + READY_WITHIN
        if not name:
            self.step = Step.MEDIA
            self._waiting = self.media = self._start_media()
            self._deaths = {process: process.deaths for process in self._waiting}
            self._old = 0
            self._say(f"Upgrade: {', '.join(process.spec.name for process in self.media)} for the audio of new calls.")
            return
        (process,) = self._waiting = [process for process in self._processes if process.spec.name == name]
        self._deaths = {process: process.deaths}
        self._old, self._answers = process.pid, False
        self._say(f"Upgrade: {name}.")
        process.replace(now + STOP_WITHIN)

    def _fail(self, what: str) -> None:
        self._end(f"{what}; what comes after it was left as it was")

    def _end(self, why: str) -> None:
        self.step, self.due, self.fault = Step.IDLE, math.inf, why
        self._ended(why)
