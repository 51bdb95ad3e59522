"""A live call: its caller's leg, the task that runs its application, and its parts, each in a file of its own: what is
played (player.py), keys (keypad.py), who talks to whom (talks.py), recordings, the other legs (phones.py), how it ends
(ending.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

import structlog

from engine.call import BridgeEnd, Call, Collected, ConferenceEnd, Dial, Dialled, JoinEnd, Leg, Played, Why
from engine.caller_leg import CallerLeg, CannotAnswer
from engine.ending import Ending
from engine.frames import Frame, Frames
from engine.keypad import Keypad
from engine.leg import SipLeg
from engine.leg_listener import DEAF, LegListener
from engine.media.plane import Plane, PlaneError, PlayDone, PortId, RecordingDone
from engine.media.protocol import PortState
from engine.outbound_leg import OutboundLeg
from engine.phones import Phones
from engine.player import Player
from engine.recordings import Recordings
from engine.saved import CallState, EndState
from engine.sip.message import Request
from engine.talks import Keys, Talks
from engine.transfer import LiveTransfer, refer
from events.types import (
    AttributeSet,
    CallAnswered,
    CallEnded,
    CallOutcome,
    DigitPressed,
    EndedBy,
    RtpTimedOut,
    TransferKind,
)
from kernel.ids import CallId, LegId

if TYPE_CHECKING:
    from engine.ua import UserAgent

log = structlog.get_logger()

MEDIA_REPORT_WITHIN = 2.0
"""How long the end of a call waits for the media plane's last words (statistics, recording) before it is told."""

T = TypeVar("T")
App = Callable[["LiveCall"], Awaitable[None]]


