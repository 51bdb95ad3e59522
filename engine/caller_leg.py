"""The caller's leg: answers an INVITE (UAS, RFC 3261 §13.3)."""

import asyncio

from engine.leg import SipLeg, interval_too_small, refuse_media
from engine.line import SERVER, Line, wants_sips
from engine.media.plane import Plane
from engine.media.profile import USUAL, MediaProfile
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip import session_timer
from engine.sip.dialog import uas_dialog
from engine.sip.flow import Flow
from engine.sip.message import Request, Response, reply
from engine.sip.transactions import ServerKey
from events.types import EndedBy
from kernel.ids import CallId, LegId


class CannotAnswer(Exception):
    """No codec in common, or a body that is no description. Give `refusal` to `refuse`."""

    def __init__(self, refusal: Response, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.reason = reason


class CallerLeg(SipLeg):
    """invite: admitted by the user agent, its dialog possible (it has a Contact); not yet answered."""

    def __init__(
        self,
        line: Line,
        plane: Plane,
        call: CallId,
        leg_id: LegId,
        flow: Flow,
        key: ServerKey,
        invite: Request,
        profile: MediaProfile = USUAL,
    ) -> None:
        super().__init__(line, plane, call, leg_id, flow, EndedBy.CALLER, profile)
        self._key = key
        self._sips = wants_sips(invite)
        self._pending: Request | None = invite  # until it has its final answer
        self._rung = False
        self._answering = asyncio.Lock()
        self._acked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.usage.received(key, invite)

    @property
    def ready(self) -> bool:
        """Answered, acknowledged and not over: it may talk."""
        return self._acked.done() and not self.ended.done()

    async def answer(self) -> None:
        """200 OK with our answer, or our offer when the INVITE had none; returns with the ACK, or with the leg's end.

        Any number of tasks may call it, each may be cancelled. Raises CannotAnswer, PlaneError."""
        async with self._answering:
            if not self.stream.usable and self._pending is not None:
                await self._open_media()
            if self._pending is not None:
                self._accept_invite(self._pending)
        await asyncio.shield(self._acked)

    def ring(self) -> None:
        """180, once, before any answer. Not to one who wants it acknowledged by PRACK (RFC 3262 §3): he gets none."""
        if self._pending is None or self._rung:
            return
        if "100rel" in self._pending.headers.elements("Require"):
            return
        self._rung = True
        response = reply(self._pending, 180, to_tag=self._tag)
        response.headers.add("Contact", self.line.contact(self._flow, secure=self._sips))
        response.headers.add("Server", SERVER)
        self.usage.provisional(self._key, response, self.line.clock.monotonic())
        self._respond(self._key, response)
        self._arm()

    def reject(self, sip_status: int, reason: str) -> None:
        if self._pending is not None:
            self.refuse(reply(self._pending, sip_status, to_tag=self._tag), reason or "rejected")

    def refuse(self, response: Response, reason: str) -> None:
        """Answer the INVITE with this failure. Does nothing once it has its answer."""
        if self._pending is None:
            return
        self._respond_failure(response)
        self.finish(EndedBy.SYSTEM, reason)

    def cancelled(self, reason: str = "cancel") -> None:
        """The caller gave up before our answer: CANCEL, or his connection is gone."""
        if self._pending is not None:
            self._respond_failure(reply(self._pending, 487, to_tag=self._tag))
            self.finish(EndedBy.CALLER, reason)

    def flow_lost(self, flow: Flow) -> None:
        """The connection of the INVITE is gone. No answer could reach the caller any more (RFC 3261 §18.2.2)."""
        if flow == self._flow:
            self.cancelled("connection_lost")

    def finish(self, by: EndedBy, reason: str) -> None:
        super().finish(by, reason)
        if not self._acked.done():
            self._acked.set_result(None)

    def _accept_invite(self, invite: Request) -> None:
        if session_timer.too_small(invite):
            raise CannotAnswer(interval_too_small(invite, self._tag), "session interval too small")
        try:
            offered = self.body_of(invite)
            body = self.stream.answer(offered) if offered else self.stream.offer()
        except (SdpError, NotAcceptable) as error:
            raise CannotAnswer(refuse_media(invite, error, self._tag), str(error)) from None
        self.answered = True
        self.answered_at = self.line.clock.monotonic()
        self.sip_status = 200
        self._pending = None
        response = self._respond_2xx(self._key, invite, body)
        self.dialog = uas_dialog(invite, response)
        self.line.dialogs[self.dialog.id] = self
        self.line.unacknowledged[self._unacknowledged] = self

    def _respond_failure(self, response: Response) -> None:
        response.headers.add("Server", SERVER)
        self._pending = None
        self.sip_status = response.status
        self.usage.refused(self._key)
        self._respond(self._key, response)

    @property
    def _unacknowledged(self) -> tuple[str, str]:
        assert self.dialog is not None
        return self.dialog.call_id, self.dialog.remote_tag

    def _forget_dialog(self) -> None:
        if self.dialog is not None:
            self.line.unacknowledged.pop(self._unacknowledged, None)
        super()._forget_dialog()

    def _acknowledged(self, ack: Request | None, *, answer_due: bool) -> None:
        super()._acknowledged(ack, answer_due=answer_due)
        self.line.unacknowledged.pop(self._unacknowledged, None)
        if not self._acked.done():
            self.listener.leg_answered(self)
            self._acked.set_result(None)
