"""Who may call: trunks by source network or certificate, our own phones by digest; nobody else (RFC 3261 §22, RFC 3325,
RFC 5922)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from engine.authentication import Authenticator
from engine.media.profile import USUAL, MediaProfile
from engine.sip.flow import Flow
from engine.sip.grammar import BadHeader
from engine.sip.headers import parse_name_addr
from engine.sip.message import Request, Response, reply
from engine.transport.addresses import parse_ip
from engine.transport.tls import domains_of
from engine.trunks.limits import Limits
from engine.trunks.model import Trunk
from engine.trunks.rewrite import rewrite

SOURCES_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Admitted:
    trunk: str
    """"" for a phone."""
    phone: str
    """User of an authenticated phone of ours, "" for a trunk."""
    caller: str
    """Number or user; "" when withheld."""
    name: str
    dialled: str
    profile: MediaProfile = USUAL


class Admission:
    """feature_prefix: numbers that only our own phones may dial, so that they are always asked for their password.
    limits: by name of trunk, shared with the calls that go out by them. peer_names: what the certificate of a flow's
    peer, checked, names; () for none."""

    def __init__(
        self,
        trunks: Sequence[Trunk],
        authenticator: Authenticator,
        domains: frozenset[str],
        feature_prefix: str,
        limits: Mapping[str, Limits],
        peer_names: Callable[[Flow], Sequence[str]] = lambda _: (),
    ):
        self._trunks = [trunk for trunk in trunks if not trunk.tls_names]
        self._proving = [trunk for trunk in trunks if trunk.tls_names]
        self._peer_names = peer_names
        self._users = {trunk.user: trunk for trunk in trunks if trunk.user}
        self._limits = limits
        self._authenticator = authenticator
        self.domains = domains
        self._prefix = feature_prefix
        self._known: dict[str, Trunk | None] = {}

    def admit(self, request: Request, flow: Flow, now: float) -> Admitted | Response:
        """Who calls, or the 401 to answer with.

        A caller who says that he is one of our phones must prove it, wherever he calls from: a trunk can't lend
        anybody an agent's name."""
        trunk = self.trunk_of(flow)
        sender = request.from_
        own = sender.uri.host.lower() in self.domains and self._authenticator.knows(sender.uri.username)
        if trunk is None or own or request.request_uri.username.startswith(self._prefix):
            user = self._authenticator.check(request, flow, now)
            if isinstance(user, Response):
                return user
            trunk = self._users.get(user)
            if trunk is None:
                return Admitted("", user, user, sender.display, request.request_uri.username)
            if own:
                return reply(request, 403, to_tag=self._authenticator.tag())
        return self._through(trunk, request)

    def _through(self, trunk: Trunk, request: Request) -> Admitted | Response:
        """Numbers as we write them; 403 for those that the trunk's rules refuse."""
        number, name = _identity(request)
        caller, dialled = rewrite(number, trunk.caller), rewrite(request.request_uri.username, trunk.called)
        if caller is None or dialled is None:
            return reply(request, 403, to_tag=self._authenticator.tag())
        return Admitted(trunk.name, "", caller, name, dialled, trunk.profile)

    def trunk_of(self, flow: Flow) -> Trunk | None:
        """The trunk that the certificate of the peer names, else the one with the longest prefix that holds its
        address. Not over WebSocket: any page that a browser in a trusted network shows can open one, so that its
        address proves nothing."""
        if flow.transport in ("ws", "wss"):
            return None
        host = flow.remote[0]
        if flow.transport == "tls" and self._proving and (trunk := self._proven(flow, host)):
            return trunk
        if host not in self._known:
            if len(self._known) >= SOURCES_LIMIT:
                self._known.clear()
            self._known[host] = self._find(host)
        return self._known[host]

    def trunk_name(self, flow: Flow) -> str | None:
        """Of the trunk that a flow belongs to; None for all other peers."""
        trunk = self.trunk_of(flow)
        return trunk.name if trunk is not None else None

    def _proven(self, flow: Flow, host: str) -> Trunk | None:
        named = domains_of(self._peer_names(flow))
        for trunk in self._proving:
            if not trunk.tls_names.isdisjoint(named) and (not trunk.networks or _holds(trunk.networks, host)):
                return trunk
        return None

    def _find(self, host: str) -> Trunk | None:
        address = parse_ip(host)
        fitting = [
            (network.prefixlen, trunk) for trunk in self._trunks for network in trunk.networks if address in network
        ]
        return max(fitting, key=lambda it: it[0])[1] if address is not None and fitting else None

    def full(self, trunk: str, now: float) -> str:
        """Why a trunk takes no call now; "" when it does, and for our phones."""
        limits = self._limits.get(trunk)
        return (limits and limits.full(now)) or ""

    def taken(self, trunk: str, now: float) -> None:
        if trunk in self._limits:
            self._limits[trunk].take(now)

    def released(self, trunk: str) -> None:
        if trunk in self._limits:
            self._limits[trunk].release()


def _holds(networks: Sequence[IPv4Network | IPv6Network], host: str) -> bool:
    address = parse_ip(host)
    return any(address in network for network in networks)


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
