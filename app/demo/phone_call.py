"""One call of a simulated phone: its INVITE usage, its dialog and its audio. People see `Line` of people.py."""

import asyncio
from typing import TYPE_CHECKING, Final

from app.demo.stream import Stream, Voice
from engine.media.plane import Codec, Direction
from engine.sdp.describe import Description, SdpError, parse
from engine.sdp.offer_answer import LocalMedia, NotAcceptable, accept, answer, offer
from engine.sip.dialog import Dialog, uac_dialog, uas_dialog
from engine.sip.grammar import BadHeader
from engine.sip.invite import AckMissing, Action, Hangup, Heard, InviteUsage, SendAgain, SendBye
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.transactions import ClientKey, ServerKey

if TYPE_CHECKING:
    from app.demo.phone import Phone

SDP_TYPE: Final = "application/sdp"


class PhoneCall:
    """Made by Phone. answered: final status of our INVITE. ended: here | there | refused."""

    def __init__(self, phone: "Phone", voice: Voice, codecs: tuple[Codec, ...], *, caller: bool) -> None:
        loop = asyncio.get_running_loop()
        self._phone = phone
        self._voice = voice
        self._codecs = codecs
        self.usage = InviteUsage(caller=caller)
        self.answered: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        self.number = ""
        """Who calls us, as our display would show it."""
        self.display = ""
        self._tag = phone.ids.token()
        self._dialog: Dialog | None = None
        self._stream: Stream | None = None
        self._local: LocalMedia | None = None
        self._session = phone.chance.getrandbits(31)
        self._version = 0
        self._ours: Description | None = None
        """Our latest description, which a re-offer repeats."""
        self._invite: Request | None = None
        self.invites: list[ClientKey] = []
        """Of all our INVITEs, the latest last."""
        self._reinvited: asyncio.Future[bool] | None = None
        self._request: Request | None = None
        """Their INVITE that rings."""
        self._request_key: ServerKey | None = None

    # --- what people do -------------------------------------------------------------------------------------------

    async def answer(self) -> None:
        """Take the call that rings; nothing when it does not any more."""
        if self._request is not None and self._request_key is not None and not self.ended.done():
            self._accept(self._request_key, self._request)

    def decline(self, status: int = 486) -> None:
        if self._request is not None and self._request_key is not None:
            self._phone.respond(self._request_key, self._reply(self._request, status))
            self.usage.refused(self._request_key)
            self.finish("here")

    def hangup(self) -> None:
        """However far the call has come. `ended` follows, at once or when the far end has agreed."""
        match self.usage.hangup():
            case Hangup.BYE:
                self._bye()
            case Hangup.REJECT:
                self.decline()
            case Hangup.CANCEL:
                self._phone.cancel(self.invites[-1])

    def press(self, digit: str) -> bool:
        return self._stream is not None and self._stream.press(digit)

    def speak(self, on: bool) -> None:
        if self._stream is not None:
            self._stream.speak(on)

    async def hold(self, on: bool) -> bool:
        """Hold or resume by re-INVITE (RFC 3264 §8.4); False when that is not possible now or the far end refuses."""
        if not self.usage.may_invite or self._dialog is None or self._local is None:
            return False
        direction = Direction.SENDONLY if on else Direction.SENDRECV
        self._invite = self._dialog.make("INVITE", self._offer(direction))
        self._reinvited = asyncio.get_running_loop().create_future()
        self._send_invite(self._invite)
        return await self._reinvited

    # --- calling --------------------------------------------------------------------------------------------------

    def dial(self, number: str, sender: str) -> None:
        """Send the INVITE. sender: our name-addr. Raises OSError when there is no port for the audio."""
        phone = self._phone
        self._open_stream()
        headers = [
            ("Max-Forwards", "70"),
            ("From", f"{sender};tag={self._tag}"),
            ("To", f"<sip:{number}@{phone.domain}>"),
            ("Call-ID", phone.ids.token(100)),
            ("CSeq", "1 INVITE"),
            ("Contact", phone.contact),
            ("User-Agent", phone.agent),
            ("Content-Type", SDP_TYPE),
        ]
        self._invite = Request("INVITE", f"sip:{number}@{phone.domain}", Headers(headers), self._offer())
        self._send_invite(self._invite)

    def _send_invite(self, request: Request) -> None:
        self.invites.append(self._phone.send(request, self._response, self._failed))
        self.usage.sent(self.invites[-1], request)

    def _response(self, key: ClientKey, response: Response) -> None:
        match self.usage.heard(key, response, self._phone.now(), self._phone.chance.random()):
            case Heard.ANSWERED:
                self._taken(response)
            case Heard.CROSSED:
                self._acknowledge(response)
                self._bye()
            case Heard.REPEATED:
                self._phone.send_again(self.usage.ack_data)
            case Heard.REFUSED:
                self._refused(response)
            case Heard.GLARE:
                self._reinvite_done(False)
            case Heard.GONE:
                self._bye()

    def _failed(self, key: ClientKey, why: str) -> None:
        match self.usage.failed(key):
            case Heard.REFUSED:
                self._settle(503 if why == "transport" else 408)
            case Heard.GONE:
                self._bye()

    def _refused(self, response: Response) -> None:
        if self.usage.confirmed:
            self._reinvite_done(False)
            return
        assert self._invite is not None
        again = self._phone.authorized(self._invite, response)
        if again is None:
            self._settle(response.status)
        else:
            self._invite = again
            self._send_invite(again)

    def _taken(self, response: Response) -> None:
        """2xx to our INVITE or re-INVITE."""
        self._acknowledge(response)
        assert self._local is not None
        try:
            remote = accept(self._local, parse(response.body), self._ours)
        except (SdpError, NotAcceptable):
            self._reinvite_done(False)
            self.hangup()
            return
        assert self._stream is not None
        self._stream.connect(remote)
        self._reinvite_done(True)
        if not self.answered.done():
            self.answered.set_result(response.status)

    def _acknowledge(self, response: Response) -> None:
        assert self._invite is not None
        if self._dialog is None:
            self._dialog = uac_dialog(self._invite, response)
            self._phone.dialogs[self._dialog.id] = self
        else:
            self._dialog.confirm(response)
        self.usage.ack_sent(self._phone.ack(self._dialog.ack(response, self._invite)))

    # --- being called ---------------------------------------------------------------------------------------------

    def ring(self, key: ServerKey, request: Request) -> bool:
        """Their first INVITE: say 180; False when it was refused."""
        self.usage.received(key, request)
        self._request_key, self._request = key, request
        self.number, self.display = request.from_.uri.username, request.from_.display
        ringing = self._reply(request, 180)
        try:
            self._dialog = uas_dialog(request, ringing)
        except BadHeader:
            self.decline(400)
            return False
        self._phone.dialogs[self._dialog.id] = self
        self._phone.respond(key, ringing)
        self.usage.provisional(key, ringing, self._phone.now())
        return True

    def _accept(self, key: ServerKey, request: Request) -> None:
        """200 with an answer, to an INVITE or a re-INVITE."""
        self._open_stream()
        assert self._local is not None
        assert self._stream is not None
        try:
            answered = answer(parse(request.body), self._local, self._session, self._version)
        except (SdpError, NotAcceptable):
            self._phone.respond(key, self._reply(request, 488))
            self.usage.refused(key)
            if self.usage.ended:
                self.finish("here")
            return
        self._version += 1
        self._ours = parse(answered.body)
        if answered.remote is not None:
            self._stream.connect(answered.remote)
        response = self._reply(request, 200)
        response.headers.add("Content-Type", SDP_TYPE)
        response.body = answered.body
        self._request = self._request_key = None
        self._phone.respond(key, response)
        self.usage.answered(key, response, self._phone.now())

    def cancelled(self) -> None:
        self.decline(487)

    def acked(self, request: Request) -> None:
        self._carry_out(self.usage.acknowledged(request))

    def request(self, key: ServerKey, request: Request) -> None:
        """A request of the far end within our dialog."""
        assert self._dialog is not None
        status = self._dialog.check(request)
        if status is not None:
            self._phone.respond(key, self._reply(request, status))
        elif request.method == "INVITE":
            self._reinvite(key, request)
        elif request.method == "BYE":
            waiting = self.usage.bye_received()
            self._phone.respond(key, self._reply(request, 200))
            if waiting is not None and self._request is not None:
                self._phone.respond(waiting, self._reply(self._request, 487))
            self.finish("there")
        else:
            self._phone.respond(key, self._reply(request, 200 if request.method in ("INFO", "OPTIONS") else 405))

    def _reinvite(self, key: ServerKey, request: Request) -> None:
        refusal = self.usage.received(key, request, self._phone.chance.random())
        if refusal is not None:
            self._phone.respond(key, self._reply(request, refusal.status))
            return
        assert self._dialog is not None
        self._dialog.target_refresh(request)
        self._accept(key, request)

    # --- both -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        self._carry_out(self.usage.tick(now))

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendAgain(key, response):
                    self._phone.respond(key, response)
                case AckMissing() | SendBye():
                    self._bye()

    def _bye(self) -> None:
        assert self._dialog is not None
        self._phone.send(self._dialog.make("BYE"))
        self.finish("here")

    def _settle(self, status: int) -> None:
        """Our INVITE was refused, or given up."""
        if not self.answered.done():
            self.answered.set_result(status)
        self.finish("refused")

    def finish(self, how: str) -> None:
        """Free everything. May be called again."""
        if self.ended.done():
            return
        self.ended.set_result(how)
        if not self.answered.done():
            self.answered.set_result(487)
        self._reinvite_done(False)
        if self._stream is not None:
            self._phone.studio.remove(self._stream)
        self._phone.forget(self, self._dialog)

    def _reinvite_done(self, done: bool) -> None:
        if self._reinvited is not None and not self._reinvited.done():
            self._reinvited.set_result(done)

    def _reply(self, request: Request, status: int) -> Response:
        response = reply(request, status, to_tag=self._tag)
        if status < 300:
            response.headers.add("Contact", self._phone.contact)
            response.headers.add("User-Agent", self._phone.agent)
        return response

    def _open_stream(self) -> None:
        if self._stream is None:
            host = self._phone.local[0]
            self._stream = Stream(host, self._voice, self._phone.chance)
            self._phone.studio.add(self._stream)
            self._local = LocalMedia(host, self._stream.port, self._codecs)

    def _offer(self, direction: Direction = Direction.SENDRECV) -> bytes:
        assert self._local is not None
        self._version += 1
        local = LocalMedia(self._local.host, self._local.port, self._codecs, direction=direction)
        body = offer(local, self._session, self._version, self._ours)
        self._local, self._ours = local, parse(body)
        return body
