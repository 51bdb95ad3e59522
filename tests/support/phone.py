"""The smallest user agent over TransactionLayer, Dialog and InviteUsage: for tests of whole dialogs on a Link."""

from engine.sip.dialog import Dialog, uac_dialog, uas_dialog
from engine.sip.invite import (
    AckMissing,
    Acknowledged,
    Action,
    Hangup,
    Heard,
    InviteAgain,
    InviteUsage,
    SendAgain,
    SendBye,
)
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.transactions import (
    AckArrived,
    CancelArrived,
    ClientKey,
    Output,
    RequestArrived,
    RequestFailed,
    ResponseArrived,
    ServerKey,
)
from tests.support.link import Peer

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"


class Phone:
    """log: what its user would notice, in order."""

    def __init__(self, peer: Peer, *, caller: bool) -> None:
        self.peer = peer
        self.usage = InviteUsage(caller=caller)
        self.dialog: Dialog | None = None
        self.log: list[str] = []
        self.contact = f"<sip:{peer.name}@{peer.address[0]}:{peer.address[1]}>"
        self.key: ServerKey | None = None
        self.first: ServerKey | None = None
        self.request: Request | None = None
        self.sent: ClientKey | None = None
        self.invite: Request | None = None
        self.answer_invites = True
        self.retry = False
        peer.react = self.react
        peer.deadline = lambda: self.usage.deadline
        peer.tick = self.tick

    def call(self) -> None:
        """Send the first INVITE."""
        items = [("Max-Forwards", "70"), ("From", f"<sip:{self.peer.name}@example.net>;tag=t{self.peer.name}")]
        items += [("To", "<sip:1001@example.net>"), ("Call-ID", "one-call"), ("CSeq", "1 INVITE")]
        items += [("Contact", self.contact), ("Content-Type", "application/sdp")]
        self._invite(Request("INVITE", "sip:1001@192.0.2.2", Headers(items), SDP))

    def reinvite(self) -> None:
        if self.usage.may_invite and self.dialog is not None:
            self._invite(self.dialog.make("INVITE", SDP))

    def ring(self) -> None:
        if self.key is not None and self.usage.unanswered == self.key:
            response = self._respond(180)
            self.usage.provisional(self.key, response, self.peer.link.now)

    def answer(self) -> None:
        if self.key is not None and self.usage.unanswered == self.key:
            response = self._respond(200)
            self.usage.answered(self.key, response, self.peer.link.now)
            self.log.append("answered")

    def hang_up(self) -> None:
        how = self.usage.hangup()
        self.log.append(f"hangup {how.name}")
        if how is Hangup.BYE:
            self._bye()
        elif how is Hangup.REJECT and self.key is not None:
            self._respond(486)
            self.usage.refused(self.key)
        elif how is Hangup.CANCEL and self.sent is not None:
            self.peer.layer.cancel(self.sent, self.peer.link.now)

    def tick(self, now: float) -> None:
        self._carry_out(self.usage.tick(now))

    def react(self, output: Output) -> None:
        match output:
            case RequestArrived(key, request, _) if request.method == "INVITE":
                self._invite_arrived(key, request)
            case RequestArrived(key, request, _):
                self._request_arrived(key, request)
            case CancelArrived(key, _) if self.usage.unanswered == key:
                self._respond(487)
                self.usage.refused(key)
                self.log.append("cancelled")
            case AckArrived(request, _):
                self._carry_out(self.usage.acknowledged(request))
            case ResponseArrived(key, response) if key[1] == "INVITE":
                self._response_arrived(key, response)
            case RequestFailed(key, why) if key[1] == "INVITE":
                self.log.append(f"{self.usage.failed(key).name} {why}")

    def _invite(self, request: Request) -> None:
        self.invite = request
        self.sent = self.peer.layer.request(request, self.peer.flow, self.peer.link.now)
        self.usage.sent(self.sent, request)

    def _invite_arrived(self, key: ServerKey, request: Request) -> None:
        now = self.peer.link.now
        if self.dialog is not None and (status := self.dialog.check(request)) is not None:
            self.peer.layer.respond(key, reply(request, status), now)
            return
        refusal = self.usage.received(key, request)
        if refusal is not None:
            self.log.append(f"refused {refusal.status}")
            self.peer.layer.respond(key, reply(request, refusal.status), now)
            return
        self.key, self.request = key, request
        self.first = self.first or key
        if self.usage.confirmed and self.answer_invites:
            self.answer()

    def _request_arrived(self, key: ServerKey, request: Request) -> None:
        if self.dialog is None or self.usage.ended:
            self.peer.layer.respond(key, reply(request, 481, to_tag="none"), self.peer.link.now)
            return
        self.dialog.check(request)
        waiting = self.usage.bye_received()
        self.peer.layer.respond(key, reply(request, 200), self.peer.link.now)
        self.log.append("bye")
        if waiting is not None:
            self._respond(487)

    def _response_arrived(self, key: ClientKey, response: Response) -> None:
        heard = self.usage.heard(key, response, self.peer.link.now)
        if response.status != 100:
            self.log.append(f"{response.status} {heard.name}")
        if heard in (Heard.ANSWERED, Heard.CROSSED):
            self._acknowledge(response)
        elif heard is Heard.REPEATED:
            self.peer.layer.stateless_send(self.usage.ack_data, self.peer.flow)
        elif heard is Heard.GONE:
            self._bye()
        if heard is Heard.CROSSED:
            self._bye()

    def _acknowledge(self, response: Response) -> None:
        assert self.invite is not None
        if self.dialog is None:
            self.dialog = uac_dialog(self.invite, response)
        else:
            self.dialog.confirm(response)
        self.usage.ack_sent(self.peer.layer.ack(self.dialog.ack(response, self.invite), self.peer.flow))

    def _respond(self, status: int) -> Response:
        assert self.request is not None
        assert self.key is not None
        response = reply(self.request, status, to_tag=f"t{self.peer.name}")
        if 100 < status < 300:
            response.headers.add("Contact", self.contact)
            response.body = SDP if status == 200 else b""
            if self.dialog is None:
                self.dialog = uas_dialog(self.request, response)
        self.peer.layer.respond(self.key, response, self.peer.link.now)
        return response

    def _bye(self) -> None:
        assert self.dialog is not None
        self.peer.layer.request(self.dialog.make("BYE"), self.peer.flow, self.peer.link.now)

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendAgain(key, response):
                    self.peer.layer.respond(key, response, self.peer.link.now)
                case Acknowledged():
                    self.log.append("acked")
                case AckMissing():
                    self.log.append("no ack")
                    self._bye()
                case SendBye():
                    self._bye()
                case InviteAgain() if self.retry:
                    self.reinvite()
