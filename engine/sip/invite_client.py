"""INVITE client transaction: RFC 3261 §17.1.1 as amended by RFC 6026 §7.2, and the wait of §9.1 after a CANCEL."""

from enum import IntEnum
from typing import ClassVar

from engine.sip.machine import NEVER, STANDARD, Do, Fires, Machine, Timers

TIMER_D = 32.0
"""§17.1.1.2: at least 32 s on unreliable transports, however short T1 is."""


class State(IntEnum):
    TERMINATED = 0
    CALLING = 1
    """Nothing heard yet."""
    PROCEEDING = 2
    """A provisional response came: the INVITE is not repeated any more."""
    CANCELLING = 3
    """PROCEEDING, and a CANCEL was sent: a final response is due within 64*T1."""
    ACCEPTED = 4
    """2xx: each of them goes to the transaction user, who acknowledges it (RFC 6026)."""
    COMPLETED = 5
    """3xx-6xx: acknowledged here, as often as it is repeated."""


class In(IntEnum):
    PROVISIONAL = 1
    SUCCESS = 2
    FAILURE = 3
    CANCEL = 4
    TIMER_A = 5
    TIMER_B = 6
    TIMER_D = 7
    TIMER_M = 8
    TIMER_CANCEL = 9
    TRANSPORT_ERROR = 10


# An error of the transport ends PROCEEDING too, though figure 5 has it in Calling and Completed only: when the
# connection of a ringing phone is gone, no response can be expected on it. In COMPLETED, where only the ACK
# could not be sent, the user has its outcome already and is told no second one.
# fmt: off
TABLE: dict[tuple[int, int], tuple[int, Do]] = {
    (State.CALLING,    In.TIMER_A):         (State.CALLING,    Do.RESEND),
    (State.CALLING,    In.TIMER_B):         (State.TERMINATED, Do.TIMED_OUT),
    (State.CALLING,    In.PROVISIONAL):     (State.PROCEEDING, Do.PASS),
    (State.CALLING,    In.SUCCESS):         (State.ACCEPTED,   Do.PASS),
    (State.CALLING,    In.FAILURE):         (State.COMPLETED,  Do.ACK_PASS),
    (State.CALLING,    In.TRANSPORT_ERROR): (State.TERMINATED, Do.TRANSPORT),
    (State.PROCEEDING, In.PROVISIONAL):     (State.PROCEEDING, Do.PASS),
    (State.PROCEEDING, In.SUCCESS):         (State.ACCEPTED,   Do.PASS),
    (State.PROCEEDING, In.FAILURE):         (State.COMPLETED,  Do.ACK_PASS),
    (State.PROCEEDING, In.CANCEL):          (State.CANCELLING, Do.NOTHING),
    (State.PROCEEDING, In.TRANSPORT_ERROR): (State.TERMINATED, Do.TRANSPORT),
    (State.CANCELLING, In.PROVISIONAL):     (State.CANCELLING, Do.PASS),
    (State.CANCELLING, In.SUCCESS):         (State.ACCEPTED,   Do.PASS),
    (State.CANCELLING, In.FAILURE):         (State.COMPLETED,  Do.ACK_PASS),
    (State.CANCELLING, In.TIMER_CANCEL):    (State.TERMINATED, Do.TIMED_OUT),
    (State.CANCELLING, In.TRANSPORT_ERROR): (State.TERMINATED, Do.TRANSPORT),
    (State.ACCEPTED,   In.SUCCESS):         (State.ACCEPTED,   Do.PASS),
    (State.ACCEPTED,   In.TIMER_M):         (State.TERMINATED, Do.NOTHING),
    (State.COMPLETED,  In.FAILURE):         (State.COMPLETED,  Do.ACK),
    (State.COMPLETED,  In.TIMER_D):         (State.TERMINATED, Do.NOTHING),
    (State.COMPLETED,  In.TRANSPORT_ERROR): (State.TERMINATED, Do.NOTHING),
}
# fmt: on


class InviteClient(Machine):
    """Opened when the INVITE is sent, at `now`."""

    __slots__ = ()
    table = TABLE
    fires: ClassVar[Fires] = {
        State.CALLING: (In.TIMER_A, In.TIMER_B),
        State.CANCELLING: (0, In.TIMER_CANCEL),
        State.ACCEPTED: (0, In.TIMER_M),
        State.COMPLETED: (0, In.TIMER_D),
    }

    def __init__(self, now: float, reliable: bool = False, timers: Timers = STANDARD) -> None:
        super().__init__(State.CALLING, now, reliable, timers)
        self._cap = NEVER  # §17.1.1.2: timer A doubles without the limit of T2

    def _enter(self, now: float) -> None:
        t = self.timers
        if self.state == State.CALLING:
            self._arm(now, resend=NEVER if self.reliable else t.t1, end=64 * t.t1)
        elif self.state in (State.ACCEPTED, State.CANCELLING):
            self._arm(now, end=64 * t.t1)
        elif self.state == State.COMPLETED:
            self._arm(now, end=0 if self.reliable else TIMER_D)
        else:
            self._arm(now)
