"""A leg that we dial, to a phone of ours or through a trunk: sends an INVITE (UAC, RFC 3261 §13.2)."""

import asyncio
from collections.abc import Callable

import structlog

from engine.call import Dial
from engine.destination import Destination
from engine.early_dialogs import EarlyDialogs
from engine.leg import SipLeg
from engine.line import ALLOW, LINGER, SERVER, SUPPORTED, Line, ResponseHandler
from engine.media.plane import Plane, PlaneError
from engine.proof import Prover
from engine.renegotiation import SDP_TYPE
from engine.saved import LegState, OutboundState, message_without_keys
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip import session_timer
from engine.sip.dialog import Dialog, dialog_id, uac_dialog
from engine.sip.flow import Flow
from engine.sip.grammar import BadHeader
from engine.sip.invite import Heard
from engine.sip.message import Headers, Request, Response
from engine.sip.parse import parse_request
from engine.sip.transactions import ClientKey, ServerKey
from events.types import EndedBy, LegAnswered, LegDialled, LegEarlyMedia, LegRinging
from kernel.ids import CallId, LegId

log = structlog.get_logger()

FORKS_LIMIT = 8
"""Answers of other phones to one INVITE that are hung up; a proxy that sends more is out of its mind."""


class OutboundLeg(SipLeg):
    """`outcome` gets the final SIP status: 200 when it answered. `heard` is done with the first word from there, or
    when none will come. Await neither bare (see `SipLeg.ended`)."""

    def __init__(self, line: Line, plane: Plane, call: CallId, leg_id: LegId, destination: Destination) -> None:
        super().__init__(
            line,
            plane,
            call,
            leg_id,
            destination.flow,
            EndedBy.AGENT,
            destination.profile,
        )
        self.destination = destination
        self.credentials = destination.credentials
        self.number = ""
        """That a trunk was ordered to ring, as the order has it. Whoever makes the leg says so."""
        self.known = False
        loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[int] = loop.create_future()
        self.heard: asyncio.Future[None] = loop.create_future()
        self.rung = False
        """180, or 183 with a description: a telephone rings, or says why it does not."""
        self.progressed: Callable[[SipLeg, bool], None] = lambda leg, sounds: None
        """Called when it rings, and (True) whenever what it sends before the answer begins or changes."""
        self.lost = ""
        """Why there was no final answer at all: timeout | transport."""
        self.refusal: Response | None = None
        """The final answer, when it was not 2xx."""
        self._invite: Request | None = None
        self._key: ClientKey | None = None
        self._sent_at = 0.0
        self._interval = session_timer.USUAL
        self._prover = Prover(destination.credentials, line.ids.token)
        self._early = EarlyDialogs(self)
        self._sounds = False  # there is early media
        self._forks: dict[str, bytes] = {}  # To tag of another phone that answered too -> our ACK

    @property
    def invited(self) -> bool:
        """The INVITE is out."""
        return self._sent_at > 0

    def rings_for(self, order: Dial) -> bool:
        """It is being called, or has answered just now, as the order has it."""
        meant = self.number == order.number if self.number else self.phone == order.aor
        return meant and bool(self.number or self.phone) and self.invited and not self.ended.done()

    @property
    def talking(self) -> bool:
        """It answered, and has not hung up since."""
        return self.answered and not self.ended.done()

    async def invite(self, ring_for: float, first: str) -> None:
        """Send the INVITE. first: the codec to offer first, so that nothing need be transcoded.

        Without a port for it the leg ends, as if it had been refused with 500."""
        self.stream.prefer(first)
        try:
            await self._open_media()
        except PlaneError as error:
            log.warning("no port for a leg", leg=self._id, error=str(error))
            self.sip_status = 500
            self.finish(EndedBy.SYSTEM, "media")
        if self.ended.done():
            return
        target, sip_call_id = self.destination.uri, self.line.ids.token(100)
        self._sent_at = self.line.clock.monotonic()
        self.known = True
        self.line.emit(
            LegDialled(
                call=self.call,
                leg=self._id,
                target=target,
                ring_for=ring_for,
                trunk=self.destination.trunk,
                sip_call_id=sip_call_id,
            )
        )
        self._send(self._request(sip_call_id, self.stream.offer()))

    def _send(self, invite: Request) -> None:
        self._early.restart()
        self._invite = invite
        self._key = self.line.send_request(invite, self._flow, self)
        self.usage.sent(self._key, invite)
        self.touch()

    def _request(self, call_id: str, offer: bytes, number: int = 1) -> Request:
        to = self.destination
        items = [("Route", route) for route in to.routes]
        items += [
            ("Max-Forwards", "70"),
            ("From", f"{to.from_};tag={self._tag}"),
            ("To", to.to),
            ("Call-ID", call_id),
            ("CSeq", f"{number} INVITE"),
            ("Contact", self.line.contact(self._flow, secure=to.sips)),
            *to.headers,
            ("Allow", ALLOW),
            ("User-Agent", SERVER),
            ("Supported", SUPPORTED),
            ("Session-Expires", str(self._interval)),
            ("Content-Type", SDP_TYPE),
        ]
        if self._interval > session_timer.USUAL:
            items.append(("Min-SE", str(self._interval)))
        return Request("INVITE", to.uri, Headers.of(items), offer)

    # --- another process ------------------------------------------------------------------------------------------

    def state(self) -> LegState:
        state, to = super().state(), self.destination
        pending = b"" if self._key is None else self.line.layer.pending(self._key)
        state.outbound = OutboundState(
            uri=to.uri,
            to=to.to,
            from_=to.from_,
            routes=to.routes,
            headers=to.headers,
            trunk=to.trunk,
            target=to.target,
            tried=to.tried,
            number=self.number,
            sips=to.sips,
            invite=message_without_keys(pending),
            sent_at=self._sent_at,
            interval=self._interval,
            rung=self.rung,
            heard=self.heard.done(),
            sounds=self._sounds,
            outcome=self.outcome.result() if self.outcome.done() else None,
        )
        return state

    def restore(self, state: LegState) -> None:
        """A telephone that rings goes on ringing: the INVITE is sent again, as a retransmission, so that what it
        said is heard again. A 2xx is acknowledged again, lest its ACK never left."""
        saved = state.outbound
        assert saved is not None
        super().restore(state)
        self._sent_at, self._interval, self.rung, self._sounds = saved.sent_at, saved.interval, saved.rung, saved.sounds
        if saved.heard:
            self._has_heard()
        if saved.outcome is not None:
            self.outcome.set_result(saved.outcome)
        now = self.line.clock.monotonic()
        if saved.invite:
            self._invite = parse_request(saved.invite)
            self._key = self.line.layer.adopt_request(self._invite, self._flow, now)
            self.line.clients[self._key] = self
            if state.ended is not None:
                self.line.layer.cancel(self._key, now)
        elif self.answered and now - self.answered_at < LINGER:
            self.ack_again()

    def request(self, key: ServerKey, request: Request, flow: Flow) -> None:
        if self.dialog is not None and dialog_id(request) == self.dialog.id:
            super().request(key, request, flow)
        else:
            self._early.request(key, request)

    # --- ResponseHandler ------------------------------------------------------------------------------------------

    def response(self, key: ClientKey, response: Response) -> None:
        self._has_heard()
        if self._is_other_fork(response):
            self._end_fork(response)
            return
        match self.usage.heard(key, response, self.line.clock.monotonic(), self.line.chance()):
            case Heard.PROVISIONAL:
                self._provisional(response)
            case Heard.ANSWERED:
                self._answered(key, response)
            case Heard.CROSSED:
                self._acknowledge(key, response)
                self._bye()
            case Heard.REPEATED:
                self.ack_again()
            case Heard.REFUSED:
                self.line.clients.pop(key, None)
                if not self._prove(response) and not self._lengthen(response):
                    self.refusal = response
                    self._refused(response.status)
            case _:
                pass
        self._arm()

    def failed(self, key: ClientKey, why: str) -> None:
        self.line.clients.pop(key, None)
        if self.usage.failed(key) is not Heard.STRAY:
            self.lost = why
            self._refused(408 if why == "timeout" else 503)

    # --- inside -----------------------------------------------------------------------------------------------------

    def finish(self, by: EndedBy, reason: str) -> None:
        super().finish(by, reason)
        self._early.forget()
        self._has_heard()
        if not self.outcome.done():
            self.outcome.set_result(self.sip_status or 487)

    def _cancel(self) -> None:
        if self._key is not None:
            self.sip_status = 487 if self.heard.done() else 408  # not a word from it: nothing is there
            self.line.layer.cancel(self._key, self.line.clock.monotonic())
            self.line.pump()

    def _has_heard(self) -> None:
        if not self.heard.done():
            self.heard.set_result(None)

    def _provisional(self, response: Response) -> None:
        """180 rings; so does a 183 with a description: what it brings is the tone or the announcement of a network that
        has found the telephone. A bare 183, 181 or 182 only says that somebody is at work (RFC 3261 §21.1)."""
        assert self._invite is not None
        heeded, sounds = self._early.heard(self._invite, response)
        if not heeded or self.ended.done():
            return
        self.touch()
        self.session.learn(response)
        rings = response.status == 180 or (response.status > 100 and bool(response.body))
        if rings and not self.rung:
            self.rung = True
            self.line.emit(LegRinging(call=self.call, leg=self._id, sip_status=response.status))
            if not sounds:
                self.progressed(self, False)
        if sounds and not self._sounds:
            self._sounds = True
            status, codec = response.status, self.codec
            self.line.emit(LegEarlyMedia(call=self.call, leg=self._id, sip_status=status, codec=codec))
        if sounds:
            self.progressed(self, True)

    def hear_again(self) -> None:
        """Its port, or that of who hears it, is another one."""
        if (self._sounds or self.rung) and not self.answered and not self.ended.done():
            self.progressed(self, self._sounds)

    def _prove(self, response: Response) -> bool:
        """Send the INVITE again with credentials, when this is a challenge for them (RFC 3261 §22.2)."""
        invite = self._invite
        if invite is None or self.ended.done():
            return False
        header = self._prover.header(invite, response)
        if header is None:
            return False
        again = self._request(invite.call_id, invite.body, invite.cseq.number + 1)
        again.headers.add(*header)
        self._send(again)
        return True

    def _lengthen(self, response: Response) -> bool:
        """422: send the INVITE again with the session interval that the peer wants at least (RFC 4028 §7.3)."""
        wanted = session_timer.min_se(response)
        if response.status != 422 or wanted <= self._interval or self._invite is None or self.ended.done():
            return False
        self._interval = wanted
        self._send(self._request(self._invite.call_id, self._invite.body, self._invite.cseq.number + 1))
        return True

    def _answered(self, key: ClientKey, response: Response) -> None:
        if not self._acknowledge(key, response):
            self.sip_status = 502
            self.hangup("no_contact")
            return
        self.sip_status = response.status
        try:
            body = self._early.answer(response)
            if body is not None:
                self.stream.accept(body)
        except (SdpError, NotAcceptable):
            self.sip_status = 488
            self.hangup("no_common_codec")
            return
        if self._sounds:
            self.stream.watch()
        self.session.agreed(response)
        self.answered = True
        self.answered_at = self.line.clock.monotonic()
        rang = round(self.answered_at - self._sent_at, 3)
        self.line.emit(LegAnswered(call=self.call, leg=self._id, codec=self.codec, rang=rang))
        if not self.outcome.done():
            self.outcome.set_result(200)
        self.rekey()

    def _acknowledge(self, key: ClientKey, response: Response) -> bool:
        """Make the dialog and ACK the 2xx. False when it lacks a Contact or Record-Route that can be used."""
        assert self._invite is not None
        self.line.linger(key)
        self.dialog, usable = _dialog(self._invite, response)
        self._early.confirm(self.dialog)
        self._early.forget()
        self.line.dialogs[self.dialog.id] = self
        self.usage.ack_sent(self._send_ack(self.dialog, response))
        return usable

    def _send_ack(self, dialog: Dialog, response: Response) -> bytes:
        ack = dialog.ack(response, self._invite)
        flow = self.line.flow_of(dialog, self._flow)
        data = self.line.layer.ack(ack, flow, self.line.sent_by(flow))
        self.line.pump()
        return data

    def _is_other_fork(self, response: Response) -> bool:
        dialog = self.dialog
        return dialog is not None and 200 <= response.status < 300 and response.to_tag != dialog.remote_tag

    def _end_fork(self, response: Response) -> None:
        """A second phone behind a proxy answered too (§13.2.2.4): ACK it and hang it up."""
        assert self._invite is not None
        tag = response.to_tag or ""
        dialog, _ = _dialog(self._invite, response)
        self._early.confirm(dialog)
        flow = self.line.flow_of(dialog, self._flow)
        if tag in self._forks:
            self.line.layer.stateless_send(self._forks[tag], flow)
            self.line.pump()
        elif len(self._forks) < FORKS_LIMIT:
            self._forks[tag] = self._send_ack(dialog, response)
            self.line.send_request(dialog.make("BYE"), flow, ResponseHandler())

    def _refused(self, status: int) -> None:
        self.sip_status = status
        self.finish(EndedBy.AGENT, f"sip_{status}")


def _dialog(invite: Request, response: Response) -> tuple[Dialog, bool]:
    """The dialog of a 2xx; and False when it can't be used as it is: then it leads to where the INVITE went, so that
    the phone hears at least our ACK and BYE."""
    try:
        return uac_dialog(invite, response), True
    except BadHeader:
        mended = response.copy()
        mended.headers.remove("Record-Route")
        mended.headers.set("Contact", f"<{invite.uri}>")
        return uac_dialog(invite, mended), False
