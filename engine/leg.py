"""A leg: one dialog and one media port. This file holds what the caller's and a phone's leg share: in-dialog requests,
media, and the one way in which a leg ends. `caller_leg.py` answers an INVITE, `outbound_leg.py` sends one.
"""

import asyncio
from typing import TYPE_CHECKING
from zlib import crc32

import structlog

from engine.info import digit_info, info_digit
from engine.leg_listener import DEAF, LegListener
from engine.line import ALLOW, SERVER, SUPPORTED, Line, ResponseHandler
from engine.listening import media_report
from engine.media.plane import (
    Dtmf,
    MediaEvent,
    Plane,
    PlaneError,
    PlayDone,
    PortClosed,
    PortId,
    RecordingDone,
    RtpTimeout,
)
from engine.media.profile import USUAL, MediaProfile
from engine.moving import Moving
from engine.proof import Proof
from engine.refresh import Reinvite, Session
from engine.renegotiation import SDP_TYPE, body_of, describe, reinvited, updated
from engine.saved import LegState, MovingState, message_without_keys
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip.dialog import Dialog
from engine.sip.flow import Flow
from engine.sip.grammar import BadHeader
from engine.sip.invite import (
    AckMissing,
    Acknowledged,
    Action,
    Hangup,
    InviteAgain,
    InviteUsage,
    SendAgain,
    SendBye,
)
from engine.sip.message import Request, Response, reply
from engine.sip.parse import parse_request
from engine.sip.transactions import ClientKey, ServerKey
from engine.stream import Stream
from engine.trunks.credentials import Credentials
from events.types import EndedBy, LegAnswered, LegDialled, LegEnded
from kernel.ids import CallId, LegId

if TYPE_CHECKING:
    from engine.transfer import LiveTransfer

log = structlog.get_logger()


