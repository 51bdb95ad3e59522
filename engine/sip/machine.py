"""What the four transaction machines share: a table, at most two running timers, and the timer values of RFC 3261.

A machine is told what happened (`feed`) or that time has passed (`tick`), and returns one thing to do. It knows
neither messages nor addresses: `transactions.py` owns those. Every machine has one timer that resends and one that
ends the state; entering a state sets both.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar, Final, NamedTuple

NEVER: Final = float("inf")


class Timers(NamedTuple):
    """RFC 3261 §17.1.1.1 and table 4, in seconds."""

    t1: float = 0.5
    """Estimate of the round trip."""
    t2: float = 4.0
    """Longest interval between retransmissions (not for timer A)."""
    t4: float = 5.0
    """Longest time that a message stays in the network."""


STANDARD: Final = Timers()


class Do(IntEnum):
    """What the owner of the machine is to do next. At most one thing for one input."""

    NOTHING = 0
    SEND = 1
    """Send the response that was just given, and keep it for RESEND."""
    RESEND = 2
    """Send again what was sent last."""
    PASS = 3
    """Hand the message to the transaction user."""
    ACK_PASS = 4
    """Make the ACK for this failure response, send it, and hand the response to the transaction user."""
    ACK = 5
    """Send that ACK again."""
    TRYING = 6
    """Send a 100 on the machine's own account."""
    TIMED_OUT = 7
    """Tell the transaction user that no answer (client) or no ACK (server) came."""
    TRANSPORT = 8
    """Tell the transaction user that the message could not be sent."""


Table = Mapping[tuple[int, int], tuple[int, Do]]
Fires = Mapping[int, tuple[int, int]]
"""state -> (input of its resending timer, input of its ending timer); 0: has none"""
TERMINATED: Final = 0
"""The value of State.TERMINATED in every machine."""


class Machine:
    """Base of the four. `deadline` is the time of the next timer, NEVER when none runs.

    Subclasses give the table, the timer inputs by state, and `_enter`, which sets the timers of a state just entered.
    """

    __slots__ = ("_cap", "_end_at", "_interval", "_resend_at", "deadline", "reliable", "state", "timers")

    table: ClassVar[Table]
    fires: ClassVar[Fires]

    def __init__(self, state: int, now: float, reliable: bool, timers: Timers) -> None:
        self.timers = timers
        self.reliable = reliable
        self._cap = timers.t2
        self._interval = 0.0
        self._resend_at = self._end_at = self.deadline = NEVER
        self.state = state
        self._enter(now)

    def feed(self, what: int, now: float) -> Do:
        """Step on one input; an input that the table does not know in this state is absorbed."""
        entry = self.table.get((self.state, what))
        if entry is None:
            return Do.NOTHING
        state, do = entry
        if state != self.state:
            self.state = state
            self._enter(now)
        return do

    def tick(self, now: float) -> Do:
        """Fire one due timer. Call again while `deadline <= now`.

        A retransmission that is late starts its next interval now: a stalled process does not catch up in a burst."""
        if self._end_at <= now:
            self._end_at = NEVER
            self.deadline = self._resend_at
            return self.feed(self.fires[self.state][1], now)
        if self._resend_at <= now:
            self._interval = min(self._interval * 2, self._cap)
            self._resend_at = now + self._interval
            self.deadline = min(self._resend_at, self._end_at)
            return self.feed(self.fires[self.state][0], now)
        return Do.NOTHING

    def _enter(self, now: float) -> None:
        raise NotImplementedError

    def _arm(self, now: float, resend: float = NEVER, end: float = NEVER) -> None:
        """Replace both timers. An end of 0 (reliable transports) ends the transaction here and now."""
        if end == 0:
            self.state = TERMINATED
            resend = end = NEVER
        self._interval = resend
        self._resend_at = now + resend
        self._end_at = now + end
        self.deadline = min(self._resend_at, self._end_at)
