"""How long will it take? An honest number, or none.

    wait = position * effort / working agents

`effort` is the agent time that one answered call of this queue costs. While calls wait it is measured: the interval
between two answers times the agents then working, which holds even when those agents serve other queues too. Until
there are enough such intervals it is the mean handling time (talk and wrap-up). Without either, or without anyone at
work, the answer is -1: we don't know, and say nothing rather than something wrong.
"""

from collections import deque

UNKNOWN = -1.0
SAMPLES = 20
"""Calls remembered: enough to be steady, few enough to follow the hour."""
INTERVALS_NEEDED = 5
HANDLED_NEEDED = 3
WAIT_MAX = 4 * 3600.0
"""Longer than this is as good as not known."""


class WaitEstimate:
    """One queue's. All methods O(SAMPLES) at most."""

    __slots__ = ("_backlog_since", "_handled", "_intervals")

    def __init__(self) -> None:
        self._handled: deque[float] = deque(maxlen=SAMPLES)
        self._intervals: deque[float] = deque(maxlen=SAMPLES)
        self._backlog_since: float | None = None

    def handled(self, seconds: float) -> None:
        """A call took an agent this long, wrap-up included."""
        self._handled.append(seconds)

    def answered(self, working: int, backlog: bool, now: float) -> None:
        """A call was answered with `working` agents at work; `backlog`: others of the queue go on waiting."""
        if self._backlog_since is not None and working > 0:
            self._intervals.append((now - self._backlog_since) * working)
        self._backlog_since = now if backlog else None

    def emptied(self) -> None:
        """Nobody waits: the time to the next answer says nothing about speed."""
        self._backlog_since = None

    def estimate(self, position: int, working: int) -> float:
        """Seconds until the call at `position` (1 is next) is answered; UNKNOWN when we don't know."""
        if len(self._intervals) >= INTERVALS_NEEDED:
            effort = sum(self._intervals) / len(self._intervals)
        elif len(self._handled) >= HANDLED_NEEDED:
            effort = sum(self._handled) / len(self._handled)
        else:
            return UNKNOWN
        if working <= 0:
            return UNKNOWN
        wait = position * effort / working
        return wait if wait <= WAIT_MAX else UNKNOWN