class SipLeg(ResponseHandler):
    """peer: who sits at the far end, as `ended_by` will name it. profile: what its trunk is known to take."""

    def __init__(
        self,
        line: Line,
        plane: Plane,
        call: CallId,
        leg_id: LegId,
        flow: Flow,
        peer: EndedBy,
        profile: MediaProfile = USUAL,
    ) -> None:
        self.line = line
        self.call = call
        self._id = leg_id
        self._flow = flow
        self._peer = peer
        self._sips = False  # the peer asks for a SIPS URI in our Contact
        self._tag = line.ids.token()
        self.stream = Stream(plane, profile, line.settings.codecs, crc32(self._tag.encode()))
        self.phone = ""
        """User of the registered phone of ours that it leads to; "" for a trunk. Whoever makes the leg says so."""
        self.credentials: Credentials | None = None
        """By which a challenge of the trunk is answered; whoever makes the leg gives them."""
        self.listener: LegListener = DEAF
        self.dialog: Dialog | None = None
        self.usage = InviteUsage(caller=peer is EndedBy.AGENT)
        self.session = Session(self)
        self.moving: Moving | None = None
        """Set while its media is on the way to another port."""
        self.moving_before: MovingState | None = None
        """How a process before this one had it on the way."""
        self._timer: asyncio.TimerHandle | None = None
        self._requests: list[tuple[ClientKey, Flow]] = []  # BYE, NOTIFY, re-INVITE: a successor sees them through
        self.subscribed: set[str] = set()
        """Event headers of the REFERs that wait for their final NOTIFY."""
        self._referrals = 0
        self._referred = 0  # CSeq number of the latest REFER that was taken up
        self.answered = False
        self.answered_at = 0.0
        self.sip_status = 0
        self.known = True
        """The log has heard of it: it must hear of its end."""
        self.ended: asyncio.Future[EndedBy] = asyncio.get_running_loop().create_future()
        """Never await it bare: a cancelled wait would cancel it, and the leg could not end any more."""

    # --- for calls --------------------------------------------------------------------------------------------

    @property
    def id(self) -> LegId:
        return self._id

    @property
    def kind(self) -> str:
        """Who is at its far end: caller | phone (one of ours, that we rang) | telephone (through a trunk)."""
        if self._peer is EndedBy.CALLER:
            return "caller"
        return "phone" if self.phone else "telephone"

    @property
    def plane(self) -> Plane:
        return self.stream.plane

    @property
    def port(self) -> PortId:
        """Only while `has_media`."""
        return self.stream.port

    @property
    def has_media(self) -> bool:
        """There is a port that takes commands."""
        return self.stream.usable

    @property
    def flow(self) -> Flow:
        """By which its latest message came."""
        return self._flow

    @property
    def contact(self) -> str:
        """Our Contact towards the peer."""
        return self.line.contact(self._flow, secure=self._sips)

    @property
    def codec(self) -> str:
        return self.stream.remote.codec.value if self.stream.remote else ""

    @property
    def held(self) -> bool:
        """The far end has put us on hold."""
        return self.stream.held

    def hangup(self, reason: str = "") -> None:
        """End it from our side, whatever its state, and free its media. May be repeated."""
        if self.ended.done():
            return
        match self.usage.hangup():
            case Hangup.BYE:
                self._bye()
            case Hangup.CANCEL:
                self._cancel()
            case Hangup.REJECT:
                self.reject(480, reason)
            case _:
                pass  # WAIT: the BYE follows the ACK
        self.finish(EndedBy.SYSTEM, reason or "bye")
        self._arm()

    def send_key(self, digit: str) -> None:
        """Press a key at the far end: an RFC 4733 event, or INFO where those are not spoken."""
        if not self.has_media:
            return
        if self.stream.dtmf:
            self.plane.send_dtmf(self.port, digit)
        else:
            self.send_in_dialog("INFO", ResponseHandler(), *digit_info(digit))

    async def wait_ended(self) -> None:
        await asyncio.wait([self.ended])

    def reject(self, sip_status: int, reason: str) -> None:
        """Refuse the peer's INVITE. Only a caller's leg can."""

    def hear_again(self) -> None:
        """Let what it sends before its answer be heard through its present port. Only a phone's leg does."""

    def move(self, call: CallId, leg_id: LegId) -> None:
        """Go over to another call, as its agent. The log sees a leg end in the one and another, answered, in the
        other."""
        now = self.line.clock.monotonic()
        self._tell_end(EndedBy.SYSTEM, "transferred")
        self._peer = EndedBy.AGENT
        self.call, self._id, self.answered_at = call, leg_id, now
        self.touch()
        assert self.dialog is not None
        target, sip_call_id = self.dialog.remote_target, self.dialog.call_id
        self.line.emit(LegDialled(call=call, leg=leg_id, target=target, ring_for=0.0, sip_call_id=sip_call_id))
        self.line.emit(LegAnswered(call=call, leg=leg_id, codec=self.codec, rang=0.0))

    # --- the end ------------------------------------------------------------------------------------------------

    def _cancel(self) -> None:
        """Withdraw our INVITE. Only a phone's leg has one."""

    def finish(self, by: EndedBy, reason: str) -> None:
        """The one place where a leg ends."""
        if self.ended.done():
            return
        self.ended.set_result(by)
        self.touch()
        if self.known:
            self._tell_end(by, reason)
        self.session.stop()
        self._withdraw()
        had_none = not self.stream.present
        self.stream.release()
        if self.moving is not None:
            self.moving.stop()
        if had_none:
            self._report_media()  # gone with its media process
        self.listener.leg_ended(self, by, reason)

    def _withdraw(self) -> None:
        """A re-INVITE of ours must have its end: a peer may say 100, or ring, and then nothing."""
        for key, _ in self._requests:
            if key[1] == "INVITE" and self.line.layer.pending(key):
                self.line.layer.cancel(key, self.line.clock.monotonic())
                self.line.pump()

    def _tell_end(self, by: EndedBy, reason: str) -> None:
        talked = self.line.clock.monotonic() - self.answered_at if self.answered else 0.0
        self.line.emit(
            LegEnded(
                call=self.call,
                leg=self._id,
                sip_status=self.sip_status,
                ended_by=by,
                reason=reason,
                talked=round(talked, 3),
            )
        )

    def _bye(self) -> None:
        if self.dialog is not None:
            self.send_in_dialog("BYE", SeenThrough(self))

    def send_in_dialog(
        self,
        method: str,
        handler: ResponseHandler,
        body: bytes = b"",
        kind: str = SDP_TYPE,
        more: tuple[tuple[str, str], ...] = (),
        dialog: Dialog | None = None,
    ) -> tuple[ClientKey, Request] | None:
        """more: headers besides those of the dialog. dialog: an early one. Returns what was sent; None when it leads
        nowhere."""
        dialog = dialog or self.dialog
        assert dialog is not None
        try:
            request = dialog.make(method, body, kind)
            flow = self.line.flow_of(dialog, self._flow)
        except BadHeader as error:
            log.warning("unroutable dialog", leg=self._id, error=str(error))
            return None
        request.headers.add("User-Agent", SERVER)
        for name, value in more:
            request.headers.add(name, value)
        if method != "INVITE":
            handler = self._proving(dialog, request, handler)
        key = self.line.send_request(request, flow, handler)
        self.under_way(key, flow)
        return key, request

    def under_way(self, key: ClientKey, flow: Flow) -> None:
        """A request in the dialog is out: a successor of this process sees it through, if it matters."""
        if key[1] in ("BYE", "INVITE", "NOTIFY"):
            self._requests.append((key, flow))
        self.touch()

    def _proving(self, dialog: Dialog, request: Request, handler: ResponseHandler) -> ResponseHandler:
        return handler if self.credentials is None else Proof(self, dialog, request, handler)

    # --- requests of the peer in this dialog --------------------------------------------------------------------

    def request(self, key: ServerKey, request: Request, flow: Flow) -> None:
        """A request in the dialog. Always answered."""
        assert self.dialog is not None
        refusal = self.dialog.check(request)
        if refusal is None and self.ended.done() and request.method not in ("BYE", "PRACK"):
            refusal = 481  # we hung up before the ACK: the dialog lives only for our BYE
        if refusal is not None:
            self._respond(key, reply(request, refusal))
            return
        self._flow = flow  # a phone that came back on a new connection, or through another binding of its NAT
        self.touch()
        handlers = {
            "BYE": self._byed,
            "INVITE": self._reinvite,
            "INFO": self._info,
            "PRACK": self._prack,
            "UPDATE": self._update,
            "REFER": self._refer,
        }
        handlers.get(request.method, self._other)(key, request)

    def _byed(self, key: ServerKey, request: Request) -> None:
        self._respond(key, reply(request, 200))
        self._over(self._peer, "bye")

    def _other(self, key: ServerKey, request: Request) -> None:
        response = reply(request, 200 if request.method == "OPTIONS" else 405)
        response.headers.add("Allow", ALLOW)
        self._respond(key, response)

    def acked(self, request: Request) -> None:
        """An ACK to one of our 2xx."""
        self._act(self.usage.acknowledged(request), request)

    def _over(self, by: EndedBy, reason: str) -> None:
        """The peer ended it."""
        self.usage.bye_received()
        self.finish(by, reason)
        self._arm()

    def _reinvite(self, key: ServerKey, request: Request) -> None:
        reinvited(self, key, request)

    def _update(self, key: ServerKey, request: Request) -> None:
        assert self.dialog is not None
        refusal = self.usage.updated(offers=bool(request.body), chance=self.line.chance())
        updated(self, key, request, self.dialog, refusal)

    def _prack(self, key: ServerKey, request: Request) -> None:
        """None of our responses waits for it, unless it is a caller's leg (RFC 3262 §3)."""
        self._respond(key, reply(request, 481))

    # --- re-INVITEs of our own --------------------------------------------------------------------------------------

    def reinvite(
        self, handler: ResponseHandler, offer: bytes, more: tuple[tuple[str, str], ...]
    ) -> tuple[ClientKey, Request] | None:
        """Only while `usage.may_invite`. None: it leads nowhere."""
        sent = self.send_in_dialog("INVITE", handler, offer, SDP_TYPE, more)
        if sent is not None:
            self.usage.sent(*sent)
        return sent

    def reinvite_again(self, request: Request, handler: ResponseHandler) -> ClientKey:
        """A re-INVITE that was challenged, with its credentials."""
        assert self.dialog is not None
        flow = self.line.flow_of(self.dialog, self._flow)
        key = self.line.send_request(request, flow, handler)
        self.under_way(key, flow)
        self.usage.sent(key, request)
        return key

    def acknowledge_again(self, response: Response, invite: Request | None) -> None:
        """ACK a 2xx to a re-INVITE."""
        assert self.dialog is not None
        self.dialog.target_refresh(response)
        ack = self.dialog.ack(response, invite)
        flow = self.line.flow_of(self.dialog, self._flow)
        self.usage.ack_sent(self.line.layer.ack(ack, flow, self.line.sent_by(flow)))
        self.line.pump()

    def ack_again(self) -> None:
        if self.dialog is not None and self.usage.ack_data:
            self.line.layer.stateless_send(self.usage.ack_data, self.line.flow_of(self.dialog, self._flow))
            self.line.pump()

    def gone(self, reason: str) -> None:
        """The peer has lost the dialog (§12.2.1.2)."""
        self._bye()
        self.finish(EndedBy.SYSTEM, reason)
        self._arm()

    def rearm(self) -> None:
        self._arm()

    def respond_2xx(self, key: ServerKey, request: Request, body: bytes) -> Response:
        response = reply(request, 200, to_tag=self._tag)
        headers = response.headers
        headers.add("Contact", self.contact)
        headers.add("Allow", ALLOW)
        headers.add("Server", SERVER)
        headers.add("Supported", SUPPORTED)
        describe(response, body)
        self.session.answer(request, response)
        self.usage.answered(key, response, self.line.clock.monotonic())
        self._respond(key, response)
        self._arm()
        return response

    # --- time -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Wait for the usage's next deadline; forget the dialog once nothing more can come of it."""
        self.touch()
        if self.moving is not None:
            self.moving.go_on()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._tick)
        elif self.ended.done() and self.usage.ended:
            self._forget_dialog()

    def _deadline(self) -> float | None:
        return self.usage.deadline

    def _forget_dialog(self) -> None:
        """Nothing more is to be said or heard in it."""
        if self.dialog is not None:
            self.line.dialogs.pop(self.dialog.id, None)

    def _tick(self) -> None:
        self._timer = None
        self._act(self.usage.tick(self.line.clock.monotonic()), None)

    def _act(self, actions: list[Action], ack: Request | None) -> None:
        for action in actions:
            match action:
                case SendAgain():
                    self.line.layer.retransmissions_sent += 1
                    self._respond(action.key, action.response)
                case Acknowledged():
                    self._acknowledged(ack, answer_due=action.answer_due)
                case AckMissing():
                    self._bye()
                    self.finish(EndedBy.SYSTEM, "ack_missing")
                case SendBye():
                    self._bye()
                case InviteAgain() if self.moving is None:  # else `_arm` lets that go on
                    self.session.refresh()
                case InviteAgain():
                    pass
        self._arm()

    def _acknowledged(self, ack: Request | None, *, answer_due: bool) -> None:
        if not answer_due or ack is None or self.ended.done():
            return
        held = self.held
        try:
            self.stream.accept(body_of(ack))
        except (SdpError, NotAcceptable) as error:
            log.info("no usable answer in ACK", leg=self._id, error=str(error))
            self.hangup("no_answer_sdp")
            return
        self.held_before(held)

    def rekey(self) -> None:
        """The peer has answered keys of a process before this one: it gets new ones, at once."""
        if self.stream.unkeyed and self.usage.may_invite and self.moving is None and not self.ended.done():
            Reinvite(self).send(self.stream.offer())

    def held_before(self, held: bool) -> None:
        """Tell of a change that a re-INVITE brought."""
        if self.held != held:
            self.listener.leg_hold(self, held=self.held)

    def _info(self, key: ServerKey, request: Request) -> None:
        digit = info_digit(request)
        if digit is None:
            self._respond(key, reply(request, 415 if request.body else 200))
            return
        self._respond(key, reply(request, 200))
        self.listener.leg_digit(self, digit, "info")

    def _refer(self, key: ServerKey, request: Request) -> None:
        """§2.4.2 of RFC 3515: 202, and how it goes by NOTIFY. A retransmission of one that a process before this one
        has taken up gets its answer; how that ended is told."""
        number = request.cseq.number
        begun: LiveTransfer | int | None = None
        if number != self._referred:
            self._referrals += 1
            event = "refer" if self._referrals == 1 else f"refer;id={number}"
            begun = self.listener.leg_refers(self, request, event)
        if isinstance(begun, int):
            self._respond(key, reply(request, begun))
            return
        self._referred = number
        response = reply(request, 202)
        response.headers.add("Contact", self.line.contact(self._flow))
        if request.headers.get("Refer-Sub") is not None:
            response.headers.add("Refer-Sub", request.headers.get("Refer-Sub") or "")
        self._respond(key, response)
        if begun is not None:
            begun.begin()

    def _respond(self, key: ServerKey, response: Response) -> None:
        self.line.respond(key, response)

    # --- another process ------------------------------------------------------------------------------------------

    @property
    def tag(self) -> str:
        """Of this leg only, for all its life."""
        return self._tag

    def touch(self) -> None:
        """It is to be saved at the end of this turn of the loop."""
        self.line.touched.add(self)

    @property
    def spent(self) -> bool:
        """Nothing more can come of it."""
        self._requests = [(key, flow) for key, flow in self._requests if self.line.layer.pending(key)]
        busy = self.stream.present or self._deadline() is not None or bool(self._requests)
        return self.ended.done() and not busy

    def state(self) -> LegState:
        """For `restore`."""
        pending = [(key, self.line.layer.pending(key), flow) for key, flow in self._requests]
        usage = self.usage.state()
        for entry in usage.unacknowledged:
            entry.response = message_without_keys(entry.response)
        if usage.provisional is not None:
            usage.provisional = usage.provisional[0], message_without_keys(usage.provisional[1])
        return LegState(
            id=self._id,
            call=self.call,
            tag=self._tag,
            flow=self._flow,
            peer=self._peer,
            usage=usage,
            stream=self.stream.state(),
            session=self.session.state(),
            moving=self.moving.state() if self.moving is not None else None,
            sips=self._sips,
            phone=self.phone,
            referrals=self._referrals,
            referred=self._referred,
            subscribed=sorted(self.subscribed),
            answered=self.answered,
            answered_at=self.answered_at,
            sip_status=self.sip_status,
            known=self.known,
            ended=self.ended.result() if self.ended.done() else None,
            dialog=self.dialog,
            requests=[(key, message_without_keys(data), flow) for key, data, flow in pending if data],
        )

    def restore(self, state: LegState) -> None:
        """Be what `state` was taken from; what was under way in the dialog goes on. Raises ParseError when a message
        in it is none."""
        self._tag, self._sips, self.phone, self._referrals = state.tag, state.sips, state.phone, state.referrals
        self._referred, self.subscribed = state.referred, set(state.subscribed)
        self.answered, self.answered_at, self.sip_status = state.answered, state.answered_at, state.sip_status
        self.known, self.dialog, self.moving_before = state.known, state.dialog, state.moving
        self.usage.restore(state.usage)
        self.stream.restore(self.line, state.stream)
        if state.ended is not None:
            self.ended.set_result(state.ended)
        else:
            self.session.restore(state.session)
        if self.dialog is not None:
            self.line.dialogs[self.dialog.id] = self
        if self.stream.present:
            self.line.ports[self.plane, self.port] = self
        for unacknowledged in state.usage.unacknowledged:
            if not unacknowledged.first:
                self.line.layer.adopt_accepted(unacknowledged.key, self._flow, self.line.clock.monotonic())
        for _, data, flow in state.requests:
            self._see_through(data, flow)
        if self.ended.done():
            self._withdraw()
        self._arm()

    def _see_through(self, data: bytes, flow: Flow) -> None:
        request = parse_request(data)
        key = self.line.layer.adopt_request(request, flow, self.line.clock.monotonic())
        if request.method == "INVITE":
            again = Reinvite(self)
            again.adopt(key, request)
            self.line.clients[key] = again
        else:
            assert self.dialog is not None
            self.line.clients[key] = self._proving(self.dialog, request, SeenThrough(self))
        self._requests.append((key, flow))

    # --- media ----------------------------------------------------------------------------------------------------

    def media_event(self, plane: Plane, event: MediaEvent) -> None:
        """What a plane says of our port, or of one that we have left."""
        match event:
            case Dtmf():
                self.listener.leg_digit(self, event.digit, event.via)
            case PlayDone():
                self.listener.leg_play_done(self, event)
            case RecordingDone():
                self.listener.leg_recording_done(event)
            case RtpTimeout() if self.stream.is_at(plane, event.port):
                self.listener.leg_rtp_timeout(self, event.silent_for)
            case PortClosed():
                self.touch()
                if self.stream.closed(plane, event.port, event.stats):
                    self._report_media()
                    self.listener.leg_media_closed(self)

    def lose_media(self, plane: Plane) -> bool:
        """A media process died, at which we have or had a port. True: nothing is left of our audio, and `moving` waits
        for another plane."""
        lost = self.stream.lost(plane)
        self.touch()
        self.listener.leg_media_lost(self, plane)
        if self.ended.done():
            if not self.stream.present:
                self._report_media()
                self.listener.leg_media_closed(self)
            return False
        if lost:
            began = self.moving
            self.moving = Moving.from_plane(self, plane, lost=True)
            if began is not None:
                began.stop()
        return lost

    def _report_media(self) -> None:
        remote = self.stream.remote
        if remote is not None:
            self.line.emit(media_report(self.call, self._id, self.kind, remote, self.stream.earlier))

    async def _open_media(self) -> None:
        """Bind a port, on another plane when the one chosen has died. Raises PlaneError. When the leg ends meanwhile
        the port is closed again."""
        if await self.wait_seated():
            return
        while True:
            try:
                port = await self.stream.open(self.line, self._flow)
            except PlaneError as error:
                self.stream.plane = await self.line.instead(self, error)
            else:
                self.line.ports[self.plane, port] = self
                self.touch()
                return

    async def wait_seated(self) -> bool:
        """Wait for the port of a move that is under way. Returns whether there is a port."""
        if self.moving is not None:
            await asyncio.wait([self.moving.seated])
        return self.has_media


class SeenThrough(ResponseHandler):
    """Of a request of which nothing follows, whatever is answered; until then another process would send it again."""

    def __init__(self, leg: SipLeg) -> None:
        self._leg = leg

    def response(self, key: ClientKey, response: Response) -> None:
        self._leg.touch()

    def failed(self, key: ClientKey, why: str) -> None:
        self._leg.touch()
