"""What transactions are known by and what is kept of one (RFC 3261 §17.1.3, §17.2.3), and the messages that a
transaction makes itself: the ACK of a failure (§17.1.1.3) and CANCEL (§9.1)."""

from typing import Final, NamedTuple

from engine.sip import invite_client, invite_server, other_client, other_server
from engine.sip.flow import Flow
from engine.sip.headers import Via
from engine.sip.invite_client import InviteClient
from engine.sip.invite_server import InviteServer
from engine.sip.machine import NEVER
from engine.sip.message import Headers, Request, Response
from engine.sip.other_client import OtherClient
from engine.sip.other_server import OtherServer

COOKIE: Final = "z9hG4bK"

ServerKey = tuple[str, str, int, str]
"""Branch, sent-by host and port, method (§17.2.3). Opaque to the transaction user."""
ClientKey = tuple[str, str]
"""Branch and method (§17.1.3)."""
MergeKey = tuple[str, str | None, int]


class ServerRecord:
    __slots__ = ("data", "flow", "key", "machine", "merge_key", "queued", "request", "to")

    def __init__(self, key: ServerKey, machine: InviteServer | OtherServer, flow: Flow) -> None:
        self.key = key
        self.machine = machine
        self.flow = flow  # where responses go
        self.queued = NEVER  # time of the valid heap entry
        self.data = b""  # what a retransmission of the request is answered with
        self.request: Request | None = None  # an INVITE that has no answer yet
        self.to: str | None = None  # To of our last provisional response
        self.merge_key: MergeKey | None = None


class Way(NamedTuple):
    """How a request leaves, and what it says of that."""

    flow: Flow
    sent_by: tuple[str, int]
    """For the Via."""
    contact: str | None
    """Our Contact there; None: the request's own is good everywhere."""


class ClientRecord:
    __slots__ = ("cancel", "data", "flow", "key", "machine", "other_way", "queued", "quiet", "request")

    def __init__(self, key: ClientKey, machine: InviteClient | OtherClient, flow: Flow, data: bytes) -> None:
        self.key = key
        self.machine = machine
        self.flow = flow
        self.queued = NEVER
        self.data = data  # the request; after a failure response to an INVITE, its ACK
        self.request: Request | None = None  # an INVITE, while ACK or CANCEL may have to be made from it
        self.cancel = False  # send CANCEL as soon as a provisional response is here
        self.quiet = False  # our own CANCEL: nobody waits for its outcome
        self.other_way: Way | None = None  # for when there is none to where `flow` leads


def server_key(request: Request, via: Via, method: str) -> ServerKey:
    """§17.2.3. Without the magic cookie (RFC 2543), or with nothing behind it (RFC 4475 §3.2.1), what is listed there
    stands in for the branch; the To tag, which differs between an INVITE and its ACK, is left out."""
    branch = via.branch
    if not branch.startswith(COOKIE) or len(branch) == len(COOKIE):
        branch = "\n".join((str(via), request.call_id, str(request.cseq.number), request.from_tag or ""))
    return (branch, via.host, via.port or 0, method)


def reply_flow(via: Via, flow: Flow) -> Flow:
    """§18.2.2, RFC 3581 §4. A maddr is not followed: it would let anybody have us send to a third party."""
    if flow.transport != "udp" or "rport" in via.params:
        return flow
    return Flow("udp", flow.local, (flow.remote[0], via.port or 5060))


def heard(method: str, status: int) -> int:
    if method == "INVITE":
        if status < 200:
            return invite_client.In.PROVISIONAL
        return invite_client.In.SUCCESS if status < 300 else invite_client.In.FAILURE
    return other_client.In.PROVISIONAL if status < 200 else other_client.In.FINAL


def said(method: str, status: int) -> int:
    if method == "INVITE":
        if status < 200:
            return invite_server.In.SEND_1XX
        return invite_server.In.SEND_2XX if status < 300 else invite_server.In.SEND_FAILURE
    return other_server.In.SEND_1XX if status < 200 else other_server.In.SEND_FINAL


def put_via(request: Request, way: Way, branch: str) -> None:
    """§8.1.1.7, and §18.1.1 when the request had a Via of ours for another way."""
    host, port = way.sent_by
    if ":" in host:
        host = f"[{host}]"
    value = f"SIP/2.0/{way.flow.transport.upper()} {host}:{port};branch={branch};rport"
    request.headers.prepend("Via", value)
    if way.contact is not None:
        request.headers.set("Contact", way.contact)


def redirect(request: Request, way: Way, branch: str) -> None:
    request.headers.remove_first("Via")
    put_via(request, way, branch)


def _hop_request(invite: Request, method: str, to: str) -> Request:
    """A request of the same branch: top Via, Route, From, Call-ID and CSeq number of the INVITE."""
    headers = invite.headers
    items = [("Via", headers.elements("Via")[0])]
    items += [("Route", value) for value in headers.all("Route")]
    items += [
        ("Max-Forwards", "70"),
        ("From", headers.get("From") or ""),
        ("To", to),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{invite.cseq.number} {method}"),
    ]
    return Request(method, invite.uri, Headers.of(items))


def ack_of_failure(invite: Request, response: Response) -> Request:
    """§17.1.1.3: To as in the response."""
    return _hop_request(invite, "ACK", response.headers.get("To") or "")


def cancel_of(invite: Request) -> Request:
    """§9.1: To as in the INVITE."""
    return _hop_request(invite, "CANCEL", invite.headers.get("To") or "")
