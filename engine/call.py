"""What IVR and ACD may see of the engine: a Call, the Leg of an agent, and the values they give back.

A call runs its application in one task. **When the caller hangs up, that task is cancelled** (CancelledError at
whatever it awaits, as with `asyncio.timeout`); `finally` blocks clean up, and nothing else needs to watch for it.
Everything else that can happen is a value. Prompts and music are named by clip: the path of a WAV file
(mono, 16 bit, 8 kHz), loaded once by the media plane.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self, TypeVar

import msgspec

from events.types import EndedBy, TransferKind
from kernel.ids import CallId, LegId

P = TypeVar("P", bound=msgspec.Struct)


class Why(StrEnum):
    """Why a play or collect came to its end."""

    FINISHED = "finished"
    """Play: to the last sample. Collect: enough digits, or the terminator."""
    BARGED = "barged"
    """Play: a key cut it short; the key waits for the next collect."""
    SKIPPED = "skipped"
    """Play: before the answer, to a caller who cannot hear anything yet."""
    TIMEOUT = "timeout"
    """Collect: no (further) key in time. `digits` has those that came."""


@dataclass(frozen=True, slots=True)
class Played:
    why: Why
    seconds: float


@dataclass(frozen=True, slots=True)
class Collected:
    digits: str
    """Without the terminator."""
    why: Why


class DialOutcome(StrEnum):
    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    DECLINED = "declined"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """An order to ring a phone of ours for a call; or, when there is none registered, an ordinary telephone."""

    aor: str = ""
    """User part of the registered address of record: `1002`."""
    display: str
    """What the phone shows beside the caller's number. No operator is told it."""
    ring_for: float
    number: str = ""
    """Of the telephone, E.164 with its plus; "": none."""
    trunks: tuple[str, ...] = ()
    """Through which it may be called, best first."""
    caller_hears: bool = False
    """The caller hears what the far end sends before it answers: its ring-back tone, an announcement."""
    hearer: "Leg | None" = None
    """Of this call, answered: hears that in the caller's place."""


@dataclass(frozen=True, slots=True)
class Dialled:
    outcome: DialOutcome
    leg: "Leg | None"
    """Set when, and only when, outcome is ANSWERED. The taker must bridge it or hang it up."""
    sip_status: int
    rang: float


@dataclass(frozen=True, slots=True)
class BridgeEnd:
    ended_by: EndedBy
    talked: float
    held: float
    transfer: "Transfer | None" = None
    """Set when the agent wants the caller to be with somebody else. The leg still waits then, and the caller hears
    music: transfer him, bridge the leg again, or hang it up."""
    taken: bool = False
    """The leg went over to another call, by an attended transfer: this call has nobody to talk to any more."""


class Transfer(Protocol):
    """Exactly one of `done` and `failed` is to be called, unless the caller hangs up."""

    @property
    def kind(self) -> TransferKind: ...
    @property
    def target(self) -> str:
        """As dialled: a number, or the name of a queue or agent. Of one consulted by phone: the user of his phone."""

    @property
    def consulted(self) -> bool:
        """The agent's phone talks to the target already: `take` that leg. Otherwise, with kind ATTENDED, dial him and
        let the two talk (`Call.join`) before the caller does."""

    def progress(self, sip_status: int = 180) -> None:
        """Tell the agent's phone, if it asked by REFER: trying, ringing."""

    def take(self) -> "Leg | None":
        """The consulted party's leg, now of this call and to be bridged; None when he is gone, or can't be taken."""

    def done(self) -> None:
        """The target has the caller now, or the queue has. The agent's leg ends a little later by itself."""

    def failed(self, sip_status: int) -> None:
        """The agent's leg goes on waiting, if it has not ended."""


@dataclass(frozen=True, slots=True)
class JoinEnd:
    talked: float
    """Seconds."""
    ended: "Leg | None"
    """Who hung up; None: `until` was done."""


@dataclass(frozen=True, slots=True)
class ConferenceEnd:
    talked: float
    """Seconds."""
    left: "Leg | None"
    """Who hung up first; None: `until` was done."""


class Leg(Protocol):
    """One dialog and one media port: an agent's phone on the line."""

    @property
    def id(self) -> LegId: ...

    def hangup(self, reason: str = "") -> None:
        """BYE (or CANCEL) and free the port. Never blocks, may be repeated."""

    async def wait_ended(self) -> None:
        """Returns when it has ended, whoever ended it."""


class Frame(AbstractContextManager["Frame", None], Protocol):
    """One layer's place in a call, kept for the process after this one (engine/frames.py)."""

    def was(self, kind: type[P]) -> P | None:
        """Where this layer was when the process before died, to go on from there; None: it begins. Given once."""

    def set(self, place: Callable[[], msgspec.Struct]) -> None:
        """How to learn where it is: asked whenever the call is saved, which is after each event that tells of it."""


