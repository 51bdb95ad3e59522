"""The leg to a phone: sends an INVITE (UAC, RFC 3261 §13.2)."""

import asyncio

import structlog

from engine.leg import SDP_TYPE, SipLeg
from engine.line import ALLOW, SERVER, Line, ResponseHandler, address
from engine.media.plane import Plane, PlaneError
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip.dialog import Dialog, uac_dialog
from engine.sip.grammar import BadHeader
from engine.sip.invite import Heard
from engine.sip.message import Headers, Request, Response
from engine.sip.registrar import Binding
from engine.sip.transactions import ClientKey
from events.types import EndedBy, LegAnswered, LegDialled, LegRinging
from kernel.ids import CallId, LegId

log = structlog.get_logger()

FORKS_LIMIT = 8
"""Answers of other phones to one INVITE that are hung up; a proxy that sends more is out of its mind."""
LINGER = 33.0
"""Seconds after a 2xx in which it may come again (64*T1 and a little)."""


class PhoneLeg(SipLeg):
    """binding: where the phone registered. `outcome` gets the final SIP status: 200 when it answered."""

    def __init__(self, line: Line, plane: Plane, call: CallId, leg_id: LegId, binding: Binding) -> None:
        super().__init__(line, plane, call, leg_id, line.flow_of_binding(binding), EndedBy.AGENT)
        self._binding = binding
        self.known = False
        self._sips = binding.contact.scheme == "sips"
        self.outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._invite: Request | None = None
        self._key: ClientKey | None = None
        self._sent_at = 0.0
        self._heard = False
        self._ringing = False
        self._forks: dict[str, bytes] = {}  # To tag of another phone that answered too -> our ACK

    @property
    def talking(self) -> bool:
        """It answered, and has not hung up since."""
        return self.answered and not self.ended.done()

    async def invite(self, caller: str, display: str, ring_for: float, first: str) -> None:
        """Send the INVITE. first: the codec to offer first, so that nothing need be transcoded.

        Without a port for it the leg ends, as if the phone had refused with 500."""
        self.stream.prefer(first)
        try:
            await self._open_media()
        except PlaneError as error:
            log.warning("no port for a phone", leg=self._id, error=str(error))
            self.sip_status = 500
            self.finish(EndedBy.SYSTEM, "media")
        if self.ended.done():
            return
        target = str(self._binding.contact._replace(headers=""))  # §19.1.1: no headers in a Request-URI
        self._invite = self._request(target, caller, display)
        self._sent_at = self.line.clock.monotonic()
        self.known = True
        self.line.emit(LegDialled(call=self.call, leg=self._id, target=target, ring_for=ring_for))
        self._key = self.line.send_request(self._invite, self._flow, self)
        self.usage.sent(self._key, self._invite)

    def _request(self, target: str, caller: str, display: str) -> Request:
        domain = self.line.settings.domain
        items = [("Route", route) for route in self._binding.path]
        items += [
            ("Max-Forwards", "70"),
            ("From", f"{address(caller or 'anonymous', domain, display)};tag={self._tag}"),
            ("To", address(self._binding.aor, domain)),
            ("Call-ID", self.line.ids.token(100)),
            ("CSeq", "1 INVITE"),
            ("Contact", self.line.contact(self._flow, secure=self._sips)),
            ("Allow", ALLOW),
            ("User-Agent", SERVER),
            ("Content-Type", SDP_TYPE),
        ]
        return Request("INVITE", target, Headers.of(items), self.stream.offer())

    # --- ResponseHandler ------------------------------------------------------------------------------------------

    def response(self, key: ClientKey, response: Response) -> None:
        self._heard = True
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
                assert self.dialog is not None
                self.line.layer.stateless_send(self.usage.ack_data, self.line.flow_of(self.dialog, self._flow))
                self.line.pump()
            case Heard.REFUSED:
                self.line.clients.pop(key, None)
                self._refused(response.status)
            case _:
                pass
        self._arm()

    def failed(self, key: ClientKey, why: str) -> None:
        self.line.clients.pop(key, None)
        if self.usage.failed(key) is not Heard.STRAY:
            self._refused(408 if why == "timeout" else 503)

    # --- inside -----------------------------------------------------------------------------------------------------

    def finish(self, by: EndedBy, reason: str) -> None:
        super().finish(by, reason)
        if not self.outcome.done():
            self.outcome.set_result(self.sip_status or 487)

    def _cancel(self) -> None:
        if self._key is not None:
            self.sip_status = 487 if self._heard else 408  # not a word from it: nothing is there
            self.line.layer.cancel(self._key, self.line.clock.monotonic())
            self.line.pump()

    def _provisional(self, response: Response) -> None:
        if response.status > 100 and not self._ringing and not self.ended.done():
            self._ringing = True
            self.line.emit(LegRinging(call=self.call, leg=self._id, sip_status=response.status))

    def _answered(self, key: ClientKey, response: Response) -> None:
        if not self._acknowledge(key, response):
            self.sip_status = 502
            self.hangup("no_contact")
            return
        self.sip_status = response.status
        try:
            self.stream.accept(self._body(response))
        except (SdpError, NotAcceptable):
            self.sip_status = 488
            self.hangup("no_common_codec")
            return
        self.answered = True
        self.answered_at = self.line.clock.monotonic()
        rang = round(self.answered_at - self._sent_at, 3)
        self.line.emit(LegAnswered(call=self.call, leg=self._id, codec=self.codec, rang=rang))
        if not self.outcome.done():
            self.outcome.set_result(200)

    def _acknowledge(self, key: ClientKey, response: Response) -> bool:
        """Make the dialog and ACK the 2xx. False when it lacks a Contact or Record-Route that can be used."""
        assert self._invite is not None
        self.line.lingering.append((self.line.clock.monotonic() + LINGER, key))
        self.dialog, usable = _dialog(self._invite, response)
        self.line.dialogs[self.dialog.id] = self
        self.usage.ack_sent(self._send_ack(self.dialog, response))
        return usable

    def _send_ack(self, dialog: Dialog, response: Response) -> bytes:
        ack = dialog.ack(response)
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
