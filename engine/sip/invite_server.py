"""INVITE server transaction: RFC 3261 §17.2.1 as amended by RFC 6026 §7.1."""

from enum import IntEnum
from typing import ClassVar

from engine.sip.machine import NEVER, STANDARD, Do, Fires, Machine, Timers

TRYING_AFTER = 0.2
"""§17.2.1: a 100 is due when the transaction user stays silent this long."""


class State(IntEnum):
    TERMINATED = 0
    PROCEEDING = 1
    """No final response yet."""
    ACCEPTED = 2
    """2xx sent: INVITE retransmissions are absorbed; the 2xx is the transaction user's to repeat (RFC 6026)."""
    COMPLETED = 3
    """3xx-6xx sent, waiting for its ACK."""
    CONFIRMED = 4
    """ACK came; further ones are absorbed."""


class In(IntEnum):
    INVITE = 1
    """A retransmission of the request."""
    ACK = 2
    SEND_1XX = 3
    SEND_2XX = 4
    SEND_FAILURE = 5
    TIMER_TRYING = 6
    TIMER_G = 7
    TIMER_H = 8
    TIMER_I = 9
    TIMER_L = 10
    TRANSPORT_ERROR = 11


# fmt: off
TABLE: dict[tuple[int, int], tuple[int, Do]] = {
    (State.PROCEEDING, In.INVITE):          (State.PROCEEDING, Do.RESEND),
    (State.PROCEEDING, In.TIMER_TRYING):    (State.PROCEEDING, Do.TRYING),
    (State.PROCEEDING, In.SEND_1XX):        (State.PROCEEDING, Do.SEND),
    (State.PROCEEDING, In.SEND_2XX):        (State.ACCEPTED,   Do.SEND),
    (State.PROCEEDING, In.SEND_FAILURE):    (State.COMPLETED,  Do.SEND),
    (State.ACCEPTED,   In.SEND_2XX):        (State.ACCEPTED,   Do.SEND),
    (State.ACCEPTED,   In.ACK):             (State.ACCEPTED,   Do.PASS),
    (State.ACCEPTED,   In.TIMER_L):         (State.TERMINATED, Do.NOTHING),
    (State.COMPLETED,  In.INVITE):          (State.COMPLETED,  Do.RESEND),
    (State.COMPLETED,  In.TIMER_G):         (State.COMPLETED,  Do.RESEND),
    (State.COMPLETED,  In.ACK):             (State.CONFIRMED,  Do.NOTHING),
    (State.COMPLETED,  In.TIMER_H):         (State.TERMINATED, Do.TIMED_OUT),
    (State.COMPLETED,  In.TRANSPORT_ERROR): (State.TERMINATED, Do.TRANSPORT),
    (State.CONFIRMED,  In.TIMER_I):         (State.TERMINATED, Do.NOTHING),
}
# fmt: on


class InviteServer(Machine):
    """Opened by an INVITE. `feed(In.…, now)` and `tick(now)` give one Do each."""

    __slots__ = ()
    table = TABLE
    fires: ClassVar[Fires] = {
        State.PROCEEDING: (0, In.TIMER_TRYING),
        State.ACCEPTED: (0, In.TIMER_L),
        State.COMPLETED: (In.TIMER_G, In.TIMER_H),
        State.CONFIRMED: (0, In.TIMER_I),
    }

    def __init__(self, now: float, reliable: bool = False, timers: Timers = STANDARD) -> None:
        super().__init__(State.PROCEEDING, now, reliable, timers)

    def feed(self, what: int, now: float) -> Do:
        if what == In.SEND_1XX and self.state == State.PROCEEDING:
            self._arm(now)  # the transaction user spoke for itself: no 100 of ours
        return super().feed(what, now)

    def _enter(self, now: float) -> None:
        t = self.timers
        if self.state == State.PROCEEDING:
            self._arm(now, end=TRYING_AFTER)
        elif self.state == State.ACCEPTED:
            self._arm(now, end=64 * t.t1)  # timer L: the same on every transport
        elif self.state == State.COMPLETED:
            self._arm(now, resend=NEVER if self.reliable else t.t1, end=64 * t.t1)
        elif self.state == State.CONFIRMED:
            self._arm(now, end=0 if self.reliable else t.t4)
        else:
            self._arm(now)
