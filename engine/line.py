"""What a leg needs of the user agent: the transaction layer, the clock, and where to find things."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from engine.large import LargeRequests
from engine.media.plane import Codec, Plane, PlaneError, PortId
from engine.sdp.crypto import SrtpPolicy
from engine.sip.dialog import Dialog, DialogId
from engine.sip.flow import Flow, FlowFault
from engine.sip.headers import NameAddr
from engine.sip.matching import Way
from engine.sip.message import Request, Response
from engine.sip.registrar import Binding
from engine.sip.transactions import ClientKey, ServerKey, TransactionLayer
from engine.sip.uri import Uri, escape, sip_uri
from engine.sip_counts import SipCounts
from engine.transport.addresses import is_ipv6, is_wildcard, parse_ip
from events.types import Event
from kernel.clock import Clock
from kernel.ids import Ids

if TYPE_CHECKING:
    from engine.leg import SipLeg

ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, REFER, UPDATE, REGISTER"
METHODS = frozenset(ALLOW.split(", "))
SUPPORTED = "replaces, timer, 100rel"
SERVER = "Callwright"
LINGER = 33.0
"""Seconds after a 2xx in which it may come again (64*T1 and a little)."""
DEFAULT_PORT = 5060
DEFAULT_TLS_PORT = 5061
_TRANSPORT_PARAMETER = {
    "udp": "",
    "tcp": ";transport=tcp",
    "tls": ";transport=tls",
    "ws": ";transport=ws",
    "wss": ";transport=ws",  # RFC 7118 §5.2 knows no other word
}
_SECURE_PARAMETER = {"tls": "", "wss": ";transport=ws"}


class FlowTo(Protocol):
    """Finds a way to an address, None when there is none. name: whom a TLS server must prove to be; "": its address."""

    def __call__(self, transport: str, remote: tuple[str, int], name: str = "") -> Flow | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """Times in seconds."""

    domain: str
    codecs: tuple[Codec, ...] = (Codec.PCMA, Codec.PCMU)
    ptime_ms: int = 20
    srtp: SrtpPolicy = SrtpPolicy.FORBIDDEN
    rtp_timeout: float = 30.0
    """0: never."""
    media_host: str = ""
    """Address that RTP sockets bind; "" or a wildcard: the one that the peer's SIP came to."""
    media_advertise: str = ""
    """Address in SDP, when the world sees another (NAT)."""
    sip_advertise: str = ""
    """Host in Via and Contact, when the world sees another."""
    advertised: Mapping[tuple[str, str, int], tuple[str, int]] = field(default_factory=dict)
    """(transport, host, port) of a listener -> host and port by which the world sees it; goes before sip_advertise."""
    tcp: bool = True
    """We listen on TCP: our Contact may say so."""


async def _nowhere_else(leg: "SipLeg", error: PlaneError) -> Plane:
    raise error


