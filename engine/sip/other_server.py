"""Non-INVITE server transaction: RFC 3261 §17.2.2."""

from enum import IntEnum
from typing import ClassVar

from engine.sip.machine import STANDARD, Do, Fires, Machine, Timers


class State(IntEnum):
    TERMINATED = 0
    TRYING = 1
    """No response yet: retransmissions are dropped."""
    PROCEEDING = 2
    COMPLETED = 3


class In(IntEnum):
    REQUEST = 1
    """A retransmission."""
    SEND_1XX = 2
    SEND_FINAL = 3
    TIMER_F = 4
    """Our addition, named for the client's timer: 64*T1 after the request its sender has given up (RFC 4320 §3.2),
    and a late response helps nobody. So a request that is never answered leaves nothing behind."""
    TIMER_J = 5
    TRANSPORT_ERROR = 6


# fmt: off
TABLE: dict[tuple[int, int], tuple[int, Do]] = {
    (State.TRYING,     In.SEND_1XX):        (State.PROCEEDING, Do.SEND),
    (State.TRYING,     In.SEND_FINAL):      (State.COMPLETED,  Do.SEND),
    (State.TRYING,     In.TIMER_F):         (State.TERMINATED, Do.NOTHING),
    (State.PROCEEDING, In.REQUEST):         (State.PROCEEDING, Do.RESEND),
    (State.PROCEEDING, In.SEND_1XX):        (State.PROCEEDING, Do.SEND),
    (State.PROCEEDING, In.SEND_FINAL):      (State.COMPLETED,  Do.SEND),
    (State.PROCEEDING, In.TIMER_F):         (State.TERMINATED, Do.NOTHING),
    (State.PROCEEDING, In.TRANSPORT_ERROR): (State.TERMINATED, Do.TRANSPORT),
    (State.COMPLETED,  In.REQUEST):         (State.COMPLETED,  Do.RESEND),
    (State.COMPLETED,  In.TIMER_J):         (State.TERMINATED, Do.NOTHING),
    (State.COMPLETED,  In.TRANSPORT_ERROR): (State.TERMINATED, Do.TRANSPORT),
}
# fmt: on


class OtherServer(Machine):
    """Opened by any request but INVITE and ACK."""

    __slots__ = ()
    table = TABLE
    fires: ClassVar[Fires] = {
        State.TRYING: (0, In.TIMER_F),
        State.PROCEEDING: (0, In.TIMER_F),
        State.COMPLETED: (0, In.TIMER_J),
    }

    def __init__(self, now: float, reliable: bool = False, timers: Timers = STANDARD) -> None:
        super().__init__(State.TRYING, now, reliable, timers)

    def _enter(self, now: float) -> None:
        if self.state == State.TRYING:
            self._arm(now, end=64 * self.timers.t1)
        elif self.state == State.COMPLETED:
            self._arm(now, end=0 if self.reliable else 64 * self.timers.t1)
        elif self.state != State.PROCEEDING:  # PROCEEDING: timer F runs on
            self._arm(now)
