"""One connection (TCP, TLS, WebSocket): octets through TLS, when there is any, to a carrier of SIP messages, and back.

What a silent or slow peer costs is bounded in time here, and in number by the pool (pool.py).
"""

import asyncio
import socket
from typing import Protocol, cast

from engine.sip.flow import Flow
from engine.transport.addresses import Address, plain
from engine.transport.carrier import Carrier
from engine.transport.tls import TlsFault, TlsPipe

FIRST_MESSAGE_WITHIN = 10.0
"""A new connection that completes no message in this time is closed: idle and slow clients cost nothing for long.
A keep-alive starts the time again."""
MESSAGE_WITHIN = 30.0
"""A message that has begun must be whole after this."""
LEAVE_WITHIN = 2.0
"""After a refusal that ends the connection, what the peer still sends is thrown away for so long: a socket closed with
unread octets is reset, and the peer may never see why."""
PING_EVERY = 30.0
"""WebSocket pings, so that HTTP proxies in between keep a quiet connection."""
PONG_WITHIN = 10.0
"""Seconds (RFC 5626 §4.4.1) for the answer to a ping of a peer that has answered one before; of others none is due, RFC
3261 knows no pings. What is not even acknowledged by the peer's TCP ends the connection sooner."""
UNSENT_LIMIT = 1024 * 1024
"""Octets that may wait for a peer that does not read; past this the connection is aborted."""
PEER_GONE_WITHIN = 60
"""Seconds for which a peer's kernel may acknowledge nothing before an accepted connection counts as lost: a phone that
vanished without a FIN is found out, one that walks from one wireless cell to the next is not."""
SERVER_GONE_WITHIN = 4
"""The same for connections that we open: a call is waiting to be sent elsewhere."""
KEEP_ALIVE = (
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)
"""Seconds idle, seconds between probes; PEER_GONE_WITHIN ends it. Also keeps bindings of NATs on the way alive."""
NEVER = float("inf")


class Owner(Protocol):
    """What a connection needs of the pool."""

    idle_within: float
    keep_alive: float

    def admit(self, connection: "Connection", local: Address, remote: Address) -> Flow | None: ...
    def proven(self, connection: "Connection") -> None: ...
    def deliver(self, data: bytes, flow: Flow) -> None: ...
    def gone(self, connection: "Connection", why: str) -> None: ...


