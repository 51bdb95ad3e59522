"""Who may call: trunks by source network, our own phones by digest; nobody else (RFC 3261 §22, RFC 3325)."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from engine.authentication import Authenticator
from engine.sdp.crypto import SrtpPolicy
from engine.sip.flow import Flow
from engine.sip.grammar import BadHeader
from engine.sip.headers import parse_name_addr
from engine.sip.message import Request, Response
from engine.transport.addresses import parse_ip

SOURCES_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """An operator or gateway that we trust by its address."""

    name: str
    networks: tuple[IPv4Network | IPv6Network, ...]
    max_calls: int = 1000
    srtp: SrtpPolicy | None = None
    """In place of that of all legs."""


@dataclass(frozen=True, slots=True)
class Admitted:
    trunk: str
    """"" for a phone."""
    phone: str
    """User of an authenticated phone of ours, "" for a trunk."""
    caller: str
    """Number or user; "" when withheld."""
    name: str


class Admission:
    """feature_prefix: numbers that only our own phones may dial, so that they are always asked for their password."""

    def __init__(
        self, trunks: Sequence[Trunk], authenticator: Authenticator, domains: frozenset[str], feature_prefix: str
    ):
        self._trunks = trunks
        self._limits = {trunk.name: trunk.max_calls for trunk in trunks}
        self._srtp = {trunk.name: trunk.srtp for trunk in trunks}
        self._authenticator = authenticator
        self._domains = domains
        self._prefix = feature_prefix
        self._calls: Counter[str] = Counter()
        self._known: dict[str, Trunk | None] = {}

    def admit(self, request: Request, flow: Flow, now: float) -> Admitted | Response:
        """Who calls, or the 401 to answer with.

        A caller who says that he is one of our phones must prove it, wherever he calls from: a trunk can't lend
        anybody an agent's name."""
        trunk = self.trunk_of(flow)
        sender = request.from_
        own = sender.uri.host.lower() in self._domains and self._authenticator.knows(sender.uri.username)
        if trunk is None or own or request.request_uri.username.startswith(self._prefix):
            user = self._authenticator.check(request, flow, now)
            if isinstance(user, Response):
                return user
            return Admitted("", user, user, sender.display)
        number, name = _identity(request)
        return Admitted(trunk.name, "", number, name)

    def trunk_of(self, flow: Flow) -> Trunk | None:
        """The trunk with the longest prefix that holds this source. Not over WebSocket: any page that a browser in a
        trusted network shows can open one, so that its address proves nothing."""
        if flow.transport in ("ws", "wss"):
            return None
        host = flow.remote[0]
        if host not in self._known:
            if len(self._known) >= SOURCES_LIMIT:
                self._known.clear()
            self._known[host] = self._find(host)
        return self._known[host]

    def _find(self, host: str) -> Trunk | None:
        address = parse_ip(host)
        fitting = [
            (network.prefixlen, trunk) for trunk in self._trunks for network in trunk.networks if address in network
        ]
        return max(fitting, key=lambda it: it[0])[1] if address is not None and fitting else None

    def srtp_of(self, trunk: str) -> SrtpPolicy | None:
        """Of calls from there; None: as for everybody."""
        return self._srtp.get(trunk)

    def has_room(self, trunk: str) -> bool:
        return self._calls[trunk] < self._limits.get(trunk, 1 << 30)

    def taken(self, trunk: str) -> None:
        self._calls[trunk] += 1

    def released(self, trunk: str) -> None:
        self._calls[trunk] -= 1


def _identity(request: Request) -> tuple[str, str]:
    """Number and name from a trusted trunk: P-Asserted-Identity before From (RFC 3325 §9.1); "" when withheld."""
    privacy = (request.headers.get("Privacy") or "").lower()
    if "id" in privacy or "user" in privacy:
        return "", ""
    asserted = request.headers.elements("P-Asserted-Identity")
    sender = request.from_
    if asserted:
        with suppress(BadHeader):  # the trunk's From is still as good as any
            sender = parse_name_addr(asserted[0], "P-Asserted-Identity")
    number = sender.uri.username
    if number.lower() in ("anonymous", "restricted", "unavailable"):
        return "", ""
    return number[:64], sender.display[:64]
