"""A live call: the caller's leg, the task that runs its application, and at most one bridged leg."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from engine.bridge import Bridge
from engine.call import BridgeEnd, Collected, Dial, Dialled, Leg, Played, Why
from engine.caller_leg import CallerLeg, CannotAnswer
from engine.leg import LegListener, SipLeg
from engine.media.plane import PlaneError, PlayDone, PlayId, RecordingDone
from events.types import (
    AttributeSet,
    CallAnswered,
    CallEnded,
    CallOutcome,
    DigitPressed,
    EndedBy,
    RecordingStarted,
    RecordingStopped,
    RtpTimedOut,
)
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.ua import UserAgent

log = structlog.get_logger()

MEDIA_REPORT_WITHIN = 2.0
"""How long the end of a call waits for the media plane's last words (statistics, recording) before it is told."""
DIGITS_LIMIT = 64
"""Keys kept for a flow that does not collect them."""

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
        self._digits: list[str] = []
        self._digit_waiter: asyncio.Future[None] | None = None
        self._play_id = PlayId(0)
        self._play_waiter: asyncio.Future[PlayDone] | None = None
        self._barging = False
        self._music: str | None = None
        self._bridge: Bridge | None = None
        self._last_bridge: BridgeEnd | None = None
        self._legs = 1
        self._talked = 0.0
        self._recordings = 0
        self._recordings_open = 0
        self._quiet: asyncio.Event | None = None
        self.outcome: CallOutcome | None = None
        """Set by the application when it knows better than the engine (ABANDONED_QUEUE); read at the end."""
        self._ended: tuple[EndedBy, str] | None = None
        self._ended_at = 0.0
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
        return self._last_bridge

    def set_attribute(self, name: str, value: str) -> None:
        self._attributes[name] = value
        self._ua.emit(AttributeSet(call=self._id, name=name, value=value))

    async def answer(self) -> None:
        if self._leg.answered:
            return
        try:
            await self._leg.answer()
        except CannotAnswer as refused:
            await self._finish_here(EndedBy.SYSTEM, refused.reason, CallOutcome.REFUSED)
        self._ua.emit(CallAnswered(call=self._id, waited=self._age(), codec=self._leg.codec))

    async def reject(self, sip_status: int, reason: str) -> None:
        self._leg.reject(sip_status, reason)
        await self._finish_here(EndedBy.SYSTEM, reason, CallOutcome.REFUSED)

    async def play(self, clips: Sequence[str], *, barge_in: bool = True) -> Played:
        await self.answer()
        if barge_in and self._digits:
            return Played(Why.BARGED, 0.0)
        self._play_id = PlayId(self._play_id + 1)
        self._play_waiter = asyncio.get_running_loop().create_future()
        self._barging = barge_in
        self._leg.plane.play(self._leg.port, self._play_id, clips, loop=False, barge_in=barge_in)
        try:
            done = await self._play_waiter
        except asyncio.CancelledError:
            self._stop_play()
            raise
        finally:
            self._play_waiter = None
            self._barging = False
        if self._music is not None:
            self._loop_music(self._music)
        return Played(Why.FINISHED if done.finished else Why.BARGED, done.seconds)

    async def collect(
        self, *, max_digits: int, timeout: float, inter_digit: float = 3.0, terminator: str = "#"
    ) -> Collected:
        await self.answer()
        got = ""
        while len(got) < max_digits:
            try:
                async with asyncio.timeout(inter_digit if got else timeout):
                    digit = await self.next_digit()
            except TimeoutError:
                return Collected(got, Why.TIMEOUT)
            if digit == terminator:
                break
            got += digit
        return Collected(got, Why.FINISHED)

    async def next_digit(self) -> str:
        while not self._digits:
            self._digit_waiter = asyncio.get_running_loop().create_future()
            try:
                await self._digit_waiter
            finally:
                self._digit_waiter = None
        return self._digits.pop(0)

    def start_music(self, clip: str) -> None:
        self._music = clip
        if self._leg.has_media and self._play_waiter is None:
            self._loop_music(clip)

    def stop_music(self) -> None:
        if self._music is not None:
            self._music = None
            if self._play_waiter is None:
                self._stop_play()

    async def dial(self, order: Dial) -> Dialled:
        return await self._ua.dial(self, order)

    async def bridge(self, leg: Leg, *, record: bool) -> BridgeEnd:
        assert isinstance(leg, SipLeg)
        self._music = None
        await self.answer()
        bridge = self._bridge = Bridge(self._ua, self._id, self._leg, leg)
        bridge.start()
        if record:
            self._record(leg)
        try:
            ended_by = await leg.ended
        except asyncio.CancelledError:
            ended_by = self._ended[0] if self._ended else EndedBy.SYSTEM
            raise
        finally:
            self._bridge = None
            end = self._last_bridge = bridge.stop(ended_by)
            self._talked += end.talked
            if record and self._leg.has_media:
                self._leg.plane.stop_recording(self._leg.port)
        return end

    async def hangup(self, reason: str = "bye") -> None:
        self._leg.hangup(reason)
        await self._finish_here(EndedBy.SYSTEM, reason, None)

    # --- what the user agent does -----------------------------------------------------------------------------

    @property
    def leg(self) -> CallerLeg:
        return self._leg

    def next_leg_number(self) -> int:
        self._legs += 1
        return self._legs

    @property
    def bridged(self) -> bool:
        return self._bridge is not None

    def start(self, app: App) -> asyncio.Task[None]:
        """Run the application; the call ends when it returns."""
        self._task = asyncio.get_running_loop().create_task(self._live(app), name=self._id)
        return self._task

    def end(self, by: EndedBy, reason: str) -> None:
        """The call is over (BYE, CANCEL, media silence, shutdown): stop the application. May be repeated."""
        if self._ended is None:
            self._ended = (by, reason)
            self._ended_at = self._ua.clock.monotonic()
            if self._task is not None and not self._task.done():
                self._task.cancel()

    # --- LegListener: the caller's leg --------------------------------------------------------------------------

    def leg_digit(self, leg: SipLeg, digit: str, via: str) -> None:
        self._ua.emit(DigitPressed(call=self._id, leg=leg.id, digit=digit, via=via))
        if self._bridge is not None:
            if via == "info":  # RFC 4733 events are relayed below us
                other = self._bridge.other(leg)
                if other.has_media:
                    other.plane.send_dtmf(other.port, digit)
            return
        if leg is not self._leg or len(self._digits) >= DIGITS_LIMIT:
            return
        self._digits.append(digit)
        if self._digit_waiter is not None and not self._digit_waiter.done():
            self._digit_waiter.set_result(None)
        if self._barging and via == "info":
            self._stop_play()

    def leg_play_done(self, leg: SipLeg, done: PlayDone) -> None:
        waiter = self._play_waiter
        if leg is self._leg and waiter is not None and done.play == self._play_id and not waiter.done():
            waiter.set_result(done)

    def leg_recording_done(self, done: RecordingDone) -> None:
        self._recordings_open -= 1
        self._ua.emit(
            RecordingStopped(call=self._id, path=done.path, seconds=done.seconds, lost_frames=done.lost_frames)
        )
        self._check_quiet()

    def leg_hold(self, leg: SipLeg, *, held: bool) -> None:
        if self._bridge is not None:
            self._bridge.hold(leg, held=held)

    def leg_rtp_timeout(self, leg: SipLeg, silent_for: float) -> None:
        if leg.held:
            return
        self._ua.emit(RtpTimedOut(call=self._id, leg=leg.id, silent_for=silent_for))
        leg.hangup("rtp_timeout")
        if leg is self._leg:
            self.outcome = self.outcome or CallOutcome.FAILED
            self.end(EndedBy.SYSTEM, "rtp_timeout")

    def leg_ended(self, leg: SipLeg, by: EndedBy, reason: str) -> None:
        if leg is self._leg:
            self.end(by, reason)

    def leg_media_closed(self, leg: SipLeg) -> None:
        self._check_quiet()

    # --- inside -------------------------------------------------------------------------------------------------

    def _age(self) -> float:
        return round(self._ua.clock.monotonic() - self._arrived_at, 3)

    async def _live(self, app: App) -> None:
        try:
            await app(self)
            if self._ended is None:
                self._leg.hangup("flow_end")
                self.end_quietly(EndedBy.SYSTEM, "flow_end")
        except asyncio.CancelledError:
            if self._ended is None:
                self._leg.hangup("shutdown")
                self.end_quietly(EndedBy.SYSTEM, "shutdown")
        except PlaneError as error:
            self._fail("media", error)
        except Exception as error:
            log.exception("call failed", call=self._id)
            self._fail("flow_error", error)
        finally:
            await self._last_words()

    def end_quietly(self, by: EndedBy, reason: str) -> None:
        """As `end`, from within the call's own task: nothing is left to cancel."""
        if self._ended is None:
            self._ended = (by, reason)
            self._ended_at = self._ua.clock.monotonic()

    def _fail(self, reason: str, error: Exception) -> None:
        log.error("call failed", call=self._id, reason=reason, error=str(error))
        self.outcome = CallOutcome.FAILED
        if self._leg.answered:
            self._leg.hangup(reason)
        else:
            self._leg.reject(503 if reason == "media" else 500, reason)
        self.end_quietly(EndedBy.SYSTEM, reason)

    async def _finish_here(self, by: EndedBy, reason: str, outcome: CallOutcome | None) -> None:
        self.outcome = self.outcome or outcome
        self.end(by, reason)
        await asyncio.sleep(0)  # the task's own cancellation arrives here

    async def _last_words(self) -> None:
        self._leg.release()
        self._quiet = asyncio.Event()
        self._check_quiet()
        try:
            async with asyncio.timeout(MEDIA_REPORT_WITHIN):
                await self._quiet.wait()
        except TimeoutError:
            log.warning("media plane did not report", call=self._id)
        assert self._ended is not None
        by, reason = self._ended
        self._ua.emit(
            CallEnded(
                call=self._id,
                outcome=self._judge(by),
                ended_by=by,
                sip_status=self._leg.sip_status,
                reason=reason,
                duration=round(self._ended_at - self._arrived_at, 3),
                talked=round(self._talked, 3),
            )
        )
        self._ua.call_gone(self)

    def _judge(self, by: EndedBy) -> CallOutcome:
        if self._talked > 0:
            return CallOutcome.SERVED
        if self.outcome is not None:
            return self.outcome
        if not self._leg.answered:
            return CallOutcome.CANCELLED if by is EndedBy.CALLER else CallOutcome.REFUSED
        return CallOutcome.ABANDONED_IVR if by is EndedBy.CALLER else CallOutcome.SELF_SERVED

    def _check_quiet(self) -> None:
        if self._quiet is not None and not self._leg.has_media and self._recordings_open == 0:
            self._quiet.set()

    def _loop_music(self, clip: str) -> None:
        self._play_id = PlayId(self._play_id + 1)
        self._leg.plane.play(self._leg.port, self._play_id, [clip], loop=True, barge_in=False)

    def _stop_play(self) -> None:
        if self._leg.has_media:
            self._leg.plane.stop(self._leg.port)

    def _record(self, leg: SipLeg) -> None:
        self._recordings += 1
        path = self._ua.recording_path(self._id, self._recordings)
        self._recordings_open += 1
        self._leg.plane.record(self._leg.port, leg.port, path)
        self._ua.emit(RecordingStarted(call=self._id, path=path))
