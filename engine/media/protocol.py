"""Commands to a media process and what it says back: msgpack batches with a length before each.

A frame is 4 octets (big-endian length) and a msgpack array of messages. First comes Hello from the media process, then
Resume from control. Events other than Health are numbered; the media process keeps each until control has Seen it, so
that a control process that dies with events in its hands loses none of them for the one after it.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from engine.media.plane import (
    Dtmf,
    Health,
    PlayDone,
    PlayId,
    PortClosed,
    PortId,
    RecordingDone,
    Remote,
    RtpTimeout,
)

MAX_FRAME = 1 << 20
T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of all that is not a MediaEvent."""


class Open(Message, frozen=True):
    request: int
    host: str
    rtp_timeout: float
    rtp_port: int = 0


class Load(Message, frozen=True):
    request: int
    clips: list[str]


class Connect(Message, frozen=True):
    port: PortId
    remote: Remote


class Play(Message, frozen=True):
    port: PortId
    play: PlayId
    clips: list[str]
    loop: bool
    barge_in: bool


class Stop(Message, frozen=True):
    port: PortId


class Bridge(Message, frozen=True):
    a: PortId
    b: PortId


class Mix(Message, frozen=True):
    ports: list[PortId]
    hears: list[list[PortId]]


class Unbridge(Message, frozen=True):
    port: PortId


class Record(Message, frozen=True):
    left: PortId
    right: PortId
    path: str
    also: list[PortId] = []


class StopRecording(Message, frozen=True):
    left: PortId


class SendDtmf(Message, frozen=True):
    port: PortId
    digit: str
    duration_ms: int


class Close(Message, frozen=True):
    port: PortId


class Reset(Message, frozen=True):
    """Close all ports. PortClosed follows for each."""


class Resume(Message, frozen=True):
    """Said first by control: give the events after this number (again). Resumed follows them."""

    request: int
    after: int


class Seen(Message, frozen=True):
    """What follows from the events up to this number is written down: they may be forgotten."""

    number: int


Command = (
    Resume
    | Seen
    | Open
    | Load
    | Connect
    | Play
    | Stop
    | Bridge
    | Mix
    | Unbridge
    | Record
    | StopRecording
    | SendDtmf
    | Close
    | Reset
)


class PortState(Message, frozen=True):
    """What an open port does."""

    rtp_port: int
    remote: Remote | None = None
    """Its far end, without keys."""
    partner: PortId = PortId(0)
    """Whom it is bridged to; 0: nobody."""
    recording: str = ""
    """Path, when it is the left one of a recording."""
    looping: bool = False
    """Music plays."""
    hears: tuple[PortId, ...] = ()
    """In a conference: whom."""


class Hello(Message, frozen=True):
    """Said first on each connection: who this is, and what is open from before."""

    name: str
    instance: str
    """Of this very process: numbers of events begin anew with another."""
    ports: dict[PortId, PortState]


class Resumed(Message, frozen=True):
    request: int


class Opened(Message, frozen=True):
    request: int
    port: PortId
    rtp_port: int


class Loaded(Message, frozen=True):
    request: int
    seconds: dict[str, float]


class Refused(Message, frozen=True):
    request: int
    reason: str


Reply = Hello | Resumed | Opened | Loaded | Refused
Event = Dtmf | PlayDone | RtpTimeout | RecordingDone | PortClosed | Health


class ToControl(msgspec.Struct, frozen=True, array_like=True):
    """One frame from the media process."""

    replies: list[Reply]
    events: list[Event]
    first: int = 0
    """Number of the first event; 0 for events without number."""


class ProtocolError(ValueError):
    """The other end of the socket speaks something else."""


def encode(message: ToControl | Sequence[Command]) -> bytes:
    """One frame, length included. Raises ProtocolError when it is too long."""
    body = msgspec.msgpack.encode(message)
    if len(body) > MAX_FRAME:
        raise ProtocolError("frame too long")
    return len(body).to_bytes(4, "big") + body


class Frames:
    """Cuts a stream into frames of one type: `feed` gives those that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, kind: type[T]) -> list[T]:
        """Raises ProtocolError; then the connection is of no use any more."""
        self._buffer += data
        out, at = [], 0
        while len(self._buffer) >= at + 4:
            size = int.from_bytes(self._buffer[at : at + 4], "big")
            if size > MAX_FRAME:
                raise ProtocolError("frame too long")
            if len(self._buffer) < at + 4 + size:
                break
            out.append(_decode(bytes(self._buffer[at + 4 : at + 4 + size]), kind))
            at += 4 + size
        del self._buffer[:at]
        return out


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise ProtocolError(str(error)) from error
