"""One INVITE dialog usage, above transactions: RFC 3261 §13, §14, §15.1, as RFC 5407 and RFC 6026 read them.

Theory of operation. A leg has one InviteUsage beside its Dialog. It is told of every INVITE, response, ACK and BYE of
the dialog *after* the transaction layer, and decides what only the history of the dialog can decide: when a 2xx is
repeated, which ACK belongs to it, who may send a re-INVITE now, what a hang-up means at this moment. It makes no
message; the shell does what the returned values say.

- UAS: `received` → refuse as told, or answer and say so by `provisional`, `described`, `answered`, `refused`; every ACK
  to `acknowledged`.
- UAC: `sent` when the INVITE is out; every response to `heard`, a failure of the transaction to `failed`.
  After ANSWERED or CROSSED give the bytes of the ACK to `ack_sent`; after REPEATED send `ack_data` again.
  A 2xx with another To tag than the dialog's (a second fork) is not for this usage: ACK and BYE it in its own Dialog.
- Either: `hangup` to end, `bye_received` when the peer did; `tick` at `deadline`.
"""

from enum import Enum, StrEnum, auto
from typing import Final, NamedTuple

import msgspec

from engine.sip.machine import NEVER, STANDARD, Timers
from engine.sip.matching import ClientKey, ServerKey
from engine.sip.message import Request, Response
from engine.sip.parse import parse_response
from engine.sip.unacknowledged import Answer, Answers, Unacknowledged

REFRESH_EVERY: Final = 60.0
"""§13.3.1.1: a ringing UAS says so each minute, lest proxies give up."""


class SendAgain(NamedTuple):
    """`layer.respond(key, response, now)`: a 2xx without ACK, or the minute's provisional response."""

    key: ServerKey
    response: Response


class Acknowledged(NamedTuple):
    """The ACK to this 2xx of ours, the first time. answer_due: our 2xx held the offer, so the ACK must hold the
    answer (§13.2.2.4)."""

    key: ServerKey
    answer_due: bool


class AckMissing(NamedTuple):
    """64*T1 without ACK: end the dialog with BYE (§13.3.1.4). The usage counts as ended."""

    key: ServerKey


class SendBye(NamedTuple):
    """The hang-up that had to wait for the ACK may go out now."""


class InviteAgain(NamedTuple):
    """The wait after a 491 is over: make the re-INVITE again, if it is still wanted and `may_invite`."""


Action = SendAgain | Acknowledged | AckMissing | SendBye | InviteAgain


class Refusal(NamedTuple):
    """How to refuse a re-INVITE. retry_after: seconds for the Retry-After header, None for none."""

    status: int
    retry_after: int | None = None


class Heard(Enum):
    """What a response to our INVITE means."""

    PROVISIONAL = auto()
    ANSWERED = auto()
    """2xx: send the ACK, then `ack_sent`."""
    REPEATED = auto()
    """The same 2xx: send `ack_data` again."""
    CROSSED = auto()
    """2xx although we hung up (it crossed our CANCEL): send the ACK, `ack_sent`, then BYE. The usage has ended."""
    REFUSED = auto()
    """Of the first INVITE: the usage has ended. Of a re-INVITE: the session goes on as it was."""
    GLARE = auto()
    """491 to a re-INVITE: InviteAgain will come."""
    GONE = auto()
    """408, 481 or silence to a re-INVITE: the peer has lost the dialog (§12.2.1.2): send BYE. The usage has ended."""
    STRAY = auto()
    """To no INVITE that this usage sent."""


class Hangup(Enum):
    """How to end the call at this moment."""

    CANCEL = auto()
    """`layer.cancel` of our INVITE (§9.1); `heard` or `failed` will end the usage."""
    REJECT = auto()
    """Answer their INVITE with a failure, then `refused`."""
    BYE = auto()
    WAIT = auto()
    """A callee may not send BYE before the ACK (§15): SendBye or AckMissing will come."""
    NOTHING = auto()
    """It has ended, or is ending, already."""


class Exchange(StrEnum):
    """How far offer and answer of their INVITE are, before its final answer."""

    OPEN = auto()
    """Nothing was said reliably."""
    ASKED = auto()
    """Our offer is in a reliable provisional response; the answer comes with its PRACK."""
    DONE = auto()


class UsageState(msgspec.Struct, omit_defaults=True):
    """An InviteUsage as it is saved. Times as on the clock of `now`."""

    confirmed: bool = False
    ended: bool = False
    ending: bool = False
    theirs: ServerKey | None = None
    theirs_offers: bool = False
    exchange: Exchange = Exchange.OPEN
    sent: ClientKey | None = None
    sent_seq: int = 0
    ack: tuple[int, bytes] | None = None
    unacknowledged: list[Unacknowledged] = []
    provisional: tuple[float, bytes] | None = None
    """When it is to be repeated, and the response."""
    retry_at: float | None = None


