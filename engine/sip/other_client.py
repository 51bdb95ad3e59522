"""Non-INVITE client transaction: RFC 3261 §17.1.2."""

from enum import IntEnum
from typing import ClassVar

from engine.sip.machine import NEVER, STANDARD, Do, Fires, Machine, Timers


class State(IntEnum):
    TERMINATED = 0
    TRYING = 1
    PROCEEDING = 2
    COMPLETED = 3


class In(IntEnum):
    PROVISIONAL = 1
    FINAL = 2
    TIMER_E = 3
    TIMER_F = 4
    TIMER_K = 5
    TRANSPORT_ERROR = 6


# fmt: off
TABLE: dict[tuple[int, int], tuple[int, Do]] = {
    (State.TRYING,     In.TIMER_E):         (State.TRYING,     Do.RESEND),
    (State.TRYING,     In.TIMER_F):         (State.TERMINATED, Do.TIMED_OUT),
    (State.TRYING,     In.PROVISIONAL):     (State.PROCEEDING, Do.PASS),
    (State.TRYING,     In.FINAL):           (State.COMPLETED,  Do.PASS),
    (State.TRYING,     In.TRANSPORT_ERROR): (State.TERMINATED, Do.TRANSPORT),
    (State.PROCEEDING, In.TIMER_E):         (State.PROCEEDING, Do.RESEND),
    (State.PROCEEDING, In.TIMER_F):         (State.TERMINATED, Do.TIMED_OUT),
    (State.PROCEEDING, In.PROVISIONAL):     (State.PROCEEDING, Do.PASS),
    (State.PROCEEDING, In.FINAL):           (State.COMPLETED,  Do.PASS),
    (State.PROCEEDING, In.TRANSPORT_ERROR): (State.TERMINATED, Do.TRANSPORT),
    (State.COMPLETED,  In.TIMER_K):         (State.TERMINATED, Do.NOTHING),
}
# fmt: on


class OtherClient(Machine):
    """Opened when the request is sent, at `now`."""

    __slots__ = ()
    table = TABLE
    fires: ClassVar[Fires] = {
        State.TRYING: (In.TIMER_E, In.TIMER_F),
        State.PROCEEDING: (In.TIMER_E, In.TIMER_F),
        State.COMPLETED: (0, In.TIMER_K),
    }

    def __init__(self, now: float, reliable: bool = False, timers: Timers = STANDARD) -> None:
        super().__init__(State.TRYING, now, reliable, timers)

    def _enter(self, now: float) -> None:
        t = self.timers
        if self.state == State.TRYING:
            self._arm(now, resend=NEVER if self.reliable else t.t1, end=64 * t.t1)
        elif self.state == State.PROCEEDING:
            # §17.1.2.2: E and F run on; when E next fires it is set to T2
            self._interval = t.t2
        elif self.state == State.COMPLETED:
            self._arm(now, end=0 if self.reliable else t.t4)
        else:
            self._arm(now)
