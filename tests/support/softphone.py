"""A phone on an asyncio loop (virtual time), over TransactionLayer, Dialog and InviteUsage: the far end of a user agent
under test. Its manners are attributes, good by default."""

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from engine.sip.dialog import Dialog, uac_dialog, uas_dialog
from engine.sip.flow import Flow
from engine.sip.grammar import ParseError
from engine.sip.invite import AckMissing, Action, Hangup, Heard, InviteUsage, SendAgain, SendBye
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.parse import parse
from engine.sip.transactions import (
    AckArrived,
    CancelArrived,
    ClientKey,
    Output,
    RequestArrived,
    RequestFailed,
    ResponseArrived,
    Send,
    ServerKey,
    TransactionLayer,
)


def sdp(host: str, port: int, *, formats: str = "0 8 101", direction: str = "sendrecv", version: int = 1) -> bytes:
    lines = ["v=0", f"o=- 7 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP {formats}", "a=rtpmap:101 telephone-event/8000", f"a={direction}"]
    return "".join(f"{line}\r\n" for line in lines).encode()


class Softphone:
    """name: user part; flow: from the user agent's side (its `remote` is this phone). send(data, flow): to the agent.

    log: what its user would notice. One call at a time."""

    def __init__(self, name: str, flow: Flow, send: Callable[[bytes, Flow], None]) -> None:
        self.name = name
        self.flow = flow
        self.log: list[str] = []
        self.heard: list[Request | Response] = []
        self.acks = True
        self.answer_after: float | None = 1.0
        """Seconds from the INVITE to the 200; None: rings for ever."""
        self.refuse_with = 0
        self.extra: dict[str, str] = {}
        """Headers in its responses to INVITE."""
        self.deaf = False
        """Answers nothing at all."""
        self.ringing = True
        self.body = sdp(flow.remote[0], 4000)
        self.ack_body = b""
        self.pracks = True
        self.prack_body = b""
        """In its first PRACK."""
        self.contact: str | None = f"<sip:{name}@{flow.remote[0]}:{flow.remote[1]}>"
        self.usage = InviteUsage(caller=True)
        self.dialog: Dialog | None = None
        self.remote_rtp = 0
        """Port of the latest SDP that it got."""
        self._send = send
        self._layer = TransactionLayer(branch=self._token)
        self._tokens = 0
        self._key: ServerKey | None = None
        self._sent: ClientKey | None = None
        self._invite: Request | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._wake: asyncio.TimerHandle | None = None

    # --- what its user does ---

    def call(self, number: str, body: bytes | None = None, **headers: str) -> None:
        self.usage = InviteUsage(caller=True)
        self.dialog = None
        self._tokens += 1
        items = [("Max-Forwards", "70"), ("From", f"<sip:{self.name}@example.net>;tag={self._token()}")]
        items += [("To", f"<sip:{number}@192.0.2.1>"), ("Call-ID", f"{self.name}-{self._tokens}"), ("CSeq", "1 INVITE")]
        items += [("Contact", self.contact)] if self.contact is not None else []
        items += [(name.replace("_", "-"), value) for name, value in headers.items()]
        items += [("Content-Type", "application/sdp")]
        body = self.body if body is None else body
        self._send_invite(Request("INVITE", f"sip:{number}@192.0.2.1", Headers(items), body))

    def hang_up(self) -> None:
        match self.usage.hangup():
            case Hangup.BYE:
                self._request("BYE")
            case Hangup.CANCEL if self._sent is not None:
                self._layer.cancel(self._sent, self._now)
            case Hangup.REJECT if self._key is not None:
                self._respond(486)
            case _:
                pass
        self._flush()

    def answer(self) -> None:
        if self._key is not None and self.usage.unanswered == self._key:
            self.log.append("answers")
            self._respond(200)
        self._flush()

    def again(self, direction: str, body: bytes | None = None) -> None:
        """A re-INVITE: hold (`sendonly`, `inactive`), resume (`sendrecv`)."""
        if self.usage.may_invite and self.dialog is not None:
            made = sdp(self.flow.remote[0], 4000, direction=direction, version=self._tokens + 2)
            self._send_invite(self.dialog.make("INVITE", made if body is None else body))

    def info(self, digit: str) -> None:
        if self.dialog is not None and not self.usage.ended:
            body = f"Signal={digit}\r\nDuration=160\r\n".encode()
            self._layer.request(self.dialog.make("INFO", body, "application/dtmf-relay"), self._towards, self._now)
        self._flush()

    def update(self, body: bytes = b"", **headers: str) -> None:
        if self.dialog is not None:
            request = self.dialog.make("UPDATE", body)
            for name, value in headers.items():
                request.headers.add(name.replace("_", "-"), value)
            self._layer.request(request, self._towards, self._now)
        self._flush()

    def says(self, status: int, body: bytes = b"", *, tag: str = "", rseq: int = 0, **headers: str) -> None:
        """A provisional response to the INVITE that it has not answered; with `rseq` a reliable one."""
        if self._invite is None or self._key is None or self.usage.unanswered != self._key:
            return
        response = reply(self._invite, status, to_tag=tag or f"to{self.name}")
        response.headers.add("Contact", self.contact or "")
        if rseq:
            response.headers.add("Require", "100rel")
            response.headers.add("RSeq", str(rseq))
        for name, value in headers.items():
            response.headers.add(name.replace("_", "-"), value)
        if body:
            response.headers.add("Content-Type", "application/sdp")
            response.body = body
        if self.dialog is None:
            self.dialog = uas_dialog(self._invite, response)
        self._layer.respond(self._key, response, self._now)
        self._flush()

    def prack(self, response: Response, rack: str = "", body: bytes = b"") -> None:
        """Acknowledge a reliable provisional response, or what `rack` says."""
        if self.dialog is not None:
            request = self.dialog.make("PRACK", body)
            request.headers.add("RAck", rack or f"{response.headers.get('RSeq')} {response.headers.get('CSeq')}")
            self._layer.request(request, self._towards, self._now)
        self._flush()

    def refer(self, to: str, **headers: str) -> None:
        """to: value of Refer-To."""
        if self.dialog is not None:
            request = self.dialog.make("REFER")
            request.headers.add("Refer-To", to)
            for name, value in headers.items():
                request.headers.add(name.replace("_", "-"), value)
            self._layer.request(request, self._towards, self._now)
        self._flush()

    @property
    def idle(self) -> bool:
        """It has no call, and is not placing one."""
        return self._sent is None or self.usage.ended

    @property
    def replaces(self) -> str:
        """Its dialog, as a Refer-To of another names it."""
        assert self.dialog is not None
        value = f"{self.dialog.call_id};to-tag={self.dialog.remote_tag};from-tag={self.dialog.local_tag}"
        return f"<sip:192.0.2.1?Replaces={quote(value)}>"

    @property
    def notified(self) -> list[str]:
        """Status lines that it was notified of."""
        return [m.body.decode().strip() for m in self.heard if isinstance(m, Request) and m.method == "NOTIFY"]

    def send(self, method: str) -> None:
        self._request(method)
        self._flush()

    # --- the wire ---

    def receive(self, data: bytes) -> None:
        try:
            message = parse(data)
        except ParseError:
            return  # an answer to nonsense of ours repeats the nonsense
        self.heard.append(message)
        if self.deaf:
            return
        self._layer.receive(message, self._towards, self._now)
        self._flush()

    @property
    def statuses(self) -> list[int]:
        """Final statuses of its INVITEs, in order, repetitions left out."""
        found = [m.status for m in self.heard if isinstance(m, Response) and m.cseq.method == "INVITE"]
        return list(dict.fromkeys(status for status in found if status >= 200))

    @property
    def requests(self) -> list[str]:
        return [m.method for m in self.heard if isinstance(m, Request)]

    @property
    def _towards(self) -> Flow:
        return Flow(self.flow.transport, self.flow.remote, self.flow.local, self.flow.connection)

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _token(self) -> str:
        self._tokens += 1
        return f"{self.name}t{self._tokens}"

    def _flush(self) -> None:
        while outputs := self._layer.poll():
            for output in outputs:
                if isinstance(output, Send):
                    self._send(output.data, self.flow)
                else:
                    self._react(output)
        deadlines = [d for d in (self._layer.deadline, self.usage.deadline) if d is not None]
        if self._wake is not None:
            self._wake.cancel()
        self._wake = asyncio.get_running_loop().call_at(min(deadlines), self._tick) if deadlines else None

    def _tick(self) -> None:
        self._layer.tick(self._now)
        self._carry_out(self.usage.tick(self._now))
        self._flush()

    def _react(self, output: Output) -> None:
        match output:
            case RequestArrived(key, request, _) if request.method == "INVITE":
                self._invited(key, request)
            case RequestArrived(key, request, _):
                self._requested(key, request)
            case CancelArrived(key, _) if self.usage.unanswered == key:
                self._respond(487)
                self.log.append("cancelled")
            case AckArrived(request, _):
                self._carry_out(self.usage.acknowledged(request))
            case ResponseArrived(key, response) if key[1] == "INVITE":
                self._response(key, response)
            case RequestFailed(key, why) if key[1] == "INVITE":
                self.usage.failed(key)
                self.log.append(why)

    def _requested(self, key: ServerKey, request: Request) -> None:
        self._layer.respond(key, reply(request, 200), self._now)
        if request.method == "PRACK":
            self.log.append(f"prack {request.headers.get('RAck')}")
        if request.method == "BYE":
            self.log.append("bye")
            if self.usage.unanswered is not None:
                self._respond(487)  # §15.1.2
            self.usage.bye_received()

    # --- as a callee ---

    def _invited(self, key: ServerKey, request: Request) -> None:
        if request.to_tag is None:
            self.usage = InviteUsage(caller=False)
            self.dialog = None
        self.usage.received(key, request)
        self._key, self._invite = key, request
        self._learn(request.body)
        if self.refuse_with:
            self._respond(self.refuse_with)
            return
        if self.ringing:
            self.log.append("rings")
            self._layer.respond(key, reply(request, 180, to_tag="early"), self._now)
        if self.answer_after is not None:
            asyncio.get_running_loop().call_later(self.answer_after, self.answer)

    def _respond(self, status: int) -> None:
        assert self._invite is not None
        assert self._key is not None
        response = reply(self._invite, status, to_tag=f"to{self.name}")
        for name, value in self.extra.items():
            response.headers.add(name, value)
        if status < 300:
            if self.contact is not None:
                response.headers.add("Contact", self.contact)
            response.headers.add("Content-Type", "application/sdp")
            response.body = self.body
            if self.dialog is None and self.contact is not None:
                self.dialog = uas_dialog(self._invite, response)
            self.usage.answered(self._key, response, self._now)
        else:
            self.usage.refused(self._key)
        self._layer.respond(self._key, response, self._now)

    # --- as a caller ---

    def _send_invite(self, request: Request) -> None:
        self._invite = request
        self._sent = self._layer.request(request, self._towards, self._now)
        self.usage.sent(self._sent, request)
        self._flush()

    def _response(self, key: ClientKey, response: Response) -> None:
        heard = self.usage.heard(key, response, self._now)
        if response.status > 100 and heard is not Heard.REPEATED:
            self.log.append(str(response.status))
        if 100 < response.status < 200 and response.headers.get("RSeq") is not None:
            self._reliable(response)
        if heard in (Heard.ANSWERED, Heard.CROSSED):
            self._learn(response.body)
            if self.dialog is None and self._invite is not None:
                self.dialog = uac_dialog(self._invite, response)
            if self.acks:
                self._acknowledge(response)
        elif heard is Heard.REPEATED and self.usage.ack_data:
            self._layer.stateless_send(self.usage.ack_data, self._towards)
        if heard is Heard.CROSSED:
            self._request("BYE")

    def _reliable(self, response: Response) -> None:
        """Once: it is no test of what is repeated to a phone that does acknowledge."""
        if self.dialog is None and self._invite is not None:
            self.dialog = uac_dialog(self._invite, response)
        if self.pracks:
            self._learn(response.body)
            body, self.prack_body = self.prack_body, b""
            self.prack(response, body=body)

    def _acknowledge(self, response: Response) -> None:
        assert self.dialog is not None
        ack = self.dialog.ack(response, None, self.ack_body)
        self.usage.ack_sent(self._layer.ack(ack, self._towards))

    # --- either ---

    def _request(self, method: str) -> None:
        if self.dialog is not None:
            self._layer.request(self.dialog.make(method), self._towards, self._now)

    def _learn(self, body: bytes) -> None:
        for line in body.decode().split("\r\n"):
            if line.startswith("m=audio "):
                self.remote_rtp = int(line.split()[1])

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendAgain(key, response):
                    self._layer.respond(key, response, self._now)
                case AckMissing() | SendBye():
                    self._request("BYE")
                case _:
                    pass
