"""The caller's leg: answers an INVITE (UAS, RFC 3261 §13.3), and what it says before that, reliably where the caller
wishes it (RFC 3262): that it rings, or early media (183 with a description, RFC 3960 §3)."""

import asyncio

from engine.leg import SipLeg
from engine.line import ALLOW, SERVER, SUPPORTED, Line, wants_sips
from engine.media.plane import Plane
from engine.media.profile import USUAL, MediaProfile
from engine.renegotiation import body_of, describe, interval_too_small, refuse_media, refused
from engine.saved import CallerState, LegState, message_without_keys
from engine.sdp.describe import SdpError
from engine.sdp.offer_answer import NotAcceptable
from engine.sip import session_timer
from engine.sip.dialog import uas_dialog
from engine.sip.flow import Flow
from engine.sip.grammar import BadHeader
from engine.sip.message import Request, Response, reply
from engine.sip.parse import parse_response
from engine.sip.provisional import Again, Provisionals, Refresh, Wish, rack_of, wish_of
from engine.sip.transactions import ServerKey
from events.types import EndedBy, LegEarlyMedia
from kernel.ids import CallId, LegId


class CannotAnswer(Exception):
    """No codec in common, or a body that is no description. Give `refusal` to `refuse`."""

    def __init__(self, refusal: Response, reason: str) -> None:
        super().__init__(reason)
        self.refusal = refusal
        self.reason = reason