class LiveCall(LegListener):
    """One per CallArrived. Made by the UserAgent, which calls `start` once."""

    def __init__(
        self, ua: "UserAgent", call_id: CallId, leg: CallerLeg, *, caller: str, name: str, dialled: str, trunk: str
    ):
        self._ua = ua
        self._id = call_id
        self._leg = leg
        self._caller, self._name, self._dialled, self._trunk = caller, name, dialled, trunk
        self._attributes: dict[str, str] = {}
        self._arrived_at = ua.clock.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._running = self._given = False  # given: our leg is another call's now
        self._keypad = Keypad()
        self._player = Player(leg.stream)
        self._recordings = Recordings(ua, call_id)
        self._ending = Ending()
        self._talks = Talks(ua, call_id, leg, self._player, self._recordings, self._ending)
        self._frames = Frames(partial(ua.keeping.touch, call_id))
        self.phones = Phones(call_id)
        """None of them outlives the call."""
        self.queued = False
        """In a queue now; whoever puts it there says so, and takes it back unless the caller's end interrupts."""
        self._quiet: asyncio.Future[None] | None = None
        leg.listener = self

    # --- what IVR and ACD see -------------------------------------------------------------------------------

    @property
    def id(self) -> CallId:
        return self._id

    @property
    def caller(self) -> str:
        return self._caller

    @property
    def caller_name(self) -> str:
        return self._name

    @property
    def dialled(self) -> str:
        return self._dialled

    @property
    def trunk(self) -> str:
        return self._trunk

    @property
    def attributes(self) -> dict[str, str]:
        return self._attributes

    @property
    def last_bridge(self) -> BridgeEnd | None:
        return self._talks.last

    @property
    def layer(self) -> str:
        """Of an application that a process before this one ran: its lowest layer; "" for none."""
        return self._frames.lowest

    def frame(self, layer: str) -> Frame:
        return self._frames.enter(layer)

    def leg_of(self, leg: LegId) -> SipLeg | None:
        return self.phones.claim(leg)

    def set_attribute(self, name: str, value: str) -> None:
        self._attributes[name] = value
        self._ua.emit(AttributeSet(call=self._id, name=name, value=value))

    def beside(self, other: Call) -> None:
        assert isinstance(other, LiveCall)
        if not self._leg.stream.present:
            self._leg.stream.plane = other.leg.plane

    def give(self, to: Call) -> SipLeg | None:
        assert isinstance(to, LiveCall)
        if not self._leg.ready or self.over or to.over:
            return None
        self._player.silence()
        self._given = True
        self.end(EndedBy.SYSTEM, "picked_up", stop=False)
        to.adopt(self._leg)
        return self._leg

    async def answer(self) -> None:
        if self._leg.ready:
            return
        if not self.over:
            await self._unless_refused(self._leg.answer())
        if not self._leg.ready:
            await self._gone()

    async def _early_media(self) -> bool:
        """Whether the caller can hear us, without an answer."""
        heard = not self.over and bool(await self._unless_refused(self._leg.early_media()))
        if self._leg.ended.done():
            await self._gone()
        return heard

    async def _unless_refused(self, step: Awaitable[T]) -> T | None:
        try:
            return await step
        except CannotAnswer as refused:
            self._ending.refused()
            self._leg.refuse(refused.refusal, refused.reason)
            return None

    def ringing(self) -> None:
        self._leg.ring()

    async def reject(self, sip_status: int, reason: str) -> None:
        if not self._leg.answered:
            self._ending.refused()
            self._leg.reject(sip_status, reason)
        await self.hangup(reason)

    async def play(self, clips: Sequence[str], *, barge_in: bool = True, early: bool = False) -> Played:
        self._talks.agent_left = False
        if not early or self._leg.answered:
            await self.answer()
        elif not await self._early_media():
            return Played(Why.SKIPPED, 0.0)
        if barge_in and self._keypad:
            return Played(Why.BARGED, 0.0)
        done = await self._player.play(clips, barge_in=barge_in)
        return Played(Why.FINISHED if done.finished else Why.BARGED, done.seconds)

    async def collect(
        self, *, max_digits: int, timeout: float, inter_digit: float = 3.0, terminator: str = "#"
    ) -> Collected:
        self._talks.agent_left = False
        await self.answer()
        got = ""
        while len(got) < max_digits:
            try:
                async with asyncio.timeout(inter_digit if got else timeout):
                    digit = await self._keypad.next()
            except TimeoutError:
                return Collected(got, Why.TIMEOUT)
            if digit == terminator:
                break
            got += digit
        return Collected(got, Why.FINISHED)

    async def next_digit(self) -> str:
        return await self._keypad.next()

    def start_music(self, clip: str) -> None:
        self._player.start_music(clip)

    def stop_music(self) -> None:
        self._player.stop_music()

    async def dial(self, order: Dial) -> Dialled:
        if self.over:
            await self._gone()
        self._talks.agent_left = False
        return await self._ua.dial(self, order)

    async def bridge(self, leg: Leg, *, record: bool) -> BridgeEnd:
        assert isinstance(leg, SipLeg)
        try:
            await self.answer()
            return await self._talks.bridge(leg, record=record)
        finally:
            if self._talks.waiting is not leg:
                leg.hangup("bridge_end")

    async def join(self, agent: Leg, other: Leg, until: asyncio.Future[None], keys: Keys = lambda key: None) -> JoinEnd:
        assert isinstance(agent, SipLeg)
        assert isinstance(other, SipLeg)
        return await self._talks.join(agent, other, until, keys)

    async def confer(
        self, legs: Sequence[Leg], until: asyncio.Future[None], *, record: bool, keys: Keys = lambda key: None
    ) -> ConferenceEnd:
        others = [leg for leg in legs if isinstance(leg, SipLeg)]
        if not self._talks.confers_on(others):
            await self.answer()
        return await self._talks.confer(others, until, record=record, keys=keys)

    def ask_transfer(self, target: str, kind: TransferKind) -> bool:
        agent = self.partner
        if agent is None:
            return False
        LiveTransfer(self, agent, target, kind).begin()
        return True

    def count_as(self, outcome: CallOutcome) -> None:
        """How the end of this call is to be counted, unless it fails."""
        self._ending.outcome = outcome

    async def hangup(self, reason: str = "bye") -> None:
        self._hang_up(reason)
        await self._gone()

    # --- what the user agent does -----------------------------------------------------------------------------

    @property
    def leg(self) -> CallerLeg:
        return self._leg

    def add_phone(self, make: Callable[[LegId], OutboundLeg]) -> OutboundLeg:
        """A leg to be dialled for this call."""
        return self.phones.add(make, self)

    @property
    def partner(self) -> SipLeg | None:
        """Who talks to the caller now."""
        return self._talks.partner

    @property
    def transfer(self) -> LiveTransfer | None:
        """With which the latest talk ended, if nothing has come of it yet."""
        return self._talks.transfer

    def part_for(self, transfer: LiveTransfer) -> None:
        """The talk is over for the time of a transfer: the application hears of it from `bridge`."""
        if self.partner is None or self.over:
            transfer.failed(481)
            return
        self._talks.part(EndedBy.AGENT, transfer=transfer)
        self._player.start_music(self._ua.music)

    def give_up(self, leg: SipLeg) -> None:
        """Its partner goes over to another call."""
        self._talks.part(EndedBy.SYSTEM, taken=True)
        self.phones.give_up(leg)

    def adopt(self, leg: SipLeg) -> None:
        """A leg that another call gave up, bridged by nobody now."""
        self.phones.adopt(leg, self)

    def when_over(self, then: Callable[[], None]) -> None:
        """Call `then` when all of this call has ended."""
        assert self._task is not None
        self._task.add_done_callback(lambda _: then())

    def start(self, app: App) -> asyncio.Task[None]:
        """Run the application; the call ends when it returns."""
        self._task = asyncio.get_running_loop().create_task(self._live(app), name=self._id)
        return self._task

    @property
    def over(self) -> bool:
        return self._ending.over

    def end(self, by: EndedBy, reason: str, *, stop: bool = True) -> None:
        """The call is over (BYE, CANCEL, media silence, shutdown): stop the application. May be repeated."""
        if self._ending.end(by, reason, self._ua.clock.monotonic()) and stop:
            self._stop()

    def _stop(self) -> None:
        if self._running and self._task is not None:  # a task cancelled before its first step would never run
            self._task.cancel()

    # --- another process ----------------------------------------------------------------------------------------

    def state(self) -> CallState:
        """For `restore`."""
        return CallState(
            id=self._id,
            caller=self._caller,
            dialled=self._dialled,
            arrived_at=self._arrived_at,
            name=self._name,
            trunk=self._trunk,
            attributes=self._attributes,
            legs=self.phones.count,
            keys=str(self._keypad),
            player=self._player.state(),
            recordings=self._recordings.state(),
            talks=self._talks.state(),
            queued=self.queued,
            ending=self._ending.state(),
            frames=self._frames.state(),
        )

    def restore(
        self, state: CallState, phones: Sequence[SipLeg], plane: Callable[[str], Plane], *, looping: bool
    ) -> None:
        """Be what `state` was taken from, before `resume`. plane: of a name. looping: music plays to the caller."""
        self._arrived_at, self._attributes, self.queued = state.arrived_at, state.attributes, state.queued
        for key in state.keys:
            self._keypad.press(key)
        self._player.restore(state.player, looping=looping)
        self._recordings.restore(state.recordings, plane)
        self._ending.restore(state.ending)
        self._frames.restore(state.frames)
        self.phones.restore(state.legs, phones, self)
        self._talks.restore(state.talks, self._transfer_of(state.talks.last))
        if self._leg.ended.done():  # it may have ended because it could not go on
            self.leg_ended(self._leg, self._leg.ended.result(), "restart")

    def _transfer_of(self, end: EndState | None) -> LiveTransfer | None:
        asked = end.transfer if end is not None else None
        leg = self.phones.find(asked.leg) if asked is not None else None
        return None if asked is None or leg is None else LiveTransfer.again(self, leg, asked)

    def resume(self, app: App) -> asyncio.Task[None]:
        """As `start`, for a call that was restored. One that had ended lets its layers find that out, and ends."""
        if self.transfer is not None and not self._talks.with_caller:
            self._player.start_music(self._ua.music)  # as in `part_for`
        if not self.over or self._frames:
            return self.start(app)
        self._task = asyncio.get_running_loop().create_task(self._last_words(), name=self._id)
        return self._task

    def resumed(self, ports: Mapping[PortId, PortState]) -> None:
        """Each layer is where it was. What none has taken up ends here; and the plane is told what it has not heard.

        ports: what it said of itself."""
        if self.over:
            self._stop()
        self._talks.settle()
        self.phones.drop_unclaimed()
        self._recordings.resumed(self._check_quiet)
        near = [leg for leg in (self._leg, *self.phones) if leg.has_media and leg.plane is self._leg.plane]
        self._talks.correct({leg: ports[leg.port] for leg in near if leg.port in ports})

    # --- LegListener: the caller's leg, and the others --------------------------------------------------------------

    def leg_answered(self, leg: SipLeg) -> None:
        self._ua.emit(CallAnswered(call=self._id, waited=self._age(), codec=leg.codec))
        self._player.resume()

    def leg_digit(self, leg: SipLeg, digit: str, via: str) -> None:
        if leg.ended.done():
            return
        self._ua.emit(DigitPressed(call=self._id, leg=leg.id, digit=digit, via=via))
        if not self._talks.key(leg, digit, via) and leg is self._leg:
            self._keypad.press(digit)
            if via == "info":
                self._player.barge()

    def leg_play_done(self, leg: SipLeg, done: PlayDone) -> None:
        if leg is self._leg:
            self._player.done(done)

    def leg_recording_done(self, done: RecordingDone) -> None:
        self._recordings.done(done)
        self._check_quiet()

    def leg_hold(self, leg: SipLeg, *, held: bool) -> None:
        self._talks.hold(leg, held=held)

    def leg_rtp_timeout(self, leg: SipLeg, silent_for: float) -> None:
        """A peer that holds us may be silent, and so may one before the answer; the plane begins to count anew then."""
        if leg.held or leg.ended.done() or not leg.answered:
            return
        self._ua.emit(RtpTimedOut(call=self._id, leg=leg.id, silent_for=silent_for))
        leg.hangup("rtp_timeout")

    def leg_refers(self, leg: SipLeg, request: Request, event: str) -> LiveTransfer | int:
        return 481 if self.over else refer(self._ua, leg, request, event)

    def leg_ended(self, leg: SipLeg, by: EndedBy, reason: str) -> None:
        if leg is self._leg:
            self._ending.caller_gone(by)
            self.end(by, reason)

    def leg_media_lost(self, leg: SipLeg, plane: Plane) -> None:
        self._recordings.lost(plane, self._check_quiet)
        if leg is self._leg and not leg.has_media:
            self._player.lost()

    def leg_moved(self, leg: SipLeg) -> None:
        if leg is self._leg:
            self._player.go_on()
        for phone in self.phones:
            phone.hear_again()
        self._talks.moved(leg)

    def leg_media_closed(self, leg: SipLeg) -> None:
        self._check_quiet()

    # --- inside -------------------------------------------------------------------------------------------------

    def _age(self) -> float:
        return round(self._ua.clock.monotonic() - self._arrived_at, 3)

    async def _live(self, app: App) -> None:
        self._running = True
        try:
            if not self.over or self._frames:
                await app(self)
            self._running = False  # from here on nothing may cancel this task: it tells of the end
            self._hang_up("flow_end")
        except asyncio.CancelledError:
            self._running = False
            self._hang_up("shutdown", ours=False)
        except PlaneError as error:
            log.error("call failed", call=self._id, error=str(error))
            self._fail("media", 503)
        except Exception:
            log.exception("call failed", call=self._id)
            self._fail("flow_error", 500)
        finally:
            await self._last_words()

    def _fail(self, reason: str, sip_status: int) -> None:
        """Our fault: tell the caller's side as well as can be."""
        self._running = False
        if not self._given:
            self._leg.reject(sip_status, reason)
            self._leg.hangup(reason)

    def _hang_up(self, reason: str, *, ours: bool = True) -> None:
        """ours: the application ends the call."""
        self._ending.ours = self._ending.ours or ours
        if not self._given:
            self._leg.hangup(reason)

    async def _gone(self) -> NoReturn:
        """The call is over: whoever still works for it stops here."""
        await asyncio.sleep(0)  # the cancellation of the call's own task arrives here
        raise asyncio.CancelledError

    async def _last_words(self) -> None:
        for phone in self.phones:
            phone.hangup("call_end")
        quiet = self._quiet = asyncio.get_running_loop().create_future()
        self._check_quiet()
        try:
            if not quiet.done():
                await asyncio.wait([quiet], timeout=MEDIA_REPORT_WITHIN)
        finally:
            if not quiet.done():
                log.warning("media plane did not report", call=self._id)
            self._tell_end()

    def _tell_end(self) -> None:
        ending, talks = self._ending, self._talks
        assert ending.by is not None
        self._ua.emit(
            CallEnded(
                call=self._id,
                outcome=ending.judge(talked=talks.happened, queued=self.queued, answered=self._leg.answered),
                ended_by=EndedBy.AGENT if talks.agent_left and ending.by is EndedBy.SYSTEM else ending.by,
                sip_status=self._leg.sip_status,
                reason=ending.reason,
                duration=round(ending.at - self._arrived_at, 3),
                talked=round(talks.seconds, 3),
            )
        )
        self._ua.call_gone(self)
        for leg in (self._leg, *self.phones):  # lest they keep each other for the collector
            leg.listener = DEAF

    def _check_quiet(self) -> None:
        if self._quiet is None or self._quiet.done() or self._recordings:
            return
        if self._leg.stream.present and not self._given:
            return
        if not any(phone.stream.present for phone in self.phones):
            self._quiet.set_result(None)