class Connection(asyncio.Protocol):
    """flow: known for connections that we open, given by the pool for those that peers open."""

    __slots__ = (
        "_carrier",
        "_deadline",
        "_leaving",
        "_owner",
        "_ping_at",
        "_ping_every",
        "_pong_by",
        "_proven",
        "_queue",
        "_timer",
        "_tls",
        "_transport",
        "_was_idle",
        "flow",
        "made",
        "name",
        "transport",
        "unproven",
        "why",
    )

    def __init__(
        self, owner: Owner, transport: str, carrier: Carrier, tls: TlsPipe | None, flow: Flow | None = None
    ) -> None:
        self._owner = owner
        self.transport = transport
        self._carrier = carrier
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._queue = bytearray()  # while the connection is being made
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = NEVER
        self._leaving = False
        self._ping_at = self._pong_by = NEVER
        self._ping_every = PING_EVERY if flow is None else owner.keep_alive
        self._proven = flow is not None
        self._was_idle = True
        self.flow = flow
        self.name = ""
        """Whom the peer has proved to be, for connections that we open."""
        self.made = asyncio.Event()
        """Ready for use, or gone."""
        self.why = ""
        """Why it ended, when that was a fault."""
        self.unproven = False
        """That was the peer's certificate."""

    # --- from the loop --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=UNSENT_LIMIT)
        opened_by_us = self.flow is not None
        _watch_peer(transport.get_extra_info("socket"), opened_by_us=opened_by_us)
        if not opened_by_us:
            local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
            if local and remote:  # else the peer has gone already
                self.flow = self._owner.admit(self, plain(local), plain(remote))
            if self.flow is None:
                self._transport.abort()
                return
        now = self._now()
        self._deadline = NEVER if opened_by_us else now + FIRST_MESSAGE_WITHIN
        if self._carrier.pings:
            self._ping_at = now + self._ping_every
        self._arm()
        if self._tls is not None:
            self._tls.start()
        queued, self._queue = bytes(self._queue), bytearray()
        self._put(queued)
        self._look()

    def data_received(self, data: bytes) -> None:
        if self.flow is None or self._transport is None or self._transport.is_closing() or self._leaving:
            return
        try:
            octets = data if self._tls is None else self._tls.feed(data)
        except TlsFault as fault:
            self._fail(fault)
            return
        self._look()
        messages = self._carrier.feed(octets) if octets else []
        for message in messages:
            self._owner.deliver(message, self.flow)
        self._put(self._carrier.outgoing())
        self._heard(whole=bool(messages))
        if self._tls is not None and self._tls.ended:
            self.close()
        elif self._carrier.ended:
            self._leave()

    def pause_writing(self) -> None:
        self.why = "the peer does not read"
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.made.set()
        self._owner.gone(self, self.why or (str(exc) if exc else ""))

    # --- for the pool ---------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Connected, and the TLS handshake done."""
        return self._transport is not None and (self._tls is None or self._tls.established)

    @property
    def peer_names(self) -> tuple[str, ...]:
        return () if self._tls is None else self._tls.peer_names()

    def send(self, data: bytes) -> bool:
        """One SIP message. False when the connection is closing."""
        octets = self._carrier.message(data)
        if self._transport is not None:
            self._put(octets)
            return bool(octets) and not self._leaving and not self._transport.is_closing()
        if len(self._queue) + len(octets) > UNSENT_LIMIT:
            return False
        self._queue += octets
        return True

    def close(self) -> None:
        """After what was written has been sent, and the last words."""
        if self._transport is None or self._transport.is_closing():
            return
        self._say_goodbye()
        self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        """Close our direction; the rest follows when the peer closes his, or soon."""
        if self._transport is None or self._transport.is_closing():
            return
        self._say_goodbye()
        self._leaving = True
        self._transport.write_eof()
        self._ping_at = self._pong_by = NEVER
        self._deadline = self._now() + LEAVE_WITHIN
        self._arm()

    def _say_goodbye(self) -> None:
        self._put(self._carrier.goodbye())
        if self._tls is not None:
            self._tls.close()
        self._put(b"")

    def _look(self) -> None:
        if self.ready:
            self.made.set()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _put(self, octets: bytes) -> None:
        """Through TLS to the wire, with whatever TLS has to say itself."""
        if self._transport is None or self._transport.is_closing() or self._leaving:
            return
        if self._tls is not None:
            try:
                if octets:
                    self._tls.write(octets)
            except TlsFault as fault:
                self._fail(fault)
                return
            octets = self._tls.outgoing()
        if octets:
            self._transport.write(octets)

    def _fail(self, fault: TlsFault) -> None:
        """Send TLS's alert and close."""
        assert self._tls is not None
        assert self._transport is not None
        self.why, self.unproven = str(fault), fault.unproven
        alert = self._tls.outgoing()
        if alert:
            self._transport.write(alert)
        self._transport.close()

    def _heard(self, *, whole: bool) -> None:
        """Something came: what it means for the time that the peer has."""
        now, idle = self._now(), self._carrier.idle
        if whole and not self._proven:
            self._proven = True
            self._owner.proven(self)
        if not self._proven:
            if self._carrier.alive:
                self._deadline = now + FIRST_MESSAGE_WITHIN
        elif idle:
            self._deadline = now + self._owner.idle_within
        elif self._carrier.alive or self._was_idle:
            self._deadline = now + MESSAGE_WITHIN
        self._was_idle = idle
        self._pong_by = NEVER
        if self._carrier.pings:
            self._ping_at = now + self._ping_every
        self._arm()

    def _arm(self) -> None:
        """One timer, moved only when it would be late: most of the time it finds that there is time left."""
        due = min(self._deadline, self._ping_at, self._pong_by)
        if self._timer is not None and self._timer.when() <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due == NEVER else asyncio.get_running_loop().call_at(due, self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._now()
        if self._leaving and now >= self._deadline and self._transport is not None:
            self._transport.close()
            return
        if now >= self._deadline:
            self.why = "silent or slow"
            self.abort()
            return
        if now >= self._pong_by:
            self.why = "no answer to a keep-alive"
            self.abort()
            return
        if now >= self._ping_at:
            self._ping_at = now + self._ping_every
            if self.ready:
                self._pong_by = min(self._pong_by, now + PONG_WITHIN) if self._carrier.answers else NEVER
                self._put(self._carrier.ping())
        self._arm()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _watch_peer(sock: socket.socket | None, *, opened_by_us: bool) -> None:
    """Have the kernel notice a peer that vanished without a word. No probes on connections of ours: at their short
    patience one that is lost would end a good connection."""
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    patience = SERVER_GONE_WITHIN if opened_by_us else PEER_GONE_WITHIN
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not opened_by_us:
        for level, option, value in KEEP_ALIVE:
            sock.setsockopt(level, option, value)
