"""What is saved of calls and legs, so that another control process can go on with them. Times are monotonic seconds,
which all processes of one boot share. No key of a media stream is here: those are made anew."""

import re

import msgspec

from engine.frames import SavedFrame
from engine.media.plane import Codec, PortId, PortStats, Remote, SrtpSuite
from engine.sdp.crypto import SrtpPolicy
from engine.sip.dialog import Dialog
from engine.sip.flow import Flow
from engine.sip.invite import UsageState
from engine.sip.matching import ClientKey, ServerKey
from engine.sip.parse import parse
from engine.sip.session_timer import Terms
from engine.trunks.targets import Target
from events.types import CallOutcome, EndedBy, TransferKind
from kernel.ids import CallId, LegId

_KEYS = re.compile(rb"a=crypto:[^\r\n]*\r?\n")


def without_keys(description: bytes) -> bytes:
    """An SDP description without its crypto attributes (RFC 4568)."""
    return _KEYS.sub(b"", description) if b"a=crypto:" in description else description


def message_without_keys(data: bytes) -> bytes:
    """A whole SIP message so."""
    if b"a=crypto:" not in data:
        return data
    message = parse(data)
    message.body = without_keys(message.body)
    return message.encode()


class BridgeState(msgspec.Struct, omit_defaults=True):
    leg: LegId
    since: float
    holding: dict[LegId, float] = {}
    """Who holds the other, and since when."""
    held_since: float = 0.0
    held: float = 0.0


class PartiesState(msgspec.Struct, array_like=True):
    """Legs that talk to each other, and since when: two of them, or all with the caller."""

    legs: list[LegId]
    since: float


class TransferState(msgspec.Struct, array_like=True):
    """One that a talk ended with, and of which nothing has come yet."""

    leg: LegId
    target: str
    kind: TransferKind
    event: str | None = None
    """Of the REFER that asked for it."""


class EndState(msgspec.Struct, array_like=True):
    """A BridgeEnd."""

    ended_by: EndedBy
    talked: float
    held: float
    transfer: TransferState | None = None


class PlayerState(msgspec.Struct, omit_defaults=True, frozen=True):
    last: int = 0
    """PlayId of the latest play."""
    music: str = ""


class RecordingsState(msgspec.Struct, omit_defaults=True, frozen=True):
    count: int = 0
    open: dict[str, str] = {}
    """Path -> media process that writes it."""


class TalksState(msgspec.Struct, omit_defaults=True, frozen=True):
    bridge: BridgeState | None = None
    joined: PartiesState | None = None
    conference: PartiesState | None = None
    codes: str = ""
    """Pressed by the first of these legs, for whoever had them talk, and not taken."""
    last: EndState | None = None
    happened: bool = False
    seconds: float = 0.0
    agent_left: bool = False


class EndingState(msgspec.Struct, omit_defaults=True, frozen=True):
    by: EndedBy | None = None
    reason: str = ""
    at: float = 0.0
    outcome: CallOutcome | None = None
    ours: bool = False


class CallState(msgspec.Struct, omit_defaults=True):
    id: CallId
    caller: str
    dialled: str
    arrived_at: float
    name: str = ""
    trunk: str = ""
    attributes: dict[str, str] = {}
    legs: int = 1
    """That it has had, the caller's too."""
    keys: str = ""
    """Pressed and not taken."""
    player: PlayerState = PlayerState()
    recordings: RecordingsState = RecordingsState()
    talks: TalksState = TalksState()
    queued: bool = False
    ending: EndingState = EndingState()
    frames: list[SavedFrame] = []


class StreamState(msgspec.Struct, omit_defaults=True):
    plane: str
    port: PortId | None = None
    local: tuple[str, int] = ("", 0)
    """Host and RTP port that our descriptions name."""
    known: tuple[str, int] | None = None
    """Those that the peer was told last …"""
    agreed: bool = False
    """… and that it has agreed to."""
    released: bool = False
    version: int = 0
    said: bytes = b""
    """Our latest description, without keys …"""
    keyed: bool = False
    """… which it had."""
    remote: Remote | None = None
    """Without keys …"""
    suite: SrtpSuite | None = None
    """… which were of this suite."""
    codecs: tuple[Codec, ...] = ()
    dtmf: bool = True
    srtp: SrtpPolicy | None = None
    earlier: PortStats = PortStats()


class MovingState(msgspec.Struct, array_like=True, frozen=True):
    """A move to another media process that the peer has not agreed to."""

    before: str
    """Media process that it leaves, or that was lost."""
    since: float
    lost: bool


class SessionState(msgspec.Struct, omit_defaults=True, frozen=True):
    terms: Terms | None = None
    updates: bool = False
    due: float | None = None


class CallerState(msgspec.Struct, omit_defaults=True):
    """What only a caller's leg has."""

    key: ServerKey
    invite: bytes = b""
    """Until its answer is acknowledged."""
    pending: bool = False
    """It has no answer."""
    encrypted: bool = False
    """It offers keys, which are not in `invite`."""
    said: int = 0
    """Status of our latest provisional response."""
    rseq: int = 0
    reliable: list[bytes] = []
    """Responses without PRACK."""
    early: bool = False
    acked: bool = False


class OutboundState(msgspec.Struct, omit_defaults=True):
    """What only a leg that we dialled has."""

    uri: str
    to: str
    from_: str
    routes: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    trunk: str = ""
    target: Target | None = None
    tried: tuple[Target, ...] = ()
    number: str = ""
    sips: bool = False
    invite: bytes = b""
    """Until it is answered, with its Via."""
    sent_at: float = 0.0
    interval: int = 0
    rung: bool = False
    heard: bool = False
    sounds: bool = False
    outcome: int | None = None


class LegState(msgspec.Struct, omit_defaults=True):
    id: LegId
    call: CallId
    tag: str
    flow: Flow
    peer: EndedBy
    usage: UsageState
    stream: StreamState
    session: SessionState = SessionState()
    moving: MovingState | None = None
    caller: CallerState | None = None
    outbound: OutboundState | None = None
    sips: bool = False
    phone: str = ""
    referrals: int = 0
    referred: int = 0
    subscribed: list[str] = []
    answered: bool = False
    answered_at: float = 0.0
    sip_status: int = 0
    known: bool = True
    ended: EndedBy | None = None
    dialog: Dialog | None = None
    requests: list[tuple[ClientKey, bytes, Flow]] = []
    """BYE, NOTIFY and re-INVITE without final answer."""
