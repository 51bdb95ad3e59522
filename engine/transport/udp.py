"""SIP over UDP (RFC 3261 §18): a datagram in, a datagram out; nothing is decided here."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

from engine.sip.flow import Flow
from engine.transport.addresses import LocalAddresses, is_wildcard, plain

log = structlog.get_logger()

Receive = Callable[[bytes, Flow], None]

BUFFER_BYTES = 4 * 1024 * 1024
"""Asked of the kernel for each direction: 8 000 INVITEs may wait while control is restarted."""
A_TURN = 500
"""Datagrams read before timers and calls get their turn; a refusal costs 20 µs."""
LARGEST = 65_535
FLOWS_LIMIT = 16_384
"""Flow objects kept for reuse; when full they are all forgotten (a Flow is a value)."""


class UdpTransport:
    """One listening socket. `receive(data, flow)` is called for each datagram.

    It reads by itself: a loop's own datagram transport takes so few in a turn that, with many calls to serve between
    two turns, messages of calls in progress would grow old in the kernel behind new calls that are to be refused."""

    def __init__(self, receive: Receive, addresses: LocalAddresses) -> None:
        self._receive = receive
        self._addresses = addresses
        self._socket: socket.socket | None = None
        self._inbox = memoryview(bytearray(LARGEST))
        """Every datagram is read here, then copied at its size. Were each given a buffer of its own, to be cut to size,
        the next would find no hole as large between those that are kept, and the heap grew by megabytes an hour."""
        self._flows: dict[tuple[str, int], Flow] = {}
        self.local: tuple[str, int] = ("", 0)

    async def start(self, sock: socket.socket) -> None:
        """Takes over a bound socket."""
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        sock.setblocking(False)
        self.local = plain(sock.getsockname())
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._readable)

    def _readable(self) -> None:
        """All that is there, up to A_TURN; what is left makes the socket readable again."""
        sock, inbox = self._socket, self._inbox
        for _ in range(A_TURN):
            if sock is None:
                return
            try:
                size, addr = sock.recvfrom_into(inbox)
            except BlockingIOError:
                return
            except OSError:  # ICMP: the transaction timers already tell what matters (RFC 3261 §18.4 asks no more)
                continue
            try:
                self._receive(inbox[:size].tobytes(), self.flow_to(plain(addr)))
            except Exception:  # those behind it belong to others
                log.exception("datagram failed")

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

    def send(self, flow: Flow, data: bytes) -> None:
        """What the kernel does not take is lost, as any datagram may be."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto(data, flow.remote)

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
