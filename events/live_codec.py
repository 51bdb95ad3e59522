"""The live state as bytes and back, for a snapshot of it (events/snapshots.py).

MessagePack by the types of live.py and fold.py. A field that is new takes its default, one that is gone is passed over,
as in the journal; a field whose meaning changes needs another VERSION of the snapshot that holds it.
"""

from collections import Counter, deque
from typing import Any, Final, get_args, get_origin

import msgspec

from events.codec import decode, encode
from events.fold import INCIDENTS_KEPT, LiveState
from events.types import Recorded


class BadState(ValueError):
    """These bytes are no live state of ours."""


def dump(state: LiveState) -> bytes:
    """Raises BadState for what MessagePack cannot hold: an integer beyond 64 bits, which JSON can."""
    try:
        return _encode(state)
    except OverflowError as error:
        raise BadState(str(error)) from error


def restore(data: bytes) -> LiveState:
    """Equal to what was dumped. Raises BadState."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise BadState(str(error)) from error


def _plain(value: Any) -> Any:
    if isinstance(value, deque):
        return [encode(record) for record in value]
    raise NotImplementedError(type(value).__name__)


def _typed(kind: Any, value: Any) -> Any:
    """What msgspec has no type for: counters, and the last incidents, of any type of event."""
    if get_origin(kind) is Counter:
        (key,) = get_args(kind)
        return Counter(msgspec.convert(value, dict[key, int], strict=False))  # type: ignore[valid-type]
    if get_origin(kind) is deque and get_args(kind) == (Recorded,):
        return deque(map(decode, value), maxlen=INCIDENTS_KEPT)
    raise NotImplementedError(str(kind))


_encode: Final = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_decode: Final = msgspec.msgpack.Decoder(LiveState, dec_hook=_typed).decode
