"""SRTP of one leg of the reference plane, through pylibsrtp."""

import pylibsrtp

from engine.media.plane import Srtp
from engine.media.srtp import Library, Sessions
from engine.rtp import packet

MAX_SOURCES = 64
"""SSRCs of one inbound key: each costs libsrtp memory."""


class Lock:
    """Open (plain RTP) until it is keyed. `unauthenticated` counts what was refused."""

    def __init__(self, ssrc: int) -> None:
        """ssrc: of what we send."""
        self._ssrc = ssrc
        self._library = Library()
        self._sessions: Sessions | None = None
        self._sources: set[int] = set()
        self.unauthenticated = 0

    @property
    def keyed(self) -> bool:
        return self._sessions is not None

    def key(self, srtp: Srtp | None) -> None:
        before, after = self._sessions, self._library.renew(self._sessions, srtp, self._ssrc)
        if after is None or before is None or after.inbound is not before.inbound:
            self._sources.clear()
        self._sessions = after

    def lock(self, data: bytes, *, rtcp: bool) -> bytes | None:
        """What to send in place of `data`; None when its sequence number was used before."""
        if self._sessions is None:
            return data
        session = self._sessions.outbound.session
        try:
            return bytes((session.protect_rtcp if rtcp else session.protect)(data))
        except (pylibsrtp.Error, ValueError):
            return None

    def unlock(self, data: bytes, *, rtcp: bool) -> bytes | None:
        """The packet that was protected; None, and counted, when it is not authentic or came before."""
        if self._sessions is None:
            return data
        session = self._sessions.inbound.session
        ssrc = int.from_bytes(data[4:8] if rtcp else data[8:12], "big")
        try:
            if len(data) < packet.HEADER_SIZE or len(self._sources | {ssrc}) > MAX_SOURCES:
                raise ValueError("too short, or too many sources")
            plain = bytes((session.unprotect_rtcp if rtcp else session.unprotect)(data))
        except (pylibsrtp.Error, ValueError):
            self.unauthenticated += 1
            return None
        self._sources.add(ssrc)
        return plain


def is_stun(data: bytes) -> bool:
    """RFC 5389 §6, told from RTP by RFC 7983 §7: leading bits, magic cookie, length."""
    if len(data) < 20 or data[0] > 3 or data[4:8] != b"\x21\x12\xa4\x42":
        return False
    return int.from_bytes(data[2:4], "big") + 20 == len(data)


def is_rtp(data: bytes) -> bool:
    """Has it an RTP header? Padding is yet to be deciphered."""
    try:
        packet.parse(bytes([data[0] & ~0x20]) + data[1:])
    except packet.PacketError:
        return False
    return True
