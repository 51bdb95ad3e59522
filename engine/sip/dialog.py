"""Dialogs (RFC 3261 §12): what both sides remember between requests. Plain values, so that one can be written to the
log and read back."""

from dataclasses import dataclass, field
from typing import Final

from engine.sip.grammar import BadHeader
from engine.sip.headers import NameAddr, parse_name_addr
from engine.sip.message import Headers, Request, Response
from engine.sip.uri import Uri, parse_uri

MAX_FORWARDS: Final = "70"
MAX_SEQ: Final = 2**31 - 1
_WITH_CONTACT: Final = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
"""Requests that carry our Contact: those that refresh the target, or may form a dialog (§8.1.1.8)."""
_CREDENTIALS: Final = ("Authorization", "Proxy-Authorization")

DialogId = tuple[str, str, str]
"""Call-ID, local tag, remote tag."""


@dataclass(slots=True, kw_only=True)
class Dialog:
    """One dialog, seen from our side. Every field is text or a number; URIs and routes are as they go into headers."""

    call_id: str
    local_tag: str
    remote_tag: str
    """ "" when the peer sent none (RFC 2543)."""
    local_uri: str
    """name-addr without tag: our From in requests."""
    remote_uri: str
    remote_target: str
    """URI of the peer's Contact: Request-URI of our requests."""
    local_contact: str
    """Our Contact header value."""
    local_seq: int = 0
    """CSeq number of our last request; 0: none sent, the first will be 1."""
    remote_seq: int = -1
    """CSeq number of the peer's last request; -1: none came."""
    route_set: list[str] = field(default_factory=list)
    early: bool = False

    @property
    def id(self) -> DialogId:
        return (self.call_id, self.local_tag, self.remote_tag)

    @property
    def next_hop(self) -> Uri:
        """Where requests go (§8.1.2): the first route, loose or strict, else the remote target."""
        return parse_name_addr(self.route_set[0]).uri if self.route_set else parse_uri(self.remote_target)

    def make(self, method: str, body: bytes = b"", content_type: str = "application/sdp") -> Request:
        """A request within the dialog (§12.2.1.1), Via not yet put on. Raises the local CSeq number by one."""
        self.local_seq = self.local_seq + 1 if self.local_seq < MAX_SEQ else 1
        return self._request(method, self.local_seq, body, content_type)

    def again(self, request: Request) -> Request:
        """A request of this dialog once more, as a new one (§22.2): with the next CSeq number, Via not yet put on."""
        self.local_seq = self.local_seq + 1 if self.local_seq < MAX_SEQ else 1
        copy = request.copy()
        copy.headers.remove("Via")
        copy.headers.set("CSeq", f"{self.local_seq} {request.method}")
        return copy

    def ack(self, response: Response, invite: Request | None = None, body: bytes = b"") -> Request:
        """The ACK for a 2xx (§13.2.2.4): CSeq number and credentials of the INVITE, routing of the dialog."""
        request = self._request("ACK", response.cseq.number, body, "application/sdp")
        if invite is not None:
            for name in _CREDENTIALS:
                for value in invite.headers.all(name):
                    request.headers.add(name, value)
        return request

    def check(self, request: Request) -> int | None:
        """Admit a request of the peer: None, or the status to refuse it with (§12.2.2).

        500 when its CSeq number is lower than one already seen. Call it once for each request that is not a
        retransmission; ACK and CANCEL repeat the number of their INVITE and are not counted."""
        if request.method in ("ACK", "CANCEL"):
            return None
        number = request.cseq.number
        if number < self.remote_seq:
            return 500
        self.remote_seq = number
        return None

    def target_refresh(self, message: Request | Response) -> None:
        """Take the peer's Contact from a re-INVITE, UPDATE or a 2xx to one (§12.2.1.2, §12.2.2). Without a Contact
        that can be read the old target stays."""
        target = _contact_uri(message)
        if target is not None:
            self.remote_target = target

    def confirm(self, response: Response) -> None:
        """A 2xx to the INVITE that made this dialog came (UAC). The route set is taken anew from it (§13.2.2.4).

        Raises BadHeader, leaving the dialog as it was, when that has a Record-Route that can't be read."""
        if self.early:
            self.route_set = _checked(response.headers.elements("Record-Route"))[::-1]
        self.early = False
        self.target_refresh(response)

    def _request(self, method: str, seq: int, body: bytes, content_type: str) -> Request:
        uri, routes = self._routing()
        remote_tag = f";tag={self.remote_tag}" if self.remote_tag else ""
        items = [("Route", route) for route in routes]
        items += [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", f"{self.local_uri};tag={self.local_tag}"),
            ("To", f"{self.remote_uri}{remote_tag}"),
            ("Call-ID", self.call_id),
            ("CSeq", f"{seq} {method}"),
        ]
        if method in _WITH_CONTACT:
            items.append(("Contact", self.local_contact))
        if body:
            items.append(("Content-Type", content_type))
        return Request(method, uri, Headers.of(items), body)

    def _routing(self) -> tuple[str, list[str]]:
        """Request-URI and Route values. A first hop without `lr` is a strict router of RFC 2543: it finds itself in
        the Request-URI, and the target at the end of the routes."""
        if not self.route_set:
            return self.remote_target, []
        first = parse_name_addr(self.route_set[0]).uri
        if first.param("lr") is not None:
            return self.remote_target, self.route_set
        # §19.1.1: method and headers are not allowed in a Request-URI
        kept = tuple(item for item in first.params if item[0] != "method")
        return str(first._replace(params=kept, headers="")), [*self.route_set[1:], f"<{self.remote_target}>"]


