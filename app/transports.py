"""The SIP sockets that the supervisor gave us, as one sender."""

import itertools
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from engine.large import CONNECT_WITHIN
from engine.sip.flow import Flow, FlowFault
from engine.sip.grammar import ParseError
from engine.sip.parse import parse
from engine.transport.addresses import Address, LocalAddresses, is_ipv6, is_wildcard
from engine.transport.pool import CONNECTIONS_LIMIT, DEFAULT_PORTS, Pool, Times
from engine.transport.tls import TlsContexts
from engine.transport.udp import UdpTransport

TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
SPARE_DESCRIPTORS = 256
"""Of the process's limit, not for connections: journal, media, control sockets."""


class SipSocket(NamedTuple):
    """An inherited descriptor: bound (udp) or listening (all others)."""

    transport: str
    fd: int
    local: Address = ("", 0)
    """What it is bound to."""


def parse_sip_socket(text: str) -> SipSocket:
    """`udp:127.0.0.1:5060=7`. Raises ValueError."""
    name, _, fd = text.rpartition("=")
    transport, _, address = name.partition(":")
    host, _, port = address.rpartition(":")
    if transport not in TRANSPORTS:
        raise ValueError(f"{text!r} is not TRANSPORT:HOST:PORT=FD")
    return SipSocket(transport, int(fd), (host.strip("[]"), int(port)))


def split_host(text: str) -> tuple[str, int]:
    """`host`, `host:port`, `[v6]:port` or a bare IPv6 address; port 0 when there is none."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, 0
    host, port = text, ""
    if not text.endswith("]") and ":" in text:
        host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port or 0)


def advertised(sockets: Sequence[SipSocket], shown: Sequence[str]) -> dict[tuple[str, str, int], Address]:
    """LineSettings.advertised: `shown` is what the configuration says of each of these listeners, "" for nothing."""
    found = {}
    for at, text in zip(sockets, shown, strict=False):  # shorter when a test starts with other sockets
        if text:
            host, port = split_host(text)
            found[at.transport, *at.local] = (host, port or at.local[1])
    return found


class Limits(NamedTuple):
    connections: int = CONNECTIONS_LIMIT
    """At once, over all listeners."""
    times: Times = Times()


class Transports:
    def __init__(self, tls: TlsContexts | None = None, limits: Limits | None = None) -> None:
        self._tls = tls
        self._limits = limits or Limits()
        self._addresses = LocalAddresses()
        self._udp: list[UdpTransport] = []
        self._by_local: dict[tuple[str, int], UdpTransport] = {}
        self._pool: Pool | None = None

    async def start(
        self, sockets: Sequence[SipSocket], receive: Callable[[bytes, Flow], None], lost: Callable[[Flow], None]
    ) -> None:
        self._pool = Pool(
            receive,
            lost,
            itertools.count(1).__next__,
            self._addresses,
            tls=self._tls,
            times=self._limits.times,
            limit=self._limits.connections,
        )
        for transport, fd, _ in sockets:
            sock = socket.socket(fileno=fd)
            if transport == "udp":
                udp = UdpTransport(receive, self._addresses)
                await udp.start(sock)
                self._udp.append(udp)
            else:
                await self._pool.listen(transport, sock)

    def send(self, flow: Flow, data: bytes) -> bool:
        """False when the flow leads nowhere: its connection is gone, or we have no such socket."""
        if flow.connection:
            pool = self._pool
            return pool is not None and (pool.send(flow, data) or self._answer_elsewhere(pool, flow, data))
        udp = self._by_local.get(flow.local) or self._udp_at(flow.local)
        if udp is None:
            return False
        udp.send(flow, data)
        return True

    def alive(self, flow: Flow) -> bool:
        return not flow.connection or (self._pool is not None and self._pool.alive(flow))

    def peer_names(self, flow: Flow) -> tuple[str, ...]:
        """Names in the certificate by which the peer of a TLS flow has proved itself; () when it has not."""
        return () if self._pool is None else self._pool.peer_names(flow)

    def fault_of(self, flow: Flow) -> FlowFault:
        return FlowFault() if self._pool is None else self._pool.fault_of(flow)

    def flow_to(self, transport: str, remote: Address, name: str = "") -> Flow | None:
        """A flow that reaches `remote`; connections are opened as needed (Pool.flow_to). name: whom a TLS server must
        prove to be. None for an IP family or a transport that we lack."""
        if transport != "udp":
            return None if self._pool is None else self._pool.flow_to(transport, remote, name)
        fitting = [udp for udp in self._udp if is_ipv6(udp.local[0]) == is_ipv6(remote[0])]
        if len(fitting) > 1:
            here = self._addresses.towards(remote[0])
            fitting.sort(key=lambda udp: (udp.local[0] != here, not is_wildcard(udp.local[0])))
        return fitting[0].flow_to(remote) if fitting else None

    def tcp_for_large(self, remote: Address) -> Flow | None:
        """For requests that are too large for UDP (LargeRequests)."""
        return None if self._pool is None else self._pool.flow_to("tcp", remote, within=CONNECT_WITHIN)

    def mtu(self, host: str) -> int:
        return self._addresses.mtu(host)

    def close(self) -> None:
        for udp in self._udp:
            udp.close()
        if self._pool is not None:
            self._pool.close()

    @staticmethod
    def _answer_elsewhere(pool: Pool, flow: Flow, data: bytes) -> bool:
        """RFC 3261 §18.2.2: a response whose connection is gone goes to the address that the request came from, at
        the port in its Via, over a new connection. Not to a `maddr`, nor to another host, which could be anybody's."""
        if not data.startswith(b"SIP/") or flow.transport not in DEFAULT_PORTS:
            return False
        port = 0
        with suppress(ParseError):
            via = parse(data).via
            port = via.port or DEFAULT_PORTS[flow.transport]
        other = pool.flow_to(flow.transport, (flow.remote[0], port)) if 0 < port < 65_536 else None
        return other is not None and pool.send(other, data)

    def _udp_at(self, local: tuple[str, int]) -> UdpTransport | None:
        """The socket that a flow came by: same port, and same address or a wildcard of its family."""
        fitting = [u for u in self._udp if u.local[1] == local[1] and is_ipv6(u.local[0]) == is_ipv6(local[0])]
        found = next((u for u in fitting if u.local[0] == local[0]), fitting[0] if fitting else None)
        if found is not None:
            self._by_local[local] = found  # one entry for each address of this machine
        return found