class CallerLeg(SipLeg):
    """invite: admitted by the user agent, its dialog possible (it has a Contact); not yet answered. None: it was
    answered by a process before this one (see `restore`)."""

    def __init__(
        self,
        line: Line,
        plane: Plane,
        call: CallId,
        leg_id: LegId,
        flow: Flow,
        key: ServerKey,
        invite: Request | None,
        profile: MediaProfile = USUAL,
    ) -> None:
        super().__init__(line, plane, call, leg_id, flow, EndedBy.CALLER, profile)
        self._key = key
        self._sips = invite is not None and wants_sips(invite)
        self._pending = invite  # until it has its final answer
        self._invite = invite  # until that is acknowledged
        self._invite_data = b""  # the same as it is saved
        self._wish = Wish.NONE if invite is None else wish_of(invite)
        self._provisionals = Provisionals(1 + int(line.chance() * 65_536))
        self._said = 0  # status of our latest provisional response
        self._early = False  # our description went out in one
        self._settled: asyncio.Future[None] | None = None  # waits until no description lacks its PRACK
        self._answering = asyncio.Lock()
        self._acked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if invite is not None:
            self.usage.received(key, invite)

    @property
    def ready(self) -> bool:
        """Answered, acknowledged and not over: it may talk."""
        return self._acked.done() and not self.ended.done()

    @property
    def pending(self) -> ServerKey | None:
        """Of the INVITE, while it has no final answer."""
        return self._key if self._pending is not None else None

    async def answer(self) -> None:
        """200 OK with our answer, or our offer when the INVITE had none; returns with the ACK, or with the leg's end.

        Any number of tasks may call it, each may be cancelled. Raises CannotAnswer, PlaneError."""
        async with self._answering:
            if not self.stream.usable and self._pending is not None:
                await self._open_media()
            await self._all_settled()
            if self._pending is not None:
                self._accept_invite(self._pending)
        await asyncio.shield(self._acked)

    async def early_media(self) -> bool:
        """183 with a description: the caller hears what is played before the answer. False: he can't, for he has sent
        no offer and takes none reliably; or the leg is over.

        As `answer` in all else."""
        async with self._answering:
            if self._pending is not None and not self._early and (self._pending.body or self._wish is not Wish.NONE):
                await self._begin_early()
            await self._all_answered()
        return (self._early or self.answered) and not self.ended.done()

    async def _begin_early(self) -> None:
        if not self.stream.usable:
            await self._open_media()
        if self._pending is None:
            return
        body = self._description(self._pending)
        self._early = True
        self._say(self._pending, 183, body)
        await self._all_answered()
        if not self.ended.done():
            self.line.emit(LegEarlyMedia(call=self.call, leg=self.id, sip_status=183, codec=self.codec))

    def ring(self) -> None:
        """180, once, before any answer. Where it must be reliable and the INVITE had no offer it would have to hold
        ours (RFC 3261 §13.2.1): such a caller hears nothing until the answer or early media."""
        if self._pending is None or self._said == 180:
            return
        if self._wish is Wish.REQUIRED and not self._pending.body and not self._early:
            return
        self._say(self._pending, 180)

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
        self._settle()
        if not self._acked.done():
            self._acked.set_result(None)
        self._arm()

    # --- before the answer ------------------------------------------------------------------------------------------

    def _description(self, invite: Request) -> bytes:
        """Our answer, or our offer. Raises CannotAnswer."""
        if session_timer.too_small(invite):
            raise CannotAnswer(interval_too_small(invite, self._tag), "session interval too small")
        try:
            offered = body_of(invite)
            return self.stream.answer(offered) if offered else self.stream.offer()
        except (SdpError, NotAcceptable) as error:
            raise CannotAnswer(refuse_media(invite, error, self._tag), str(error)) from None

    def _say(self, invite: Request, status: int, body: bytes = b"") -> None:
        """A provisional response, which makes the early dialog."""
        response = reply(invite, status, to_tag=self._tag)
        headers = response.headers
        headers.add("Contact", self.contact)
        headers.add("Server", SERVER)
        headers.add("Allow", ALLOW)  # a peer may send UPDATE at once (RFC 3311 §5.1)
        headers.add("Supported", SUPPORTED)
        describe(response, body)
        self._said = status
        if self.dialog is None:
            self.dialog = uas_dialog(invite, response)
            self.line.dialogs[self.dialog.id] = self
        now = self.line.clock.monotonic()
        if self._wish is Wish.REQUIRED or (body and self._wish is Wish.SUPPORTED):
            if body:
                self.usage.described()
            self._send_reliably(self._provisionals.send(response, now))
        else:
            self.usage.provisional(self._key, response, now)
            self._respond(self._key, response)
        self._arm()

    def _send_reliably(self, response: Response | None) -> None:
        if response is not None:
            self._respond(self._key, response)

    async def _all_settled(self) -> None:
        """Wait for the PRACK of what holds a description: there may be no 2xx before (RFC 3262 §3)."""
        while self._provisionals.describing and self._pending is not None:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled

    async def _all_answered(self) -> None:
        """An offer of ours in a provisional response has its answer from the PRACK, or the leg is over."""
        if self.usage.answer_due:
            await self._all_settled()

    def _settle(self) -> None:
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _prack(self, key: ServerKey, request: Request) -> None:
        """RFC 3262 §3, §5."""
        now = self.line.clock.monotonic()
        try:
            found = self._provisionals.acknowledged(rack_of(request), now)
        except BadHeader:
            self._respond(key, reply(request, 400))
            return
        if found is None:
            self._respond(key, reply(request, 481))
            return
        self._respond(key, self._prack_answer(request, due=bool(found.body) and self.usage.answer_due))
        self._send_reliably(self._provisionals.following(now))
        self._settle()
        self._arm()

    def _prack_answer(self, request: Request, *, due: bool) -> Response:
        """due: our offer was in the response that this PRACK acknowledges. Else a description in it is a new offer."""
        response = reply(request, 200)
        if self._pending is None:
            return response
        try:
            if due:
                self.stream.accept(body_of(request))
                self.usage.agreed()
            elif request.body:
                refusal = self.usage.updated(offers=True, chance=self.line.chance())
                if refusal is not None:
                    return refused(request, refusal)
                describe(response, self.stream.answer(body_of(request)))
        except (SdpError, NotAcceptable) as error:
            if due:
                self.refuse(refuse_media(self._pending, error, self._tag), "no_answer_sdp")
            return refuse_media(request, error)
        return response

    def _byed(self, key: ServerKey, request: Request) -> None:
        """A caller may end an early dialog so too (RFC 3261 §15)."""
        if self._pending is None:
            super()._byed(key, request)
            return
        self._respond(key, reply(request, 200))
        self.cancelled("bye")

    # --- the answer -------------------------------------------------------------------------------------------------

    def _accept_invite(self, invite: Request) -> None:
        if not self._early:
            body = self._description(invite)
        else:  # what was said reliably is not said again (RFC 3261 §13.2.1)
            body = b"" if self._wish is not Wish.NONE else self.stream.repeated()
            self.stream.watch()
        self.answered = True
        self.answered_at = self.line.clock.monotonic()
        self.sip_status = 200
        self._pending = None
        self._provisionals.final()
        response = self.respond_2xx(self._key, invite, body)
        if self.dialog is None:
            self.dialog = uas_dialog(invite, response)
            self.line.dialogs[self.dialog.id] = self
        self.dialog.early = False
        self.line.unacknowledged[self._unacknowledged] = self

    def _respond_failure(self, response: Response) -> None:
        response.headers.add("Server", SERVER)
        self._pending = None
        self.sip_status = response.status
        self.usage.refused(self._key)
        self._provisionals.final()
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
        self._invite = None
        if not self._acked.done():
            self.listener.leg_answered(self)
            self._acked.set_result(None)

    # --- another process --------------------------------------------------------------------------------------------

    def state(self) -> LegState:
        state, invite = super().state(), self._invite
        state.caller = CallerState(
            key=self._key,
            invite=b"" if invite is None else self._invite_saved(invite),
            encrypted=invite is not None and b"a=crypto:" in invite.body,
            pending=self._pending is not None,
            said=self._said,
            rseq=self._provisionals.last,
            reliable=[message_without_keys(data) for data in self._provisionals.open()],
            early=self._early,
            acked=self._acked.done(),
        )
        return state

    def _invite_saved(self, invite: Request) -> bytes:
        """It does not change, and is saved several times."""
        if not self._invite_data:
            self._invite_data = message_without_keys(invite.encode())
        return self._invite_data

    def restore(self, state: LegState) -> None:
        """An INVITE without answer waits for it further, one that was answered absorbs its retransmissions; what was to
        be acknowledged by PRACK is said again. Keys that were offered are not known any more: such an INVITE is
        refused."""
        saved = state.caller
        assert saved is not None
        if not saved.pending:
            self._pending = None
        super().restore(state)
        self._said, self._early = saved.said, saved.early
        if saved.acked or state.ended is not None:
            self._acked.set_result(None)
        if self._invite is None:
            return
        now, said = self.line.clock.monotonic(), saved.said if self._pending is not None else self.sip_status
        last = reply(self._invite, said, to_tag=self._tag) if said else None
        if self._pending is not None and state.usage.provisional is not None:
            last = parse_response(state.usage.provisional[1])
        self.line.layer.adopt_invite(self._key, self._invite, self._flow, now, last=last)
        if self._pending is None:
            if self.answered and self.dialog is not None:
                self.line.unacknowledged[self._unacknowledged] = self
        elif saved.encrypted:
            self.reject(503, "restart")
        else:
            responses = [parse_response(data) for data in saved.reliable]
            self._send_reliably(self._provisionals.restore(saved.rseq, responses, now))
            self._arm()

    # --- time -------------------------------------------------------------------------------------------------------

    def _deadline(self) -> float | None:
        times = (self.usage.deadline, self._provisionals.deadline)
        return min((at for at in times if at is not None), default=None)

    def _tick(self) -> None:
        for action in self._provisionals.tick(self.line.clock.monotonic()):
            match action:
                case Again():
                    self.line.layer.retransmissions_sent += 1
                    self._respond(self._key, action.response)
                case Refresh() if self._pending is not None:
                    self._say(self._pending, self._said)
                case Refresh():
                    pass
                case _:
                    self.reject(504, "prack_missing")
        super()._tick()
