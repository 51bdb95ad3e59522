"""The SIP sockets that the supervisor gave us, as one sender."""

import itertools
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.sip.flow import Flow
from engine.transport.addresses import LocalAddresses, is_ipv6
from engine.transport.tcp import TcpTransport
from engine.transport.udp import UdpTransport


class SipSocket(NamedTuple):
    """An inherited descriptor: bound (udp) or listening (tcp)."""

    transport: str
    fd: int


def parse_sip_socket(text: str) -> SipSocket:
    """`udp:127.0.0.1:5060=7`. Raises ValueError."""
    name, _, fd = text.rpartition("=")
    transport = name.partition(":")[0]
    if transport not in ("udp", "tcp"):
        raise ValueError(f"{text!r} is not TRANSPORT:HOST:PORT=FD")
    return SipSocket(transport, int(fd))


class Transports:
    def __init__(self) -> None:
        self._udp: list[UdpTransport] = []
        self._tcp: list[TcpTransport] = []
        self._by_local: dict[tuple[str, int], UdpTransport] = {}

    async def start(
        self, sockets: Sequence[SipSocket], receive: Callable[[bytes, Flow], None], lost: Callable[[Flow], None]
    ) -> None:
        addresses, numbers = LocalAddresses(), itertools.count(1)
        for transport, fd in sockets:
            sock = socket.socket(fileno=fd)
            if transport == "udp":
                udp = UdpTransport(receive, addresses)
                await udp.start(sock)
                self._udp.append(udp)
            else:
                tcp = TcpTransport(receive, lost, numbers.__next__)
                await tcp.start(sock)
                self._tcp.append(tcp)

    def send(self, flow: Flow, data: bytes) -> bool:
        """False when the flow leads nowhere: its connection is gone, or we have no such socket."""
        if flow.connection:
            return any(tcp.send(flow, data) for tcp in self._tcp)
        udp = self._by_local.get(flow.local) or self._udp_at(flow.local)
        if udp is None:
            return False
        udp.send(flow, data)
        return True

    def flow_to(self, transport: str, remote: tuple[str, int]) -> Flow | None:
        """A flow that reaches `remote`; None over TCP (we open no connections yet) or for an IP family we lack."""
        if transport != "udp":
            return None
        for udp in self._udp:
            if is_ipv6(udp.local[0]) == is_ipv6(remote[0]):
                return udp.flow_to(remote)
        return None

    def close(self) -> None:
        for udp in self._udp:
            udp.close()
        for tcp in self._tcp:
            tcp.close()

    def _udp_at(self, local: tuple[str, int]) -> UdpTransport | None:
        """The socket that a flow came by: same port, and same address or a wildcard of its family."""
        fitting = [u for u in self._udp if u.local[1] == local[1] and is_ipv6(u.local[0]) == is_ipv6(local[0])]
        found = next((u for u in fitting if u.local[0] == local[0]), fitting[0] if fitting else None)
        if found is not None:
            self._by_local[local] = found  # one entry for each address of this machine
        return found
