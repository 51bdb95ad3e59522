"""SIP over TCP (RFC 3261 §18): frames messages from connections that peers open, and answers on the same ones."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import cast

from engine.sip.flow import Flow
from engine.sip.framing import FramingError, KeepAlive, StreamFramer
from engine.sip.parse import refuse
from engine.transport.addresses import plain

Receive = Callable[[bytes, Flow], None]
Lost = Callable[[Flow], None]

CONNECTIONS_LIMIT = 4096
PER_SOURCE_LIMIT = 512
"""Connections from one address; a site behind one NAT may have hundreds of phones."""
FIRST_MESSAGE_WITHIN = 10.0
"""A new connection that completes no message in this time is closed: idle and slow clients cost nothing for long."""
KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 120), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 3))
"""Seconds idle, seconds between probes, probes: a phone that vanished without a FIN is found out in 3.5 minutes, and
its place among CONNECTIONS_LIMIT is free again."""
UNSENT_LIMIT = 1024 * 1024
"""Octets that may wait for a peer that does not read; past this the connection is aborted."""


class TcpTransport:
    """One listening socket and the connections accepted from it.

    receive(data, flow): one whole message. lost(flow): the connection is gone; transactions on it must fail.
    number: gives each connection its number, unique in this process.
    """

    def __init__(self, receive: Receive, lost: Lost, number: Callable[[], int]) -> None:
        self._receive = receive
        self._lost = lost
        self._number = number
        self._server: asyncio.Server | None = None
        self._connections: dict[int, _Connection] = {}
        self._sources: Counter[str] = Counter()
        self.local: tuple[str, int] = ("", 0)

    async def start(self, sock: socket.socket) -> None:
        """Takes over a bound, listening socket."""
        sock.setblocking(False)
        self.local = plain(sock.getsockname())
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), sock=sock, backlog=1024)

    def has(self, flow: Flow) -> bool:
        return flow.connection in self._connections

    def send(self, flow: Flow, data: bytes) -> bool:
        """False when the connection is gone."""
        connection = self._connections.get(flow.connection)
        return connection is not None and connection.write(data)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections.values()):
            connection.close()

    def _admit(self, connection: "_Connection", source: str) -> int:
        """The new connection's number, or 0 when there are too many."""
        if len(self._connections) >= CONNECTIONS_LIMIT or self._sources[source] >= PER_SOURCE_LIMIT:
            return 0
        number = self._number()
        self._connections[number] = connection
        self._sources[source] += 1
        return number

    def _forget(self, flow: Flow) -> None:
        if self._connections.pop(flow.connection, None) is not None:
            source = flow.remote[0]
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]
            self._lost(flow)

    def _deliver(self, data: bytes, flow: Flow) -> None:
        self._receive(data, flow)


class _Connection(asyncio.Protocol):
    __slots__ = ("_flow", "_framer", "_owner", "_transport", "_unproven")

    def __init__(self, owner: TcpTransport) -> None:
        self._owner = owner
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._flow: Flow | None = None
        self._unproven: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=UNSENT_LIMIT)
        remote = plain(transport.get_extra_info("peername") or ("", 0))
        number = self._owner._admit(self, remote[0])
        if number == 0:
            self._transport.abort()
            return
        _keep_alive(transport.get_extra_info("socket"))
        self._flow = Flow("tcp", plain(transport.get_extra_info("sockname")), remote, number)
        self._unproven = asyncio.get_running_loop().call_later(FIRST_MESSAGE_WITHIN, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._flow is None or self._transport is None:
            return
        for item in self._framer.feed(data):
            if isinstance(item, bytes):
                self._proven()
                self._owner._deliver(item, self._flow)
            elif isinstance(item, KeepAlive):
                self._proven()
                self._transport.write(b"\r\n")  # RFC 5626 §3.5.1
            else:
                self._refuse(item)
                return

    def _refuse(self, error: FramingError) -> None:
        """Say why, when it can be said to anybody, and close: where the next message begins is unknown."""
        assert self._transport is not None
        answer = refuse(error.head, error.status, error.reason)
        if answer is not None:
            self._transport.write(answer)
        self._transport.close()

    def write(self, data: bytes) -> bool:
        """False when it is closing."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(data)
        return True

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._proven()
        if self._flow is not None:
            self._owner._forget(self._flow)

    def _proven(self) -> None:
        if self._unproven is not None:
            self._unproven.cancel()
            self._unproven = None


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