class Unkept:
    """A frame that remembers nothing: for calls that end with their process."""

    def was(self, kind: type[P]) -> P | None:
        return None

    def set(self, place: Callable[[], msgspec.Struct]) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class Call(Protocol):
    """A caller's call. Methods raise nothing of their own; after the end the task is being cancelled."""

    @property
    def id(self) -> CallId: ...
    @property
    def caller(self) -> str: ...
    @property
    def caller_name(self) -> str: ...
    @property
    def dialled(self) -> str: ...
    @property
    def trunk(self) -> str: ...
    @property
    def attributes(self) -> dict[str, str]:
        """What the flow has learnt (`language`, `choice` …); set through `set_attribute`, so that it is journalled."""

    queued: bool
    """Set by the ACD while the caller waits for an agent: who hangs up then has abandoned the queue, not the flow."""

    def set_attribute(self, name: str, value: str) -> None: ...

    def beside(self, other: "Call") -> None:
        """Before the answer: have the audio where the other call has it, so that it need not move after `give`."""

    def give(self, to: "Call") -> "Leg | None":
        """Give the answered leg of a phone's call over to another call, as if that had dialled it: to be bridged there,
        or hung up. This call is over then, and its task is to return. None: it cannot be, and nothing has changed."""

    def frame(self, layer: str) -> Frame:
        """To be entered by each layer of the application while it is at work (`with`)."""

    def leg_of(self, leg: LegId) -> Leg | None:
        """A leg dialled for this call, as a saved place names it; None when it is gone."""

    async def answer(self) -> None:
        """200 OK; returns when the ACK is here. Does nothing when answered already."""

    def ringing(self) -> None:
        """180, unless the call is answered."""

    async def reject(self, sip_status: int, reason: str) -> None:
        """Final error status before any answer; cancels the task that calls it, as a hang-up would."""

    async def play(self, clips: Sequence[str], *, barge_in: bool = True, early: bool = False) -> Played:
        """Play clips without a gap, one after another. Answers first when needed.

        With barge_in a key pressed before (and not yet collected) or during it ends it. early: does not answer; one
        who is not answered hears it as early media, or SKIPPED it is."""

    async def collect(
        self, *, max_digits: int, timeout: float, inter_digit: float = 3.0, terminator: str = "#"
    ) -> Collected:
        """Take keys, those that wait first. `timeout` for the first, `inter_digit` between; "" for no terminator."""

    async def next_digit(self) -> str:
        """The next key, however long it takes (exit keys while queued)."""

    def start_music(self, clip: str) -> None:
        """Loop a clip until a play, bridge or stop_music; a later `play` pauses it and it goes on after."""

    def stop_music(self) -> None: ...

    async def dial(self, order: Dial) -> Dialled:
        """Ring a phone. Cancelling the awaiting task sends CANCEL (or BYE, if its 200 crossed)."""

    async def bridge(self, leg: Leg, *, record: bool) -> BridgeEnd:
        """Connect caller and leg until the leg hangs up (value) or the caller does (cancelled).

        The leg is hung up and freed when this returns, unless a transfer is asked for. Hold from either side plays
        music to the other. With record, one stereo WAV: caller left, leg right."""

    @property
    def last_bridge(self) -> BridgeEnd | None:
        """How the latest bridge ended; set also when the caller's hang-up cancelled it. None before the first."""

    def ask_transfer(self, target: str, kind: TransferKind) -> bool:
        """End the present bridge with a Transfer, as a REFER of the agent's phone would. False: there is none."""

    async def join(
        self, agent: Leg, other: Leg, until: asyncio.Future[None], keys: Callable[[str], None] = lambda key: None
    ) -> JoinEnd:
        """Let two dialled legs of this call talk to each other, while the caller hears music, until one hangs up or
        `until` is done. Neither is hung up by this. keys: gets each key that `agent` presses."""

    async def confer(
        self,
        legs: Sequence[Leg],
        until: asyncio.Future[None],
        *,
        record: bool,
        keys: Callable[[str], None] = lambda key: None,
    ) -> ConferenceEnd:
        """Caller and legs all hear each other, until one of the legs hangs up or `until` is done (values) or the
        caller hangs up (cancelled). No leg is hung up by this; those that are left hear each other on, until they are
        bridged. Counts as a bridge: `last_bridge` tells of it, too.

        With record, one stereo WAV: caller left, all others right. keys: gets each key that the first leg presses;
        no key is passed on to anybody. A party on hold neither hears nor is heard, the others go on."""

    async def hangup(self, reason: str = "bye") -> None:
        """End the call from our side. Cancels the task that calls it."""