@dataclass(slots=True)
class Line:
    """Shared by all legs of a user agent."""

    settings: LineSettings
    clock: Clock
    ids: Ids
    layer: TransactionLayer
    emit: Callable[[Event], None]
    pump: Callable[[], None]
    """Carry out what the transaction layer has to say; to be called after every order given to it."""
    flow_to: FlowTo
    counts: SipCounts
    chance: Callable[[], float]
    """0 ≤ chance < 1: waits after glare."""
    alive: Callable[[Flow], bool] = lambda _: True
    """Whether a flow can still carry something: False once a connection is gone."""
    fault_of: Callable[[Flow], FlowFault] = lambda _: FlowFault()
    """Why a connection is gone."""
    large: LargeRequests = field(default_factory=LargeRequests)
    clients: dict[ClientKey, "ResponseHandler"] = field(default_factory=dict)
    dialogs: dict[DialogId, "SipLeg"] = field(default_factory=dict)
    unacknowledged: dict[tuple[str, str], "SipLeg"] = field(default_factory=dict)
    """(Call-ID, peer's tag) of callers answered whose first ACK is awaited: pyVoIP puts a To tag of its own into it."""
    ports: dict[tuple[Plane, PortId], "SipLeg"] = field(default_factory=dict)
    instead: Callable[["SipLeg", PlaneError], Awaitable[Plane]] = _nowhere_else
    """Where a leg may try next, whose plane gave it no port for this reason. Raises PlaneError when it must not."""
    touched: set["SipLeg"] = field(default_factory=set)
    """Legs to be saved at the end of this turn of the loop."""
    lingering: deque[tuple[float, ClientKey]] = field(default_factory=deque)
    """Answered INVITEs of ours, whose 2xx may come again until this time."""

    def respond(self, key: ServerKey, response: Response) -> None:
        """Give the layer a response to send, and count it."""
        self.counts.sent[key[3], response.status] += 1
        self.layer.respond(key, response, self.clock.monotonic())
        self.pump()

    def contact(self, flow: Flow, user: str = "", *, secure: bool = False) -> str:
        """Our Contact on this flow. user: plain text, for those who call us by it. secure: a SIPS URI, when the flow is
        (RFC 3261 §12.1.1; RFC 7118 §5.2 for WSS)."""
        host, port = self.sent_by(flow)
        bracketed = f"[{host}]" if is_ipv6(host) else host
        bracketed = f"{escape(user)}@{bracketed}" if user else bracketed
        if secure and flow.secure:
            return f"<sips:{bracketed}:{port}{_SECURE_PARAMETER[flow.transport]}>"
        return f"<sip:{bracketed}:{port}{_TRANSPORT_PARAMETER[flow.transport]}>"

    def sent_by(self, flow: Flow) -> tuple[str, int]:
        """Host and port for Via and Contact."""
        return self._advertised(flow) or (self.settings.sip_advertise or flow.local[0], flow.local[1])

    def _advertised(self, flow: Flow) -> tuple[str, int] | None:
        known = self.settings.advertised
        if not known:
            return None
        host, port = flow.local
        wildcard = "::" if is_ipv6(host) else "0.0.0.0"
        return known.get((flow.transport, host, port)) or known.get((flow.transport, wildcard, port))

    def media_bind(self, flow: Flow) -> str:
        """The address to bind RTP on for a peer on this flow: configured, unless of the other IP family."""
        host = self.settings.media_host
        if not host or is_wildcard(host) or is_ipv6(host) != is_ipv6(flow.local[0]):
            return flow.local[0]
        return host

    def media_shown(self, bound: str, flow: Flow) -> str:
        """The address that SDP names for media bound to `bound`: the one by which the world sees the flow's listener,
        when that was given as an address, else the one given for all media."""
        own = self._advertised(flow)
        shown = own[0] if own is not None and parse_ip(own[0]) is not None else self.settings.media_advertise
        return shown if shown and is_ipv6(shown) == is_ipv6(bound) else bound

    def send_request(self, request: Request, flow: Flow, handler: "ResponseHandler") -> ClientKey:
        """Open a client transaction whose outcome goes to `handler`."""
        instead = None if flow.reliable else partial(self._instead, request, flow)
        key = self.layer.request(request, flow, self.clock.monotonic(), self.sent_by(flow), instead)
        self.clients[key] = handler
        self.pump()
        return key

    def linger(self, key: ClientKey) -> None:
        """An INVITE of ours is answered: its handler stays for as long as the 2xx may come again."""
        self.lingering.append((self.clock.monotonic() + LINGER, key))

    def _instead(self, request: Request, flow: Flow, size: int) -> Way | None:
        """RFC 3261 §18.1.1. A Contact that names the way by which the request would have gone names the new one: who
        gets large requests from us has large ones for us. Not in REGISTER, where it is the one thing asked for."""
        other = self.large.instead(request, size, flow, self.clock.monotonic())
        if other is None:
            return None
        moves = self.settings.tcp and request.headers.get("Contact") == self.contact(flow)
        return Way(other, self.sent_by(other), self.contact(other) if moves and request.method != "REGISTER" else None)

    def flow_of(self, dialog: Dialog, arrived: Flow) -> Flow:
        """Where requests of a dialog go (RFC 3261 §8.1.2), `arrived` being the flow that made it.

        A connection is used again while it is there. Without one the first route or the Contact decides when it names
        an address that can be reached from here; a name, or the private address of a phone behind NAT (the peer's
        packets came from another host), is answered where its packets come from (RFC 3581 in spirit)."""
        return self._flow_to_hop(dialog.next_hop, bool(dialog.route_set), arrived)

    def flow_of_binding(self, binding: Binding) -> Flow:
        """Where a registered phone is called: by the same rule; along a Path (RFC 3327), back to the last proxy."""
        if binding.path:
            return binding.flow
        return self._flow_to_hop(binding.contact, False, binding.flow)

    def _flow_to_hop(self, hop: Uri, routed: bool, arrived: Flow) -> Flow:
        if arrived.reliable and self.alive(arrived):
            return arrived
        host = parse_ip(hop.host)
        if host is None or (not routed and str(host) != arrived.remote[0]):
            return arrived
        transport = hop_transport(hop, arrived)
        port = hop.port or (DEFAULT_TLS_PORT if transport == "tls" else DEFAULT_PORT)
        return self.flow_to(transport, (str(host), port)) or arrived


def hop_transport(hop: Uri, arrived: Flow) -> str:
    """What a next hop asks for (RFC 3263 §4.1): TLS for SIPS, else its parameter, else what its messages came by."""
    named = (hop.param("transport") or "").lower()
    if hop.scheme == "sips":
        return "wss" if named in ("ws", "wss") else "tls"
    return named or arrived.transport


def wants_sips(request: Request) -> bool:
    """Whether our Contact in the answer must be a SIPS URI (RFC 3261 §12.1.1). Raises BadHeader."""
    routes = request.record_routes
    first = [routes[0]] if routes else request.contacts[:1]
    return request.request_uri.scheme == "sips" or any(each.uri.scheme == "sips" for each in first)


class ResponseHandler:
    """Gets the outcome of a request of ours. Base for those that do not care (BYE)."""

    def response(self, key: ClientKey, response: Response) -> None:
        """Provisional or final."""

    def failed(self, key: ClientKey, why: str) -> None:
        """No final response will come: timeout | transport."""


def address(user: str, host: str, display: str = "") -> str:
    """A name-addr for From and To. Display and user may hold anything: they are quoted and escaped."""
    return str(NameAddr(display, sip_uri(user, host)))
