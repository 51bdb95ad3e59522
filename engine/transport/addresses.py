"""Socket addresses as (host, port), and which of our own addresses a peer sees."""

import ipaddress
import socket

Address = tuple[str, int]

_IP_MTU = 14
_IPV6_MTU = 24
"""Linux; the socket module does not name them before Python 3.14."""
CACHE_LIMIT = 4096
"""Peers remembered by LocalAddresses: a flood from many sources must not grow it without end."""


def plain(address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """(host, port) of an AF_INET or AF_INET6 address; IPv4-mapped IPv6 becomes IPv4, a zone is dropped."""
    host = address[0].partition("%")[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return host, address[1]


def is_wildcard(host: str) -> bool:
    return host in {"0.0.0.0", "::", ""}


def is_ipv6(host: str) -> bool:
    return ":" in host


def parse_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None when it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class LocalAddresses:
    """For a socket bound to a wildcard: the address that the routing table gives packets to a peer."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int]] = {}

    def towards(self, remote_host: str) -> str:
        """One connect() of an unbound UDP socket for each new peer; nothing is sent. Loopback when unroutable."""
        return self._way(remote_host)[0]

    def mtu(self, remote_host: str) -> int:
        """Octets that an IP packet to there may have, as far as the routing table knew when we first asked; 0: it did
        not. A tunnel or a PPPoE line says less than Ethernet's 1 500."""
        return self._way(remote_host)[1]

    def _way(self, remote_host: str) -> tuple[str, int]:
        known = self._known.get(remote_host)
        if known is None:
            if len(self._known) >= CACHE_LIMIT:
                self._known.clear()
            known = self._known[remote_host] = self._ask(remote_host)
        return known

    @staticmethod
    def _ask(remote_host: str) -> tuple[str, int]:
        family = socket.AF_INET6 if is_ipv6(remote_host) else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((remote_host, 9))
            except OSError:
                return ("::1" if family is socket.AF_INET6 else "127.0.0.1"), 0
            host: str = probe.getsockname()[0]
            return host, _mtu_of(probe)


def _mtu_of(connected: socket.socket) -> int:
    of_ipv6 = connected.family is socket.AF_INET6
    level, option = (socket.IPPROTO_IPV6, _IPV6_MTU) if of_ipv6 else (socket.IPPROTO_IP, _IP_MTU)
    try:
        return connected.getsockopt(level, option)
    except OSError:
        return 0
