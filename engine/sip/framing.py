"""Cut a byte stream into SIP messages (RFC 3261 §18.3, §7.5; keep-alives of RFC 5626 §3.5.1)."""

import re
from typing import NamedTuple

from engine.sip.grammar import MAX_MESSAGE, head_end

_CRLF = b"\r\n"
# Any Content-Length line, whole, for its value to be looked at. The first is found at the start of a line only, so
# that a folded continuation of another header never counts.
_LENGTH_RE = re.compile(rb"\n(?:content-length|l)[ \t]*+:((?:[^\r\n]|\r?\n[ \t])*+)", re.IGNORECASE)
_DIGITS_RE = re.compile(rb"[0-9]{1,10}")


class KeepAlive(NamedTuple):
    """The peer's CRLF CRLF between messages: answer CRLF (RFC 5626 §4.4.1)."""


class Pong(NamedTuple):
    """The answer to our own ping."""


class FramingError(NamedTuple):
    """Where the next message begins can't be known any more. `engine.sip.parse.refuse(head, status, reason)` gives the
    answer, if there is one; then the connection must be closed."""

    status: int
    reason: str
    head: bytes
    """The header section, as far as it was read."""


class StreamFramer:
    """One connection's receive side. Cost: linear in the octets fed, however they are cut; holds ≤ MAX_MESSAGE + one
    feed. After a FramingError it swallows everything."""

    __slots__ = ("_breaks", "_broken", "_buffer", "_need", "_pinged", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0  # the end of the header section is not before this
        self._need = 0  # octets of the message under way, 0 until its header section is here
        self._breaks = 0  # CRLFs since the last message
        self._broken = False
        self._pinged = False  # the next CRLF between messages answers us

    def pinged(self) -> None:
        """A CRLF CRLF of our own has gone out (RFC 5626 §3.5.1)."""
        self._pinged = True

    @property
    def idle(self) -> bool:
        """No part of a message waits for its rest."""
        return not self._buffer

    def feed(self, data: bytes) -> list[bytes | KeepAlive | Pong | FramingError]:
        """What `data` completes, in order. A message is given with its body, ready for `parse`."""
        if self._broken:
            return []
        self._buffer += data
        out: list[bytes | KeepAlive | Pong | FramingError] = []
        while (item := self._next()) is not None:
            out.append(item)
            if isinstance(item, FramingError):
                self._broken = True
                self._buffer.clear()
                break
        return out

    def _next(self) -> bytes | KeepAlive | Pong | FramingError | None:
        if self._need == 0:
            between = self._skip_breaks()
            if between is not None:
                return between
            if (fault := self._find_end()) is not None:
                return fault
            if self._need == 0:
                return None
        if len(self._buffer) < self._need:
            return None
        message = bytes(self._buffer[: self._need])
        self._drop(self._need)
        self._breaks = 0
        return message

    def _skip_breaks(self) -> KeepAlive | Pong | None:
        """Between messages: every second CRLF in a row is a ping; a single one is a pong, or nothing (§7.5). A bare LF
        is nothing."""
        while self._buffer.startswith((_CRLF, b"\n")):
            if self._buffer.startswith(b"\n"):
                self._drop(1)
                continue
            self._drop(2)
            if self._pinged:
                self._pinged = False
                return Pong()
            self._breaks += 1
            if self._breaks == 2:
                self._breaks = 0
                return KeepAlive()
        return None

    def _find_end(self) -> FramingError | None:
        """Set `_need` when the header section is complete."""
        end, body = head_end(self._buffer, self._scanned)
        if end < 0:
            if len(self._buffer) > MAX_MESSAGE:
                return FramingError(513, "Message Too Large", bytes(self._buffer[:MAX_MESSAGE]))
            self._scanned = max(0, len(self._buffer) - 3)
            return None
        head = bytes(self._buffer[:end])
        values = {match.strip() for match in _LENGTH_RE.findall(head)}
        if not values:
            return FramingError(400, "Missing Content-Length", head)
        value = values.pop()
        if values or not _DIGITS_RE.fullmatch(value):
            return FramingError(400, "Bad Content-Length", head)
        need = body + int(value)
        if need > MAX_MESSAGE:
            return FramingError(513, "Message Too Large", head)
        self._need = need
        return None

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._scanned = 0
        self._need = 0
