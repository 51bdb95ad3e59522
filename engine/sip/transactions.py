"""The transaction layer (RFC 3261 §17, §18.2; RFC 6026; RFC 3581) for all flows, without sockets or clock.

Theory of operation. Messages go in by `receive`, orders by `request`, `respond` and `cancel`, time by `tick`. All that
follows is collected, in order, until `poll` takes it. A transaction is a record that holds its machine (the tables in
invite_server.py and its three sisters) and the bytes to send again. Timers wait in one heap; an entry is never taken
out early: a record knows the time of its valid entry, others are passed over when they come up.

The user of this layer need not answer CANCEL (done here), acknowledge failures of its INVITEs (done here) or send 100
(done here, after 200 ms of silence). It must answer every other request, repeat its own 2xx until the ACK, and
acknowledge every 2xx: `invite.py` says when.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final
from zlib import crc32

from engine.sip import invite_client, invite_server, other_client, other_server
from engine.sip.flow import Flow
from engine.sip.headers import Via, parse_name_addr
from engine.sip.invite_client import InviteClient
from engine.sip.invite_server import InviteServer
from engine.sip.machine import NEVER, STANDARD, TERMINATED, Do, Timers
from engine.sip.matching import (
    COOKIE,
    ClientKey,
    ClientRecord,
    MergeKey,
    ServerKey,
    ServerRecord,
    Way,
    ack_of_failure,
    cancel_of,
    heard,
    put_via,
    redirect,
    reply_flow,
    said,
    server_key,
)
from engine.sip.message import Request, Response, reply
from engine.sip.other_client import OtherClient
from engine.sip.other_server import OtherServer
from engine.sip.outputs import (
    AckArrived,
    AckTimedOut,
    CancelArrived,
    FellBack,
    Output,
    RequestArrived,
    RequestFailed,
    ResponseArrived,
    Send,
)

MAX_TRANSACTIONS: Final = 100_000
"""Server transactions at once; beyond, requests get 503. Each lives 32 s: 1 500 calls/s of INVITE and BYE, 200 MB."""
RETRY_AFTER: Final = "5"
_UNHEARD: Final = 1
"""State of both client machines while nothing has been heard: CALLING, TRYING."""

__all__ = [  # the whole face of the layer, in one place
    "AckArrived",
    "AckTimedOut",
    "CancelArrived",
    "ClientKey",
    "FellBack",
    "Output",
    "RequestArrived",
    "RequestFailed",
    "ResponseArrived",
    "Send",
    "ServerKey",
    "TransactionLayer",
]


class TransactionLayer:
    """branch: gives a token that nobody can guess and that never comes again; also used for tags of our own."""

    def __init__(self, *, branch: Callable[[], str], timers: Timers = STANDARD) -> None:
        self._token = branch
        self._timers = timers
        self._servers: dict[ServerKey, ServerRecord] = {}
        self._clients: dict[ClientKey, ClientRecord] = {}
        self._merge: dict[MergeKey, ServerKey] = {}
        self._by_connection: dict[Flow, set[ClientKey]] = {}
        self._heap: list[tuple[float, int, ServerRecord | ClientRecord]] = []
        self._order = 0
        self._out: list[Output] = []
        self.retransmissions_sent = 0
        self.retransmissions_received = 0
        self.strays = 0
        """Responses that belong to no transaction."""
        self.merged = 0
        self.shed = 0
        """Requests answered 503 because of MAX_TRANSACTIONS."""

    def poll(self) -> list[Output]:
        """Take all outputs since the last call, in order."""
        out, self._out = self._out, []
        return out

    @property
    def open(self) -> tuple[int, int]:
        """Server and client transactions now."""
        return len(self._servers), len(self._clients)

    def holds(self, request: Request, method: str = "") -> bool:
        """Whether this is a retransmission of what a transaction has; with `method` INVITE: whether it is for that
        INVITE's transaction, as CANCEL and the ACK of a failure are."""
        return server_key(request, request.via, method or request.method) in self._servers

    def holds_key(self, key: ServerKey) -> bool:
        """The same for one of whom only the key is known."""
        return key in self._servers

    @property
    def share(self) -> float:
        """Of the transaction table in use."""
        return len(self._servers) / MAX_TRANSACTIONS

    # Messages from the network

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """A message that `parse` let through. The top Via of a request may be changed by this."""
        if isinstance(message, Response):
            self._receive_response(message, now)
        else:
            self._receive_request(message, flow, now)

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        method, via = request.method, request.via
        key = server_key(request, via, "INVITE" if method == "ACK" else method)
        server = self._servers.get(key)
        if server is not None:
            self._receive_again(server, request, flow, now)
            return
        if method == "ACK":
            self._out.append(AckArrived(request, flow))
            return
        stamped = via.with_source(*flow.remote)
        if stamped is not via:
            request.headers.replace_first("Via", str(stamped))
        server = self._open_server(key, via, request, flow, now)
        if server is None:
            return
        if method == "CANCEL":
            self._receive_cancel(server, request, now)
        elif method == "INVITE" and self._is_merged(server, request):
            self.merged += 1
            self.respond(key, reply(request, 482, to_tag=self._token()), now)
        else:
            self._out.append(RequestArrived(key, request, flow))

    def _receive_again(self, server: ServerRecord, request: Request, flow: Flow, now: float) -> None:
        """A retransmission, or the ACK of a failure response; an ACK to a 2xx only when its sender kept the branch."""
        if request.method == "ACK":
            if server.machine.feed(invite_server.In.ACK, now) is Do.PASS:
                self._out.append(AckArrived(request, flow))
            if server.machine.state != invite_server.State.PROCEEDING:
                server.data = b""  # nothing will be repeated any more
            self._settle(server)
            return
        self.retransmissions_received += 1
        again = invite_server.In.INVITE if request.method == "INVITE" else other_server.In.REQUEST
        if server.machine.feed(again, now) is Do.RESEND and server.data:
            self._resend(server)

    def _open_server(self, key: ServerKey, via: Via, request: Request, flow: Flow, now: float) -> ServerRecord | None:
        back = reply_flow(via, flow)
        if len(self._servers) >= MAX_TRANSACTIONS:
            self.shed += 1
            refusal = reply(request, 503, to_tag=f"{crc32(via.branch.encode()):08x}")  # stateless: the same each time
            refusal.headers.add("Retry-After", RETRY_AFTER)
            self._out.append(Send(back, refusal.encode()))
            return None
        reliable = flow.transport != "udp"
        machine: InviteServer | OtherServer
        if request.method == "INVITE":
            machine = InviteServer(now, reliable, self._timers)
        else:
            machine = OtherServer(now, reliable, self._timers)
        server = self._servers[key] = ServerRecord(key, machine, back)
        if request.method == "INVITE":
            server.request = request
        self._schedule(server)
        return server

    def _is_merged(self, server: ServerRecord, request: Request) -> bool:
        """§8.2.2.2: the same INVITE came before on another path, and is not refused yet."""
        if request.to_tag is not None:
            return False
        merge_key = (request.call_id, request.from_tag, request.cseq.number)
        if merge_key in self._merge:
            return True
        self._merge[merge_key] = server.key
        server.merge_key = merge_key
        return False

    def _receive_cancel(self, server: ServerRecord, request: Request, now: float) -> None:
        """§9.2. An INVITE that has its final response already is not affected."""
        invite = self._servers.get((*server.key[:3], "INVITE"))
        if invite is None:
            self.respond(server.key, reply(request, 481, to_tag=self._token()), now)
            return
        tag = parse_name_addr(invite.to).tag if invite.to else None
        self.respond(server.key, reply(request, 200, to_tag=tag or self._token()), now)
        if invite.machine.state == invite_server.State.PROCEEDING:
            self._out.append(CancelArrived(invite.key, request))

    def _receive_response(self, response: Response, now: float) -> None:
        client = self._clients.get((response.via.branch, response.cseq.method))
        if client is None:
            self.strays += 1
            return
        do = client.machine.feed(heard(client.key[1], response.status), now)
        if do is not Do.PASS and do is not Do.ACK_PASS:
            self.retransmissions_received += 1
            if do is Do.ACK:
                self._resend(client)
            return
        if response.status >= 200:
            self._take_final(client, response)
        elif client.cancel:
            self._send_cancel(client, now)
        if not client.quiet:
            self._out.append(ResponseArrived(client.key, response))
        self._settle(client)

    def _take_final(self, client: ClientRecord, response: Response) -> None:
        """Acknowledge a failure of an INVITE; let go of what will not be sent again."""
        invite, client.request = client.request, None
        client.data = b""
        if client.key[1] != "INVITE":
            return
        if invite is None:
            self.retransmissions_received += 1  # a 2xx again, or that of another fork
        elif response.status >= 300:
            client.data = ack_of_failure(invite, response).encode()
            self._out.append(Send(client.flow, client.data))

    # Orders from the transaction user

    def request(
        self,
        request: Request,
        flow: Flow,
        now: float,
        sent_by: tuple[str, int] | None = None,
        instead: Callable[[int], Way | None] | None = None,
    ) -> ClientKey:
        """Send a request and see it through. Puts our Via on it.

        sent_by: host and port for that Via when they are not those of flow.local (bound to all addresses).
        instead: what to do with so many octets over UDP: another way, or None (§18.1.1). When no connection comes of
        that, the request goes by `flow` after all, in the same transaction: a peer that has got it twice sees that."""
        branch = COOKIE + self._token()
        way = Way(flow, sent_by or flow.local, None)
        put_via(request, way, branch)
        key = (branch, request.method)
        data = request.encode()
        other = instead(len(data)) if instead is not None else None
        if other is None:
            self._open_client(key, request, flow, data, now)
            return key
        back = way._replace(contact=None if other.contact is None else request.headers.get("Contact"))
        redirect(request, other, branch)
        client = self._open_client(key, request, other.flow, request.encode(), now)
        client.request, client.other_way = request, back
        return key

    def ack(self, request: Request, flow: Flow, sent_by: tuple[str, int] | None = None) -> bytes:
        """Send an ACK to a 2xx: outside any transaction, with a Via of its own (§13.2.2.4). Returns what was sent, for
        `stateless_send` when the 2xx comes again."""
        put_via(request, Way(flow, sent_by or flow.local, None), COOKIE + self._token())
        data = request.encode()
        self._out.append(Send(flow, data))
        return data

    def stateless_send(self, data: bytes, flow: Flow) -> None:
        """Send bytes as they are."""
        self._out.append(Send(flow, data))

    def respond(self, key: ServerKey, response: Response, now: float) -> None:
        """Answer a request. Does nothing when the transaction is gone or has its final response; a 2xx to an INVITE
        may be given again and again."""
        server = self._servers.get(key)
        if server is None:
            return
        status = response.status
        if server.machine.feed(said(key[3], status), now) is not Do.SEND:
            return
        data = response.encode()
        self._out.append(Send(server.flow, data))
        if status < 200:
            server.to = response.headers.get("To") if status > 100 else server.to
            server.data = data
        else:
            # RFC 6026: repeating a 2xx to an INVITE is not the transaction's business
            server.data = b"" if key[3] == "INVITE" and status < 300 else data
            server.request = None
            if status >= 300:
                self._forget_merge(server)
        self._settle(server)

    def cancel(self, key: ClientKey, now: float) -> None:
        """Give up a pending INVITE (§9.1): CANCEL goes out now, or with the first provisional response. The INVITE
        ends by ResponseArrived (487, or a 200 that crossed) or RequestFailed. Does nothing after a final response, nor
        for another method."""
        client = self._clients.get(key)
        if client is None or client.cancel or key[1] != "INVITE":
            return
        state = client.machine.state
        if state == invite_client.State.CALLING:
            client.cancel = True
        elif state == invite_client.State.PROCEEDING:
            self._send_cancel(client, now)

    # After the death of the process that began a transaction

    def pending(self, key: ClientKey) -> bytes:
        """Our request that has no final response yet, Via and all; b"" when there is none such."""
        client = self._clients.get(key)
        if client is None or (key[1] == "INVITE" and client.request is None):
            return b""
        return client.data

    def adopt_request(self, request: Request, flow: Flow, now: float) -> ClientKey:
        """See through a request that an earlier process sent: it goes out again as it was, as a retransmission would.

        The request has its Via. An INVITE's provisional response comes again with that (§17.2.1)."""
        return self._open_client((request.via.branch, request.method), request, flow, request.encode(), now).key

    def adopt_invite(self, key: ServerKey, invite: Request, flow: Flow, now: float, *, last: Response | None) -> None:
        """Go on with an INVITE that an earlier process received by `flow`. last: the response that it gave, None for
        100 or nothing. A 2xx is not sent again by this (RFC 6026)."""
        machine = InviteServer(now, flow.reliable, self._timers)
        server = self._servers[key] = ServerRecord(key, machine, reply_flow(invite.via, flow))
        server.request = invite
        self._is_merged(server, invite)
        self._schedule(server)
        if last is None:
            return
        machine.feed(said("INVITE", last.status), now)
        if last.status < 200:
            server.to = last.headers.get("To")
        else:
            server.request = None
        server.data = b"" if 200 <= last.status < 300 else last.encode()
        self._settle(server)

    def adopt_accepted(self, key: ServerKey, flow: Flow, now: float) -> None:
        """Go on with a re-INVITE that an earlier process answered 2xx, and whose ACK is awaited: the 2xx may be given
        again. flow: where to."""
        machine = InviteServer(now, flow.reliable, self._timers)
        server = self._servers[key] = ServerRecord(key, machine, flow)
        machine.feed(said("INVITE", 200), now)
        self._settle(server)

    def flow_failed(self, flow: Flow, now: float) -> None:
        """The transport could not send on this flow, or its connection is gone: requests on it fail."""
        if flow.reliable:
            keys = list(self._by_connection.get(flow, ()))
        else:
            keys = [key for key, client in self._clients.items() if client.flow == flow]
        for key in keys:
            client = self._clients[key]
            if client.other_way is not None and client.machine.state == _UNHEARD:
                self._fall_back(client, client.other_way, now)
                continue
            error = invite_client.In if key[1] == "INVITE" else other_client.In
            self._carry_out(client, client.machine.feed(error.TRANSPORT_ERROR, now), now)
            self._settle(client)

    def _open_client(self, key: ClientKey, request: Request, flow: Flow, data: bytes, now: float) -> ClientRecord:
        client = self._clients[key] = ClientRecord(key, self._client_machine(key[1], flow, now), flow, data)
        if request.method == "INVITE":
            client.request = request
        if flow.reliable:
            self._by_connection.setdefault(flow, set()).add(key)
        self._out.append(Send(flow, data))
        self._schedule(client)
        return client

    def _client_machine(self, method: str, flow: Flow, now: float) -> InviteClient | OtherClient:
        kind = InviteClient if method == "INVITE" else OtherClient
        return kind(now, flow.reliable, self._timers)

    def _fall_back(self, client: ClientRecord, way: Way, now: float) -> None:
        assert client.request is not None
        self._disconnect(client)
        self._out.append(FellBack(client.flow.remote))
        redirect(client.request, way, client.key[0])
        client.flow, client.other_way, client.data = way.flow, None, client.request.encode()
        client.machine = self._client_machine(client.key[1], way.flow, now)
        self._out.append(Send(client.flow, client.data))
        self._schedule(client)

    def _send_cancel(self, invite: ClientRecord, now: float) -> None:
        invite.cancel = False
        invite.machine.feed(invite_client.In.CANCEL, now)
        self._schedule(invite)
        if invite.request is not None:
            request = cancel_of(invite.request)
            key = (invite.key[0], "CANCEL")
            self._open_client(key, request, invite.flow, request.encode(), now).quiet = True

    # Time

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; None: nothing waits."""
        heap = self._heap
        while heap:
            at, _, owner = heap[0]
            if at == owner.queued and owner.machine.deadline <= at:
                return at
            heappop(heap)
            if at == owner.queued:
                owner.queued = NEVER
                self._schedule(owner)
        return None

    def tick(self, now: float) -> None:
        """Fire what is due. Calling it early or often does no harm."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, owner = heappop(heap)
            if at != owner.queued:
                continue
            owner.queued = NEVER
            machine = owner.machine
            while machine.deadline <= now:
                self._carry_out(owner, machine.tick(now), now)
            self._settle(owner)

    def _carry_out(self, owner: ServerRecord | ClientRecord, do: Do, now: float) -> None:
        """What a timer or a transport error asks for."""
        if do is Do.RESEND:
            self._resend(owner)
        elif do is Do.TRYING and isinstance(owner, ServerRecord) and owner.request is not None:
            self.respond(owner.key, reply(owner.request, 100), now)
        elif do in (Do.TIMED_OUT, Do.TRANSPORT):
            if isinstance(owner, ServerRecord):
                self._out.append(AckTimedOut(owner.key))
            elif not owner.quiet:
                self._out.append(RequestFailed(owner.key, "timeout" if do is Do.TIMED_OUT else "transport"))

    def _resend(self, owner: ServerRecord | ClientRecord) -> None:
        self.retransmissions_sent += 1
        self._out.append(Send(owner.flow, owner.data))

    def _schedule(self, owner: ServerRecord | ClientRecord) -> None:
        at = owner.machine.deadline
        if at < owner.queued:
            owner.queued = at
            self._order += 1
            heappush(self._heap, (at, self._order, owner))

    def _settle(self, owner: ServerRecord | ClientRecord) -> None:
        """After a step: wait for its next timer, or forget it."""
        if owner.machine.state != TERMINATED:
            self._schedule(owner)
        elif isinstance(owner, ServerRecord):
            self._servers.pop(owner.key, None)
            self._forget_merge(owner)
        else:
            self._clients.pop(owner.key, None)
            self._disconnect(owner)

    def _disconnect(self, client: ClientRecord) -> None:
        keys = self._by_connection.get(client.flow)
        if keys is not None:
            keys.discard(client.key)
            if not keys:
                del self._by_connection[client.flow]

    def _forget_merge(self, server: ServerRecord) -> None:
        if server.merge_key is not None:
            self._merge.pop(server.merge_key, None)
            server.merge_key = None