class InviteUsage:
    """caller: we sent the first INVITE, and so own the Call-ID (§14.1)."""

    __slots__ = (
        "_ack",
        "_answers",
        "_caller",
        "_confirmed",
        "_ended",
        "_ending",
        "_exchange",
        "_refresh",
        "_refresh_at",
        "_retry_at",
        "_sent",
        "_sent_seq",
        "_theirs",
        "_theirs_offers",
    )

    def __init__(self, *, caller: bool, timers: Timers = STANDARD) -> None:
        self._caller = caller
        self._confirmed = self._ended = self._ending = False
        self._theirs: ServerKey | None = None  # their INVITE that has no final answer yet
        self._theirs_offers = False
        self._exchange = Exchange.OPEN
        self._sent: ClientKey | None = None  # our INVITE that has no final answer yet
        self._sent_seq = 0  # CSeq number of our latest INVITE
        self._ack: tuple[int, bytes] | None = None  # CSeq number and bytes of our latest ACK
        self._answers = Answers(timers)
        self._refresh: SendAgain | None = None
        self._refresh_at = self._retry_at = NEVER

    def state(self) -> UsageState:
        """For `restore`."""
        return UsageState(
            confirmed=self._confirmed,
            ended=self._ended,
            ending=self._ending,
            theirs=self._theirs,
            theirs_offers=self._theirs_offers,
            exchange=self._exchange,
            sent=self._sent,
            sent_seq=self._sent_seq,
            ack=self._ack,
            unacknowledged=self._answers.state(),
            provisional=None if self._refresh is None else (self._refresh_at, self._refresh.response.encode()),
            retry_at=None if self._retry_at == NEVER else self._retry_at,
        )

    def restore(self, state: UsageState) -> None:
        """Be what `state` was taken from. Raises ParseError when a message in it is none."""
        self._confirmed, self._ended, self._ending = state.confirmed, state.ended, state.ending
        self._theirs, self._theirs_offers, self._exchange = state.theirs, state.theirs_offers, state.exchange
        self._sent, self._sent_seq, self._ack = state.sent, state.sent_seq, state.ack
        self._answers.restore(state.unacknowledged)
        if state.provisional is not None and state.theirs is not None:
            self._refresh_at, data = state.provisional
            self._refresh = SendAgain(state.theirs, parse_response(data))
        self._retry_at = NEVER if state.retry_at is None else state.retry_at

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def confirmed(self) -> bool:
        """A 2xx to the first INVITE was sent or received."""
        return self._confirmed

    @property
    def unanswered(self) -> ServerKey | None:
        """Their INVITE that still waits for our final answer; 487 it when the dialog has ended (§15.1.2)."""
        return self._theirs

    @property
    def may_invite(self) -> bool:
        """A re-INVITE may be sent now (§14.1): no INVITE is pending either way, and every 2xx has its ACK."""
        idle = self._theirs is None and self._sent is None and not self._answers
        return idle and self._confirmed and not self._ended and not self._ending and self._retry_at == NEVER

    # UAS

    def received(self, key: ServerKey, request: Request, chance: float = 0.5) -> Refusal | None:
        """An INVITE, first or re-INVITE, that Dialog.check admitted. None: it is ours to answer now.

        chance: random, 0 ≤ chance < 1, for the Retry-After of 0 to 10 s (§14.2)."""
        if self._ended:
            return Refusal(481)
        if self._theirs is not None:
            return Refusal(500, int(chance * 11))
        if self._sent is not None or self._answers.offer_open:
            return Refusal(491)  # glare; or our offer in a 2xx has no answer yet
        self._theirs = key
        self._theirs_offers = bool(request.body)
        self._exchange = Exchange.OPEN
        return None

    def updated(self, *, offers: bool, chance: float = 0.5) -> Refusal | None:
        """An UPDATE, or a PRACK with an offer (RFC 3311 §5.2; RFC 3262 §5). None: it may be answered now."""
        if self._ended:
            return Refusal(481)
        if not offers:
            return None
        if self._theirs is not None and self._exchange is Exchange.OPEN:
            return Refusal(500, int(chance * 11))
        asked = self._theirs is not None and self._exchange is Exchange.ASKED
        if asked or self._sent is not None or self._answers.offer_open:
            return Refusal(491)
        return None

    def described(self) -> None:
        """A reliable provisional response with our description was sent: the answer to their offer, or our offer."""
        self._exchange = Exchange.DONE if self._theirs_offers else Exchange.ASKED

    @property
    def answer_due(self) -> bool:
        """The PRACK to come must hold the answer to our offer (RFC 3262 §5)."""
        return self._exchange is Exchange.ASKED

    def agreed(self) -> None:
        """That answer came."""
        self._exchange = Exchange.DONE

    def provisional(self, key: ServerKey, response: Response, now: float) -> None:
        """101-199 was sent."""
        if key == self._theirs:
            self._refresh = SendAgain(key, response)
            self._refresh_at = now + REFRESH_EVERY

    def answered(self, key: ServerKey, response: Response, now: float) -> None:
        """A 2xx was sent: it is repeated until `acknowledged`, over reliable transports too (§13.3.1.4)."""
        if key != self._theirs:
            return
        answer_due = not self._theirs_offers and bool(response.body)
        self._answers.sent(Answer(key, response, answer_due=answer_due, first=not self._confirmed), now)
        self._confirmed = True
        self._answered_theirs()

    def refused(self, key: ServerKey) -> None:
        """A failure response was sent to an INVITE for which `received` gave None."""
        if key == self._theirs:
            self._answered_theirs()
            self._ended = self._ended or not self._confirmed

    def acknowledged(self, ack: Request) -> list[Action]:
        """An ACK came. Repeated ones, and those to nothing, give []."""
        answer = self._answers.acknowledged(ack.cseq.number)
        if answer is None:
            return []
        actions: list[Action] = [Acknowledged(answer.key, answer.answer_due)]
        if self._ending and answer.first:
            self._end()
            actions.append(SendBye())
        return actions

    # UAC

    def sent(self, key: ClientKey, request: Request) -> None:
        """Our INVITE or re-INVITE is out. One at a time: ask `may_invite` before a re-INVITE. An INVITE sent again
        with credentials, or to another target, replaces the one that was refused."""
        self._sent = key
        self._sent_seq = request.cseq.number
        self._retry_at = NEVER
        if not self._confirmed:
            self._ended = False

    def heard(self, key: ClientKey, response: Response, now: float, chance: float = 0.5) -> Heard:
        """A response to our INVITE. chance: random, 0 ≤ chance < 1, for the wait after a 491 (§14.1)."""
        seq = response.cseq.number
        if key != self._sent:
            acked = self._ack is not None and self._ack[0] == seq
            return Heard.REPEATED if acked and 200 <= response.status < 300 else Heard.STRAY
        if response.status < 200:
            return Heard.PROVISIONAL
        self._sent = None
        if response.status < 300:
            self._confirmed = True
            if self._ending or self._ended:
                self._ended = True
                return Heard.CROSSED
            return Heard.ANSWERED
        if response.status == 491 and self._confirmed and not self._ended:
            self._retry_at = now + _glare_wait(self._caller, chance)
            return Heard.GLARE
        return self._refused_by_peer(response.status in (408, 481))

    def failed(self, key: ClientKey) -> Heard:
        """RequestFailed of our INVITE: REFUSED (first INVITE), GONE (re-INVITE) or STRAY."""
        if key != self._sent:
            return Heard.STRAY
        self._sent = None
        return self._refused_by_peer(lost=True)

    def ack_sent(self, data: bytes) -> None:
        """The bytes of the ACK to the 2xx just heard, as `layer.ack` returned them."""
        self._ack = (self._sent_seq, data)

    @property
    def ack_data(self) -> bytes:
        """What to send again on REPEATED."""
        return b"" if self._ack is None else self._ack[1]

    # The end

    def hangup(self) -> Hangup:
        """We end the call: says how. Unless it is CANCEL, REJECT or WAIT the usage has ended with this."""
        if self._ended or self._ending:
            return Hangup.NOTHING
        if self._confirmed:
            if self._answers.first:
                self._ending = True
                return Hangup.WAIT
            self._end()
            return Hangup.BYE
        if self._theirs is None and self._sent is None:
            self._ended = True
            return Hangup.NOTHING
        self._ending = True
        return Hangup.CANCEL if self._caller else Hangup.REJECT

    def bye_received(self) -> ServerKey | None:
        """The peer sent BYE (answer it 200). Returns their INVITE that must be answered 487 now, if there is one."""
        self._end()
        theirs = self._theirs
        self._answered_theirs()
        return theirs

    # Time

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        at = min(self._refresh_at, NEVER if self._ended else self._retry_at, self._answers.deadline)
        return None if at == NEVER else at

    def tick(self, now: float) -> list[Action]:
        """What is due. Calling it early or often does no harm."""
        actions: list[Action] = []
        missing = self._answers.missing(now)
        if missing is not None:
            actions.append(SendBye() if self._ending else AckMissing(missing.key))
            self._end()
        actions += [SendAgain(answer.key, answer.response) for answer in self._answers.due(now)]
        if self._refresh is not None and self._refresh_at <= now:
            self._refresh_at = now + REFRESH_EVERY
            actions.append(self._refresh)
        if self._retry_at <= now:
            self._retry_at = NEVER
            if not self._ended:
                actions.append(InviteAgain())
        return actions

    def _end(self) -> None:
        """After a BYE either way no 2xx needs to be repeated."""
        self._ended = True
        self._answers.clear()

    def _answered_theirs(self) -> None:
        self._theirs = None
        self._refresh = None
        self._refresh_at = NEVER

    def _refused_by_peer(self, lost: bool) -> Heard:
        if not self._confirmed:
            self._ended = True
            return Heard.REFUSED
        if lost and not self._ended:
            self._end()
            return Heard.GONE
        return Heard.REFUSED


def _glare_wait(caller: bool, chance: float) -> float:
    """Seconds, in steps of 10 ms: 2.1 to 4.0 for the owner of the Call-ID, 0 to 2.0 for the other side."""
    return (210 + int(chance * 191)) / 100 if caller else int(chance * 201) / 100