def uas_dialog(request: Request, response: Response) -> Dialog:
    """The dialog that our 101-299 response to an INVITE makes (§12.1.1). The response must have a To tag and our
    Contact. Raises BadHeader when the request has no usable Contact or Record-Route: answer 400."""
    target = target_of(request)
    if target is None:
        raise BadHeader("Contact")
    return Dialog(
        call_id=request.call_id,
        local_tag=response.to_tag or "",
        remote_tag=request.from_tag or "",
        local_uri=_without_tag(request.to),
        remote_uri=_without_tag(request.from_),
        remote_target=target,
        local_contact=response.headers.get("Contact") or "",
        remote_seq=request.cseq.number,
        route_set=_checked(request.headers.elements("Record-Route")),
        early=response.status < 200,
    )


def uac_dialog(request: Request, response: Response) -> Dialog:
    """The dialog that a 101-299 response to our INVITE makes (§12.1.2). Responses with different To tags (forking)
    make different dialogs. Raises BadHeader when a 2xx has no usable Contact; a provisional one may lack it."""
    target = _contact_uri(response)
    if target is None:
        if response.status >= 200:
            raise BadHeader("Contact")
        target = request.uri
    return Dialog(
        call_id=request.call_id,
        local_tag=request.from_tag or "",
        remote_tag=response.to_tag or "",
        local_uri=_without_tag(request.from_),
        remote_uri=_without_tag(request.to),
        remote_target=target,
        local_contact=request.headers.get("Contact") or "",
        local_seq=request.cseq.number,
        route_set=_checked(response.headers.elements("Record-Route"))[::-1],
        early=response.status < 200,
    )


def dialog_id(message: Request | Response) -> DialogId:
    """The id of the dialog that a message from the peer belongs to: of a request our tag is in To, of a response in
    From. Compare with Dialog.id."""
    if isinstance(message, Request):
        return (message.call_id, message.to_tag or "", message.from_tag or "")
    return (message.call_id, message.from_tag or "", message.to_tag or "")


def target_of(invite: Request) -> str | None:
    """Where requests to the peer will go; None: nowhere, answer 400. RFC 2543 (§6.13), which a peer without a From tag
    speaks, asked for no Contact: then it is From."""
    target = _contact_uri(invite)
    if target is None and invite.from_tag is None and "Contact" not in invite.headers:
        sender = invite.from_.uri
        return str(sender.bare) if sender.scheme in ("sip", "sips") else None
    return target


def _without_tag(address: NameAddr) -> str:
    """For From and To of later requests. Only the tag is a dialog's; other header parameters are not ours to repeat."""
    return str(address._replace(params={}))


def _checked(routes: list[str]) -> list[str]:
    """Refuse, before the dialog exists, a Record-Route that could not be used when a request is made."""
    for route in routes:
        parse_name_addr(route, "Record-Route")
    return routes


def _contact_uri(message: Request | Response) -> str | None:
    try:
        contacts = message.contacts
    except BadHeader:
        return None
    if not contacts or contacts[0].uri.scheme not in ("sip", "sips"):
        return None
    return str(contacts[0].uri)
