"""How a hotline comes to its end: it drains, then stops in order, then is killed; each wish to end goes one step on."""

import math
from collections.abc import Sequence
from enum import Enum, auto

from app.messages import Drain
from app.output import Output
from app.processes import Process
from app.reports import Reports

STOP_GRACE = 10.0
"""Seconds for one group of processes to end in order."""
HURRY_AFTER = 0.5
"""Seconds; a wish that comes sooner after the one before is the same: Ctrl-C may arrive twice, from a terminal and from
a wrapper."""
STOP_ORDER = ("control", "web", "media", "ledger")
"""Control ends the calls; the ledger comes last, so that the tables have everything."""
ANSWER_WITHIN = 3.0
"""Seconds for control to say how many calls there are. One that does not can't drain either."""
TELL_EVERY = 5.0
"""Seconds between two words on how many calls are left."""


class Stage(Enum):
    SERVING = auto()
    DRAINING = auto()
    STOPPING = auto()
    KILLING = auto()


class Ending:
    """processes: all there are; the list may change. within: seconds for the calls in progress when draining."""

    def __init__(self, processes: Sequence[Process], reports: Reports, output: Output, within: float) -> None:
        self._processes = processes
        self._reports = reports
        self._output = output
        self._within = within
        self._groups = iter(STOP_ORDER)
        self._group: Sequence[Process] = ()
        self._hurry_at = 0.0
        self._drained_by = math.inf
        self._left = -1
        self._told_at = -math.inf
        self.stage = Stage.SERVING
        self.due = math.inf
        """When `tick` has something to do, if nothing happens before."""

    @property
    def finished(self) -> bool:
        return self.stage in (Stage.STOPPING, Stage.KILLING) and not any(p.running for p in self._processes)

    def wished(self, now: float, *, answering: bool) -> None:
        """Somebody wants the end. answering: control says that it takes calls, so there is something to drain."""
        if now < self._hurry_at:
            return
        self._hurry_at = now + HURRY_AFTER
        match self.stage:
            case Stage.SERVING if answering and self._within > 0:
                self.stage = Stage.DRAINING
                self._drained_by = now + self._within
                self._order(now)
            case Stage.SERVING | Stage.DRAINING:
                self._stop()
            case Stage.STOPPING:
                self._output.say("Stopping at once.")
                self.stage, self.due = Stage.KILLING, math.inf
                self._kill(self._processes)

    def control_ready(self, now: float) -> None:
        """A control that was started while we drain must not take new calls either."""
        if self.stage is Stage.DRAINING:
            self._order(now)

    def _order(self, now: float) -> None:
        self._reports.order(Drain(max(0.0, self._drained_by - now)))
        self.due = min(self._drained_by, now + ANSWER_WITHIN)

    def left(self, calls: int, now: float) -> None:
        """Control says how many calls are in progress."""
        if self.stage is not Stage.DRAINING:
            return
        if calls == 0:
            self._stop()
            return
        self.due = self._drained_by
        if self._left < 0:
            self._output.say(
                f"Draining: no new calls. {_calls(calls)} in progress may go on for {self._drained_by - now:.0f} s; "
                "once more to end them now."
            )
            self._told_at = now
        elif calls != self._left and now >= self._told_at + TELL_EVERY:
            self._output.say(f"{_calls(calls)} left.")
            self._told_at = now
        self._left = calls

    def _stop(self) -> None:
        self._output.say("Stopping in order; once more to stop at once.")
        self.stage, self.due = Stage.STOPPING, -math.inf

    def tick(self, now: float) -> None:
        """Kill what is late; begin with the next group when the present one has ended."""
        if self.stage is Stage.DRAINING and self.due <= now:
            self._output.say(f"{_calls(max(self._left, 0))} left: ended now.")
            self._stop()
        if self.stage is not Stage.STOPPING:
            return
        if self._group and self.due <= now:
            self._kill(self._group)
            self.due = math.inf
        while not any(process.running for process in self._group):
            if not self._next_group():
                self.due = math.inf
                return
            self.due = now + STOP_GRACE

    def _next_group(self) -> bool:
        prefix = next(self._groups, None)
        if prefix is None:
            return False
        self._group = [process for process in self._processes if process.spec.name.startswith(prefix)]
        for process in self._group:
            process.stop()
        return True

    @staticmethod
    def _kill(processes: Sequence[Process]) -> None:
        for process in processes:
            process.kill(for_good=True)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"
