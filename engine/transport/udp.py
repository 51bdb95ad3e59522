"""SIP over UDP (RFC 3261 §18): a datagram in, a datagram out; nothing is decided here."""

import asyncio
import socket
from collections.abc import Callable

from engine.sip.flow import Flow
from engine.transport.addresses import LocalAddresses, is_wildcard, plain

Receive = Callable[[bytes, Flow], None]

BUFFER_BYTES = 4 * 1024 * 1024
"""Asked of the kernel for each direction: 8 000 INVITEs may wait while control is restarted."""
FLOWS_LIMIT = 16_384
"""Flow objects kept for reuse; when full they are all forgotten (a Flow is a value)."""


class UdpTransport(asyncio.DatagramProtocol):
    """One listening socket. `receive(data, flow)` is called for each datagram."""

    def __init__(self, receive: Receive, addresses: LocalAddresses) -> None:
        self._receive = receive
        self._addresses = addresses
        self._transport: asyncio.DatagramTransport | None = None
        self._flows: dict[tuple[str, int], Flow] = {}
        self.local: tuple[str, int] = ("", 0)

    async def start(self, sock: socket.socket) -> None:
        """Takes over a bound socket."""
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        sock.setblocking(False)
        self.local = plain(sock.getsockname())
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)

    def flow_to(self, remote: tuple[str, int]) -> Flow:
        """The flow on which a datagram to `remote` leaves."""
        flow = self._flows.get(remote)
        if flow is None:
            if len(self._flows) >= FLOWS_LIMIT:
                self._flows.clear()
            host, port = self.local
            if is_wildcard(host):
                host = self._addresses.towards(remote[0])
            flow = self._flows[remote] = Flow("udp", (host, port), remote, 0)
        return flow

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, self.flow_to(plain(addr)))

    def error_received(self, exc: Exception) -> None:
        """ICMP errors: the transaction timers already tell what matters (RFC 3261 §18.4 asks no more of UDP)."""

    def send(self, flow: Flow, data: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(data, flow.remote)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
