"""One journal line an event: JSON, UTF-8, without the newline.

    {"seq":7,"at":1763758955.25,"event":{"type":"CallQueued","call":"…","queue":"billing",…}}

`"v":N` follows `event` when the event's VERSION is above 1. What other versions wrote is read so:

- a field that we don't know is ignored; a missing field with a default takes it;
- an older version is lifted by UPCASTERS, step by step;
- an unknown type, or a version above ours (after a roll-back), becomes Unknown: kept whole, told by no fold;
- anything else is BadLine: not JSON, no seq, or a known event whose fields have the wrong types.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Union

import msgspec

from events import types
from events.types import Event, Recorded

Fields = dict[str, Any]

UPCASTERS: Final[Mapping[tuple[str, int], Callable[[Fields], Fields]]] = MappingProxyType({})
"""(type, version) -> function that turns its fields into those of version + 1."""


class BadLine(ValueError):
    """These bytes are no record of a journal."""


class BadEvent(TypeError):
    """Our own mistake: an event that could not be read back (a NaN, a None, a number for a text)."""


class Unknown(Event, frozen=True):
    """An event that a newer Callwright wrote. Encodes back to what it was read from."""

    kind: str
    version: int
    fields: Fields


class _Head(msgspec.Struct):
    seq: int
    at: float


class _Loose(msgspec.Struct, omit_defaults=True):
    seq: int
    at: float
    event: Fields
    v: int = 1


def _all_events() -> dict[str, type[Event]]:
    classes = [c for c in vars(types).values() if isinstance(c, type) and issubclass(c, Event) and c is not Event]
    return {c.__name__: c for c in classes}


EVENTS: Final[Mapping[str, type[Event]]] = MappingProxyType(_all_events())
"""Every event type by its name, which is also its `type` in the line."""

_Line: Any = msgspec.defstruct(
    "_Line",
    [("seq", int), ("at", float), ("event", Union[tuple(EVENTS.values())]), ("v", int, 1)],  # noqa: UP007
    omit_defaults=True,
)
_encode: Final = msgspec.json.Encoder().encode
_decode_line: Final[Callable[[bytes], Any]] = msgspec.json.Decoder(_Line).decode
_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_loose: Final = msgspec.json.Decoder(_Loose).decode


def event_type(event: Event) -> str:
    """The name under which it is stored and filtered: `CallQueued`."""
    return event.kind if isinstance(event, Unknown) else type(event).__name__


def fields(event: Event) -> Fields:
    """Its fields as JSON values, without the type."""
    if isinstance(event, Unknown):
        return event.fields
    plain: Fields = msgspec.to_builtins(event)
    del plain["type"]
    return plain


def defaults(kind: type[Event]) -> Fields:
    """What the fields that need not be given have then, as JSON values."""
    found: Fields = {}
    for field in msgspec.structs.fields(kind):
        if not field.required:
            made = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            found[field.name] = msgspec.to_builtins(made)
    return found


def encode(record: Recorded) -> bytes:
    """One line without its newline. Raises UnicodeEncodeError for text with lone surrogates (see `clean`)."""
    event = record.event
    if isinstance(event, Unknown):
        return _encode(_Loose(record.seq, record.at, {"type": event.kind, **event.fields}, event.version))
    if event.VERSION == 1:
        return _encode(record)
    return _encode(_Line(record.seq, record.at, event, event.VERSION))


def clean(event: Event) -> Event:
    """The same event with every lone surrogate (bytes of a peer that were not UTF-8) made U+FFFD."""
    return msgspec.convert(_clean(msgspec.to_builtins(event)), type(event))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def head(line: bytes) -> tuple[int, float]:
    """Only seq and at of a line that is whole JSON; several times cheaper than `decode`. Raises BadLine."""
    try:
        found = _decode_head(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(str(error)) from error
    return found.seq, found.at


def decode(line: bytes) -> Recorded:
    """The record of a line, with or without its newline. Raises BadLine."""
    try:
        found = _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode_other(line)
    if found.v != found.event.VERSION:
        return _decode_other(line)
    return Recorded(found.seq, found.at, found.event)


def _decode_other(line: bytes) -> Recorded:
    """What the typed decoder refused: another version's event, or no record at all."""
    try:
        found = _decode_loose(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadLine(str(error)) from error
    kind = found.event.get("type")
    if not isinstance(kind, str):
        raise BadLine("an event without a type")
    known = EVENTS.get(kind)
    if known is None or found.v > known.VERSION:
        rest = {name: value for name, value in found.event.items() if name != "type"}
        return Recorded(found.seq, found.at, Unknown(kind=kind, version=found.v, fields=rest))
    lifted = found.event
    for version in range(found.v, known.VERSION):
        upcast = UPCASTERS.get((kind, version))
        if upcast is None:
            raise BadLine(f"no upcaster for {kind} version {version}")
        lifted = upcast(lifted)
    try:
        return Recorded(found.seq, found.at, msgspec.convert({**lifted, "type": kind}, known))
    except msgspec.ValidationError as error:
        raise BadLine(f"{kind}: {error}") from error
