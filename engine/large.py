"""Requests too large for a datagram go over TCP (RFC 3261 §18.1.1): which of them, and to whom that is of no use."""

from collections.abc import Callable

from engine.sip.flow import Flow
from engine.sip.grammar import BadHeader
from engine.sip.headers import parse_name_addr
from engine.sip.message import Request
from engine.sip.uri import Uri
from engine.transport.addresses import Address, parse_ip

LARGEST = 1300
"""Octets that a request may have over UDP when the path MTU is not known …"""
MARGIN = 200
"""… and so many less than the MTU it must have where that is smaller: a response is longer than its request."""
CONNECT_WITHIN = 1.0
"""Seconds for the connection: a peer whose firewall drops it must hear of the call by UDP well before a trunk's next
target is tried (3 s)."""
REFUSED_FOR = 600.0
"""Seconds for which a peer that took no connection is sent large requests by UDP at once."""
REFUSERS_LIMIT = 4096


class LargeRequests:
    """connect: a TCP connection to this address, one that is there or a new one; None when we open none. mtu: of the
    way to this host, in octets; 0 when it is not known."""

    def __init__(
        self, connect: Callable[[Address], Flow | None] = lambda _: None, mtu: Callable[[str], int] = lambda _: 0
    ) -> None:
        self._connect = connect
        self._mtu = mtu
        self._refused: dict[Address, float] = {}  # until when

    def instead(self, request: Request, size: int, flow: Flow, now: float) -> Flow | None:
        """The TCP flow for a request of `size` octets that would go by the UDP flow `flow`; None: let it go."""
        mtu = self._mtu(flow.remote[0])
        if size <= LARGEST and (not mtu or size <= mtu - MARGIN):
            return None
        if now < self._refused.get(flow.remote, 0.0) or not _addressed(request, flow):
            return None
        return self._connect(flow.remote)

    def refused(self, remote: Address, now: float) -> None:
        """No connection to this address came about."""
        if len(self._refused) >= REFUSERS_LIMIT:
            self._refused.clear()
        self._refused[remote] = now + REFUSED_FOR


def _addressed(request: Request, flow: Flow) -> bool:
    """The next hop names where the flow leads, or is a name that was looked up. Else the flow is a hole in the NAT of
    a phone, by which datagrams come to it and nothing else does."""
    try:
        hop = _next_hop(request)
    except BadHeader:
        return False
    host = parse_ip(hop.host)
    return host is None or (host, hop.port or 5060) == (parse_ip(flow.remote[0]), flow.remote[1])


def _next_hop(request: Request) -> Uri:
    route = request.headers.get("Route")
    return request.request_uri if route is None else parse_name_addr(route.partition(",")[0], "Route").uri
