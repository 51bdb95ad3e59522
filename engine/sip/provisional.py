"""Reliable provisional responses (RFC 3262), above transactions: which response to an INVITE must be acknowledged by
PRACK, when it is sent again, and what a PRACK belongs to.

Theory of operation. A UAS has one `Provisionals` beside its InviteUsage: it gives it every provisional response that is
to be reliable, and gets back what may go out now; one at a time is out (§3), the others wait for its PRACK. `tick` at
`deadline` says what is to be sent again, or that the PRACK never came. A UAC has one `Arrivals` for each early dialog:
it is asked of every reliable response whether it is the next one.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

from engine.sip.grammar import BadHeader
from engine.sip.machine import NEVER, STANDARD, Timers
from engine.sip.message import Request, Response

TAG: Final = "100rel"
REFRESH_EVERY: Final = 60.0
"""Seconds: as in invite.py; what is reliable can't be repeated, so another one is sent (RFC 3261 §13.3.1.1)."""
_MAX: Final = 2**31 - 1
_HIGHEST: Final = 2**32 - 1


class Wish(Enum):
    """What the sender of an INVITE says of reliable provisional responses."""

    NONE = auto()
    SUPPORTED = auto()
    REQUIRED = auto()
    """Every one but 100 must be (§3)."""


class RAck(NamedTuple):
    """What a PRACK acknowledges (§7.2)."""

    rseq: int
    cseq: int
    method: str


def wish_of(invite: Request) -> Wish:
    if _names(invite, "Require"):
        return Wish.REQUIRED
    return Wish.SUPPORTED if _names(invite, "Supported") else Wish.NONE


def rack_of(prack: Request) -> RAck:
    """Raises BadHeader: 400."""
    parts = (prack.headers.get("RAck") or "").split()
    if len(parts) != 3:
        raise BadHeader("RAck")
    return RAck(_number(parts[0], "RAck"), _number(parts[1], "RAck"), parts[2])


def rseq_of(response: Response) -> int | None:
    """Of a response that must be acknowledged; None: of no other (§4). Raises BadHeader when it lacks its number."""
    if not 100 < response.status < 200 or not _names(response, "Require"):
        return None
    return _number((response.headers.get("RSeq") or "").strip(), "RSeq")


def rack_for(response: Response, rseq: int) -> str:
    """Value of RAck in the PRACK for a response."""
    return f"{rseq} {response.cseq.number} {response.cseq.method}"


class Again(NamedTuple):
    """Give this response to the transaction layer once more."""

    response: Response


class PrackMissing(NamedTuple):
    """64*T1 without PRACK: refuse the INVITE with 5xx (§3)."""


class Refresh(NamedTuple):
    """A minute without a word: `send` another response, lest proxies give up."""


Action = Again | PrackMissing | Refresh


class Provisionals:
    """UAS. first: random, 1 ≤ first < 2**31, the number of the first response (§3)."""

    __slots__ = ("_end_at", "_final", "_interval", "_next_at", "_out", "_refresh_at", "_rseq", "_timers", "_waiting")

    def __init__(self, first: int, timers: Timers = STANDARD) -> None:
        self._rseq = min(max(first, 1), _MAX)
        self._timers = timers
        self._out: Response | None = None  # sent, without PRACK
        self._waiting: deque[Response] = deque()
        self._interval = 0.0
        self._next_at = self._end_at = self._refresh_at = NEVER
        self._final = False

    @property
    def last(self) -> int:
        """The highest number that was given to a response, or is about to be."""
        return self._rseq

    @property
    def describing(self) -> bool:
        """A description is on its way, without PRACK: no 2xx may be sent (§3)."""
        waiting = self._waiting if self._out is None else (self._out, *self._waiting)
        return any(response.body for response in waiting)

    def send(self, response: Response, now: float) -> Response | None:
        """A response (101-199) to be sent reliably: what to send now, None while it has to wait."""
        if self._final:
            return None
        if self._out is not None:
            self._waiting.append(response)
            return None
        response.headers.add("Require", TAG)
        response.headers.add("RSeq", str(self._rseq))
        self._out = response
        self._interval = self._timers.t1
        self._next_at, self._end_at = now + self._timers.t1, now + 64 * self._timers.t1
        self._refresh_at = NEVER
        return response

    def acknowledged(self, rack: RAck, now: float) -> Response | None:
        """A PRACK came, the first time. Returns the response that it acknowledges; None: none that waits for it, answer
        481. What waits behind that response is to be had from `following`."""
        out = self._out
        if out is None or rack != RAck(self._rseq, out.cseq.number, out.cseq.method):
            return None
        self._out = None
        self._rseq += 1
        self._next_at = self._end_at = NEVER
        self._refresh_at = NEVER if self._final else now + REFRESH_EVERY
        return out

    def following(self, now: float) -> Response | None:
        """The next response to send, after `acknowledged`."""
        return self.send(self._waiting.popleft(), now) if self._waiting and self._out is None else None

    def open(self) -> list[bytes]:
        """What is without PRACK, the first of which is out. For `restore`, with `last`."""
        return [response.encode() for response in ((self._out,) if self._out is not None else ()) + (*self._waiting,)]

    def restore(self, last: int, responses: Sequence[Response], now: float) -> Response | None:
        """Go on with what another process left. Returns what is to be sent again, with the number that it has: the
        peer may have heard it, and waits for the number after it (§4)."""
        self._rseq = last
        self._waiting.extend(responses[1:])
        if not responses:
            return None
        self._out = responses[0]
        self._interval = self._timers.t1
        self._next_at, self._end_at = now + self._timers.t1, now + 64 * self._timers.t1
        return self._out

    def final(self) -> None:
        """The final response was sent: nothing is repeated any more, and a PRACK on its way still finds what it is
        for (§3)."""
        self._final = True
        self._waiting.clear()
        self._next_at = self._refresh_at = NEVER

    @property
    def deadline(self) -> float | None:
        at = min(self._next_at, self._end_at, self._refresh_at)
        return None if at == NEVER else at

    def tick(self, now: float) -> list[Action]:
        """What is due."""
        if self._end_at <= now:
            self._out = None
            self._next_at = self._end_at = NEVER
            return [] if self._final else [PrackMissing()]
        actions: list[Action] = []
        if self._next_at <= now and self._out is not None:
            self._interval *= 2
            self._next_at = now + self._interval
            actions.append(Again(self._out))
        if self._refresh_at <= now:
            self._refresh_at = NEVER
            actions.append(Refresh())
        return actions


class Arrivals:
    """UAC: reliable responses in one early dialog."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: int | None = None

    def is_next(self, rseq: int) -> bool:
        """Whether to acknowledge and heed it. A repeated one is neither: the PRACK sees to itself; nor is one that has
        overtaken another: both will come again (§4)."""
        if self._last is not None and rseq != self._last + 1:
            return False
        self._last = rseq
        return True


def _names(message: Request | Response, header: str) -> bool:
    return TAG in [tag.lower() for tag in message.headers.elements(header)]


def _number(text: str, header: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10) or int(text) > _HIGHEST:
        raise BadHeader(header)
    return int(text)
