"""The caller's leg: answers an INVITE (UAS, RFC 3261 §13.3)."""

import asyncio

from engine.leg import SipLeg, refuse_media
from engine.line import SERVER, Line
from engine.media.plane import Plane
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip.dialog import uas_dialog
from engine.sip.flow import Flow
from engine.sip.message import Request, reply
from engine.sip.transactions import ServerKey
from events.types import EndedBy
from kernel.ids import CallId, LegId


class CannotAnswer(Exception):
    """The INVITE has been refused already: no codec in common, or a body that is no description."""

    def __init__(self, sip_status: int, reason: str) -> None:
        super().__init__(reason)
        self.sip_status = sip_status
        self.reason = reason


class CallerLeg(SipLeg):
    """invite: admitted by the user agent, its dialog possible (it has a Contact); not yet answered."""

    def __init__(
        self, line: Line, plane: Plane, call: CallId, leg_id: LegId, flow: Flow, key: ServerKey, invite: Request
    ) -> None:
        super().__init__(line, plane, call, leg_id, flow, EndedBy.CALLER)
        self._key = key
        self._pending = invite
        self._acked: asyncio.Future[None] | None = None
        self.usage.received(key, invite)

    async def answer(self) -> None:
        """200 OK with our answer, or our offer when the INVITE had none; returns with the ACK.

        Raises CannotAnswer, PlaneError. Does nothing when it has ended."""
        invite = self._pending
        assert invite is not None
        await self._open_media()
        if self.ended.done():
            return
        try:
            offered = self._body(invite)
            body = self._answer(offered) if offered else self._offer()
        except (SdpError, NotAcceptable) as error:
            refusal = refuse_media(invite, error)
            self._refuse(refusal.status, refusal.headers.get("Warning") or "")
            raise CannotAnswer(refusal.status, str(error)) from None
        self.answered = True
        self.answered_at = self.line.clock.monotonic()
        self.sip_status = 200
        self._pending = None
        acked = self._acked = asyncio.get_running_loop().create_future()
        response = self._respond_2xx(self._key, invite, body)
        self.dialog = uas_dialog(invite, response)
        self.line.dialogs[self.dialog.id] = self
        await acked

    def reject(self, sip_status: int, reason: str) -> None:
        if self._pending is not None:
            self._refuse(sip_status, "")
            self.finish(EndedBy.SYSTEM, reason or "rejected")

    def cancelled(self) -> None:
        """CANCEL came before our answer."""
        if self._pending is not None:
            self.sip_status = 487
            self._over(EndedBy.CALLER, "cancel")
            self._pending = None

    def finish(self, by: EndedBy, reason: str) -> None:
        super().finish(by, reason)
        if self._acked is not None and not self._acked.done():
            self._acked.cancel()

    def _refuse(self, sip_status: int, warning: str) -> None:
        assert self._pending is not None
        response = reply(self._pending, sip_status, to_tag=self._tag)
        response.headers.add("Server", SERVER)
        if warning:
            response.headers.add("Warning", warning)
        self._pending = None
        self.sip_status = sip_status
        self.usage.refused(self._key)
        self._respond(self._key, response)

    def _acknowledged(self, ack: Request | None, *, answer_due: bool) -> None:
        super()._acknowledged(ack, answer_due=answer_due)
        if self._acked is not None and not self._acked.done():
            self._acked.set_result(None)
