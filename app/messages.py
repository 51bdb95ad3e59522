"""What the supervisor and control say to each other on the report socket, one JSON object a line.

From the supervisor: facts to journal, encoded as the events of events/types.py, and orders. From control: notes.
Either side ignores what it does not understand: during an upgrade the two may be of different versions.
"""

import msgspec

from events.types import (
    Event,
    ProcessAdopted,
    ProcessExited,
    ProcessOutgrew,
    ProcessStalled,
    ProcessStarted,
    UpgradeEnded,
)

LINE_BYTES = 65_536
"""A longer line ends the connection."""


class Message(msgspec.Struct, frozen=True, tag_field="type"):
    pass


# --- orders -----------------------------------------------------------------------------------------------------


class Drain(Message, tag="drain", frozen=True):
    """Take no new calls; tell by `Left` how many there are still, until there is none."""

    within: float
    """Seconds after which those that are left will be ended."""


class Medias(Message, tag="medias", frozen=True):
    """The media processes that there are from now on."""

    sockets: dict[str, str]
    """Name → UNIX socket; the retiring ones too."""
    retiring: list[str]
    """They get no new calls; tell by `Retired` when their last one has ended."""


# --- notes ------------------------------------------------------------------------------------------------------


class Ready(Message, tag="ready", frozen=True):
    """Calls are answered from now on."""


class Noted(Message, tag="noted", frozen=True):
    """The first `count` facts of this connection are in the journal."""

    count: int


class Left(Message, tag="left", frozen=True):
    """While draining: calls in progress."""

    calls: int


class Retired(Message, tag="retired", frozen=True):
    """No call needs this media process any more."""

    media: str


Fact = ProcessStarted | ProcessExited | ProcessStalled | ProcessOutgrew | ProcessAdopted | UpgradeEnded
Order = Drain | Medias
Note = Ready | Noted | Left | Retired


def encode(message: Message | Event) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def read_order(line: bytes) -> Fact | Order | None:
    """None for a line that we do not understand."""
    try:
        order: Fact | Order = msgspec.json.decode(line, type=Fact | Order)
    except msgspec.DecodeError:
        return None
    return order


def read_note(line: bytes) -> Note | None:
    try:
        note: Note = msgspec.json.decode(line, type=Note)
    except msgspec.DecodeError:
        return None
    return note
