"""DTMF as telephone-event (RFC 4733 §2): packets, and the folding of one key press into one event."""

import struct
from typing import NamedTuple

from engine.rtp.packet import signed32

DIGITS = "0123456789*#ABCD"
PAYLOAD_SIZE = 4
END_PACKETS = 3
"""§2.5.1.4: the last packet is sent three times, since it may be lost."""
LONGEST = 0xFFFF
_PAYLOAD = struct.Struct("!BBH")


class TelephoneEvent(NamedTuple):
    event: int
    """0-15 are `DIGITS`; others (16: hook flash …) are no digit."""
    end: bool
    volume: int
    duration: int
    """Timestamp units since the event began."""


def parse(payload: bytes) -> TelephoneEvent | None:
    """The first event of the payload, or None when it is too short."""
    if len(payload) < PAYLOAD_SIZE:
        return None
    event, second, duration = _PAYLOAD.unpack_from(payload)
    return TelephoneEvent(event, bool(second & 0x80), second & 0x3F, duration)


def encode(event: TelephoneEvent) -> bytes:
    return _PAYLOAD.pack(event.event, (0x80 if event.end else 0) | event.volume, event.duration)


class Presses:
    """Folds the packets of each key press into one digit, given at the first packet that arrives of it.

    A press is known by its timestamp (§2.2.1: all packets of an event carry its start). Repeated, late and end
    packets of a press already told are silent. A press longer than 65535 units goes on in a new segment whose
    timestamp is the old one plus 65535 (§2.5.1.3): same press.
    """

    def __init__(self) -> None:
        self._last: TelephoneEvent | None = None
        self._timestamp = 0

    def feed(self, timestamp: int, event: TelephoneEvent) -> str | None:
        """The digit when a press begins, else None."""
        if event.event >= len(DIGITS):
            return None
        last, distance = self._last, signed32(timestamp - self._timestamp)
        if last is not None and distance < 0:
            return None
        same = last is not None and (distance == 0 or (distance == LONGEST and event.event == last.event))
        self._last, self._timestamp = event, timestamp
        return None if same else DIGITS[event.event]
