"""A live call: the caller's leg, the task that runs its application, and at most one bridged leg."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

import structlog

from engine.bridge import Bridge, Joined, connect
from engine.call import BridgeEnd, Call, Collected, ConferenceEnd, Dial, Dialled, JoinEnd, Leg, Played, Why
from engine.caller_leg import CallerLeg, CannotAnswer
from engine.conference import Conference, stop_of
from engine.frames import Frame, Frames
from engine.keypad import Keypad
from engine.leg import SipLeg
from engine.leg_listener import DEAF, LegListener
from engine.media.plane import Plane, PlaneError, PlayDone, PortId, RecordingDone
from engine.media.protocol import PortState
from engine.outbound_leg import OutboundLeg
from engine.player import Player
from engine.recordings import Recordings
from engine.saved import BridgeState, CallState, EndState, PartiesState
from engine.sip.message import Request
from engine.transfer import LiveTransfer, refer
from events.types import (
    AttributeSet,
    CallAnswered,
    CallEnded,
    CallOutcome,
    CallUnbridged,
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


@dataclass(slots=True)
class _Before:
    """What a process before this one left of a call's talks, until the application goes on with it."""

    bridge: BridgeState | None = None
    joined: PartiesState | None = None
    conference: PartiesState | None = None
    codes: str = ""
    """Keys that the first of those legs has pressed since."""


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
        self._phones: list[SipLeg] = []
        self._legs = 1
        self._bridge: Bridge | None = None
        self._conference: Conference | None = None
        self._codes: tuple[SipLeg, Callable[[str], None]] | None = None  # whose keys are for the application, and it
        self._parted: asyncio.Future[None] | None = None  # done when the bridge is ended by more than its leg's end
        self._bridged = self._recorded = False
        self._joined: Joined | None = None
        self._last_bridge: BridgeEnd | None = None
        self._waiting: SipLeg | None = None  # of the last bridge, when it has not ended with it
        self._agent_left = False  # the agent hung up, and the caller has heard nothing of us since
        self._talked = 0.0
        self._recordings = Recordings(ua, call_id)
        self._quiet: asyncio.Future[None] | None = None
        self.queued = False
        """In a queue now; whoever puts it there says so, and takes it back unless the caller's end interrupts."""
        self._outcome: CallOutcome | None = None  # None: judged by what the call has been through
        self._ours = False
        """The application ends the call."""
        self._ended: tuple[EndedBy, str] | None = None
        self._ended_at = 0.0
        self._frames = Frames(partial(ua.keeping.touch, call_id))
        self._before = _Before()
        self._unclaimed: set[SipLeg] = set()
        """Legs that it dialled, until the application asks for them."""
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

    @property
    def layer(self) -> str:
        """Of an application that a process before this one ran: its lowest layer; "" for none."""
        return self._frames.lowest

    def frame(self, layer: str) -> Frame:
        return self._frames.enter(layer)

    def leg_of(self, leg: LegId) -> SipLeg | None:
        found = next((phone for phone in self._phones if phone.id == leg), None)
        if found is not None:
            self._unclaimed.discard(found)
        return found

    def set_attribute(self, name: str, value: str) -> None:
        self._attributes[name] = value
        self._ua.emit(AttributeSet(call=self._id, name=name, value=value))

    def beside(self, other: Call) -> None:
        assert isinstance(other, LiveCall)
        if not self._leg.stream.present:
            self._leg.stream.plane = other.leg.plane

    def give(self, to: Call) -> SipLeg | None:
        assert isinstance(to, LiveCall)
        if not self._leg.ready or self._ended is not None or to.over:
            return None
        self._player.silence()
        self._given = True
        self.end(EndedBy.SYSTEM, "picked_up", stop=False)
        to.adopt(self._leg)
        return self._leg

    async def answer(self) -> None:
        if self._leg.ready:
            return
        if self._ended is None:
            await self._unless_refused(self._leg.answer())
        if not self._leg.ready:
            await self._gone()

    async def _early_media(self) -> bool:
        """Whether the caller can hear us, without an answer."""
        heard = self._ended is None and bool(await self._unless_refused(self._leg.early_media()))
        if self._leg.ended.done():
            await self._gone()
        return heard

    async def _unless_refused(self, step: Awaitable[T]) -> T | None:
        try:
            return await step
        except CannotAnswer as refused:
            self._ours = True
            self._outcome = CallOutcome.REFUSED
            self._leg.refuse(refused.refusal, refused.reason)
            return None

    def ringing(self) -> None:
        self._leg.ring()

    async def reject(self, sip_status: int, reason: str) -> None:
        if not self._leg.answered:
            self._ours = True
            self._outcome = CallOutcome.REFUSED
            self._leg.reject(sip_status, reason)
        await self.hangup(reason)

    async def play(self, clips: Sequence[str], *, barge_in: bool = True, early: bool = False) -> Played:
        self._agent_left = False
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
        self._agent_left = False
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
        if self._ended is not None:
            await self._gone()
        self._agent_left = False
        return await self._ua.dial(self, order)

    async def bridge(self, leg: Leg, *, record: bool) -> BridgeEnd:
        assert isinstance(leg, SipLeg)
        try:
            await self.answer()
            before = self._before.bridge
            resumed = before is not None and before.leg == leg.id  # if they are on their way, both go to one place
            near = resumed or await self._ua.relocation.together(self._leg, leg)
            self._player.silence()
            if leg.ended.done() or not near:  # hung up in the moment in which it was to be connected
                by = leg.ended.result() if leg.ended.done() else EndedBy.SYSTEM
                self._last_bridge = BridgeEnd(by, 0.0, 0.0)
                return self._last_bridge
            return await self._talk(leg, record)
        finally:
            if self._waiting is not leg:
                leg.hangup("bridge_end")

    async def join(
        self, agent: Leg, other: Leg, until: asyncio.Future[None], keys: Callable[[str], None] = lambda key: None
    ) -> JoinEnd:
        assert isinstance(agent, SipLeg)
        assert isinstance(other, SipLeg)
        joined, before = Joined(agent, other, self._ua.clock.monotonic), self._before.joined
        if before is not None and _same(before, joined.legs):  # if they are on their way, both go to one place
            self._before.joined = None
            joined.resume(before)
        else:
            await self._ua.relocation.together(agent, other)
            joined.connect()
        self._joined = joined
        self._ua.keeping.touch(self._id)  # no event tells of it
        self._take_codes(agent, keys)
        try:
            return await joined.wait(until)
        finally:
            self._joined = self._codes = None

    async def confer(
        self,
        legs: Sequence[Leg],
        until: asyncio.Future[None],
        *,
        record: bool,
        keys: Callable[[str], None] = lambda key: None,
    ) -> ConferenceEnd:
        others = [leg for leg in legs if isinstance(leg, SipLeg)]
        conference, before = Conference(self._ua, self._id, self._leg, others), self._before.conference
        resumed = before is not None and _same(before, others)
        if before is not None and resumed:
            self._before.conference = None
            conference.resume(before)
        else:
            await self.answer()
            near = [await self._ua.relocation.together(self._leg, leg) for leg in others]
            self._player.silence()
        if resumed or all(near):
            self._conference, self._bridged, self._recorded = conference, True, record
            self._take_codes(others[0], keys)
            if not resumed:
                conference.start()
            voices = conference.voices if self._leg.has_media else ()  # else it begins when it has (`leg_moved`)
            if record and voices and not (resumed and self._recordings):
                self._recordings.start(self._leg, *voices)
        try:
            await conference.wait(until)
        finally:
            end = self._conferred(conference)
        return ConferenceEnd(end.talked, conference.left)

    def ask_transfer(self, target: str, kind: TransferKind) -> bool:
        if self._bridge is None:
            return False
        LiveTransfer(self, self._bridge.agent, target, kind).begin()
        return True

    async def _talk(self, leg: SipLeg, record: bool) -> BridgeEnd:
        bridge = self._bridge = Bridge(self._ua, self._id, self._leg, leg)
        parted = self._parted = asyncio.get_running_loop().create_future()
        self._bridged = True
        self._recorded = record
        self._waiting = None
        before, self._before.bridge = self._before.bridge, None
        resumed = before is not None and before.leg == leg.id
        if before is not None and resumed:
            bridge.resume(before)
        else:
            bridge.start()
        there = self._leg.has_media and leg.has_media  # else it begins when they are (`leg_moved`)
        if record and there and not (resumed and self._recordings):
            self._recordings.start(self._leg, leg)
        try:
            await asyncio.wait([leg.ended, parted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            by = EndedBy.SYSTEM
            if leg.ended.done():
                by = leg.ended.result()
            elif self._ended is not None:
                by = self._ended[0]
            self._part(by)
        assert self._last_bridge is not None
        return self._last_bridge

    def _part(self, by: EndedBy, *, transfer: LiveTransfer | None = None, taken: bool = False) -> None:
        """End the bridge, if there is one still. The leg lives on when it is to be transferred from, or was taken."""
        bridge, self._bridge = self._bridge, None
        if bridge is None:
            return
        keep = transfer is not None or taken
        self._waiting = bridge.agent if keep else None
        end = bridge.stop(by, keep=keep)
        self._last_bridge = replace(end, transfer=transfer, taken=taken)
        self._talked += end.talked
        self._agent_left = by is EndedBy.AGENT and not keep
        if self._recordings and self._leg.has_media:
            self._leg.plane.stop_recording(self._leg.port)
        if self._parted is not None and not self._parted.done():
            self._parted.set_result(None)

    def _take_codes(self, leg: SipLeg, keys: Callable[[str], None]) -> None:
        """Keys of this leg are the application's from now; those first that nobody has taken since the process before
        died."""
        self._codes = (leg, keys)
        waiting, self._before.codes = self._before.codes, ""
        for key in waiting:
            keys(key)

    def _conferred(self, conference: Conference) -> BridgeEnd:
        """The conference is over; as a bridge, it has told of itself in the log if it began."""
        by = EndedBy.SYSTEM
        if self._ended is not None:
            by = self._ended[0]
        elif conference.left is not None:
            by = conference.left.ended.result()
        talked = conference.stop(by) if self._conference is conference else 0.0
        self._conference = self._codes = None
        self._last_bridge = BridgeEnd(by, talked, 0.0)
        self._talked += talked
        if self._recordings and self._leg.has_media:
            self._leg.plane.stop_recording(self._leg.port)
        return self._last_bridge

    def count_as(self, outcome: CallOutcome) -> None:
        """How the end of this call is to be counted, unless it fails."""
        self._outcome = outcome

    async def hangup(self, reason: str = "bye") -> None:
        self._hang_up(reason)
        await self._gone()

    # --- what the user agent does -----------------------------------------------------------------------------

    @property
    def leg(self) -> CallerLeg:
        return self._leg

    def add_phone(self, make: Callable[[LegId], OutboundLeg]) -> OutboundLeg:
        """A leg to be dialled for this call, which outlives it in no case."""
        self._phones = [phone for phone in self._phones if not phone.ended.done() or phone.stream.present]
        self._legs += 1
        phone = make(LegId(f"{self._id}-{self._legs}"))
        phone.listener = self
        self._phones.append(phone)
        return phone

    @property
    def partner(self) -> SipLeg | None:
        """Who talks to the caller now."""
        return self._bridge.agent if self._bridge is not None else None

    @property
    def transfer(self) -> LiveTransfer | None:
        """With which the latest talk ended, if nothing has come of it yet."""
        asked = self._last_bridge.transfer if self._last_bridge is not None else None
        return asked if isinstance(asked, LiveTransfer) and asked.state() is not None else None

    def part_for(self, transfer: LiveTransfer) -> None:
        """The talk is over for the time of a transfer: the application hears of it from `bridge`."""
        if self._bridge is None or self._ended is not None:
            transfer.failed(481)
            return
        self._part(EndedBy.AGENT, transfer=transfer)
        self._player.start_music(self._ua.music)

    def give_up(self, leg: SipLeg) -> None:
        """Its partner goes over to another call."""
        self._part(EndedBy.SYSTEM, taken=True)
        self._phones = [phone for phone in self._phones if phone is not leg]

    def adopt(self, leg: SipLeg) -> None:
        """A leg that another call gave up, bridged by nobody now."""
        self._legs += 1
        leg.move(self._id, LegId(f"{self._id}-{self._legs}"))
        leg.listener = self
        self._phones.append(leg)

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
        return self._ended is not None

    def end(self, by: EndedBy, reason: str, *, stop: bool = True) -> None:
        """The call is over (BYE, CANCEL, media silence, shutdown): stop the application. May be repeated."""
        if self._ended is not None:
            return
        self._ended = (by, reason)
        self._ended_at = self._ua.clock.monotonic()
        if stop and self._running and self._task is not None:  # a task cancelled before its first step would never run
            self._task.cancel()

    # --- another process ----------------------------------------------------------------------------------------

    def state(self) -> CallState:
        """For `restore`."""
        end, transfer = self._last_bridge, self.transfer
        asked = None if transfer is None else transfer.state()
        bridge = self._bridge.state() if self._bridge is not None else self._before.bridge
        return CallState(
            id=self._id,
            caller=self._caller,
            dialled=self._dialled,
            arrived_at=self._arrived_at,
            name=self._name,
            trunk=self._trunk,
            attributes=self._attributes,
            legs=self._legs,
            keys=str(self._keypad),
            player=self._player.state(),
            recordings=self._recordings.state(),
            bridge=bridge,
            joined=self._joined.state() if self._joined is not None else self._before.joined,
            conference=self._conference.state() if self._conference is not None else self._before.conference,
            codes=self._before.codes,
            bridged=self._bridged,
            last_bridge=None if end is None else EndState(end.ended_by, end.talked, end.held, asked),
            agent_left=self._agent_left,
            talked=self._talked,
            queued=self.queued,
            outcome=self._outcome,
            ours=self._ours,
            ended=self._ended,
            ended_at=self._ended_at,
            frames=self._frames.state(),
        )

    def restore(
        self, state: CallState, phones: Sequence[SipLeg], plane: Callable[[str], Plane], *, looping: bool
    ) -> None:
        """Be what `state` was taken from, before `resume`. plane: of a name. looping: music plays to the caller."""
        self._arrived_at, self._attributes, self._legs = state.arrived_at, state.attributes, state.legs
        for key in state.keys:
            self._keypad.press(key)
        self._player.restore(state.player, looping=looping)
        self._recordings.restore(state.recordings, plane)
        self._before = _Before(state.bridge, state.joined, state.conference, state.codes)
        self._bridged, self._agent_left, self._talked = state.bridged, state.agent_left, state.talked
        self.queued, self._outcome, self._ours = state.queued, state.outcome, state.ours
        self._ended, self._ended_at = state.ended, state.ended_at
        self._frames.restore(state.frames)
        self._phones = list(phones)
        self._unclaimed = set(phones)
        for phone in phones:
            phone.listener = self
        self._last_bridge = self._ended_so(state.last_bridge)
        if self._leg.ended.done():  # it may have ended because it could not go on
            self.leg_ended(self._leg, self._leg.ended.result(), "restart")

    def _ended_so(self, was: EndState | None) -> BridgeEnd | None:
        if was is None:
            return None
        asked = was.transfer
        leg = next((phone for phone in self._phones if asked is not None and phone.id == asked.leg), None)
        transfer = None if asked is None or leg is None else LiveTransfer.again(self, leg, asked)
        return BridgeEnd(was.ended_by, was.talked, was.held, transfer)

    def ringing_again(self, order: Dial) -> list[OutboundLeg]:
        """Phones that a process before this one rang for the call by this order, and that ring still."""
        found = [leg for leg in self._unclaimed if isinstance(leg, OutboundLeg) and leg.rings_for(order)]
        self._unclaimed.difference_update(found)
        return sorted(found, key=lambda leg: leg.id)

    def resume(self, app: App) -> asyncio.Task[None]:
        """As `start`, for a call that was restored. One that had ended lets its layers find that out, and ends."""
        if self.transfer is not None and self._before.conference is None:
            self._player.start_music(self._ua.music)  # as in `part_for`
        if self._ended is None or self._frames:
            return self.start(app)
        self._task = asyncio.get_running_loop().create_task(self._last_words(), name=self._id)
        return self._task

    def resumed(self, ports: Mapping[PortId, PortState]) -> None:
        """Each layer is where it was. What none has taken up ends here; and the plane is told what it has not heard.

        ports: what it said of itself."""
        if self._ended is not None and self._running and self._task is not None:
            self._task.cancel()
        before, self._before.bridge = self._before.bridge, None
        if before is not None:
            talked = round(self._ua.clock.monotonic() - before.since, 3)
            by = EndedBy.SYSTEM
            self._ua.emit(CallUnbridged(call=self._id, leg=before.leg, talked=talked, held=before.held, ended_by=by))
        conferred, self._before.conference = self._before.conference, None
        if conferred is not None:
            self._talked += stop_of(self._ua, self._id, conferred)
        self._before.joined, self._before.codes = None, ""
        for phone in self._unclaimed:
            phone.hangup("restart")
        self._unclaimed.clear()
        self._recordings.resumed(self._check_quiet)
        near = [leg for leg in (self._leg, *self._phones) if leg.has_media and leg.plane is self._leg.plane]
        self._correct({leg: ports[leg.port] for leg in near if leg.port in ports})

    def _correct(self, there: Mapping[SipLeg, PortState]) -> None:
        """Tell the plane again what it may not have heard: commands that were lost with the process that gave them."""
        pairs = [self._joined.legs] if self._joined is not None else []
        if self._bridge is not None:
            pairs.append((self._leg, self._bridge.agent))
        for one, other in pairs:
            if one in there and other.has_media and there[one].partner != other.port:
                connect(one, other)
        if self._conference is not None:
            self._conference.check({leg.port: state for leg, state in there.items()})
        for leg in self._talking():
            held = self._bridge is not None and self._bridge.plays_to(leg)
            if leg in there and there[leg].looping and not held:
                leg.plane.stop(leg.port)
        if self._leg in there:
            self._correct_recording(there[self._leg])

    def _correct_recording(self, there: PortState) -> None:
        if self._conference is not None:
            self._recordings.check(self._leg, self._conference.voices, there)
        elif self._bridge is not None:
            self._recordings.check(self._leg, [self._bridge.agent], there)
        elif there.recording:
            self._leg.plane.stop_recording(self._leg.port)

    def _talking(self) -> Sequence[SipLeg]:
        """Who hears somebody now, and no music but from him."""
        if self._joined is not None:
            return self._joined.legs
        if self._conference is not None:
            return (self._leg, *self._conference.legs)
        return () if self._bridge is None else (self._leg, self._bridge.agent)

    # --- LegListener: the caller's leg --------------------------------------------------------------------------

    def leg_answered(self, leg: SipLeg) -> None:
        self._ua.emit(CallAnswered(call=self._id, waited=self._age(), codec=leg.codec))
        self._player.resume()

    def leg_digit(self, leg: SipLeg, digit: str, via: str) -> None:
        if leg.ended.done():
            return
        self._ua.emit(DigitPressed(call=self._id, leg=leg.id, digit=digit, via=via))
        before = self._before.conference or self._before.joined
        if self._codes is not None and self._codes[0] is leg:
            self._codes[1](digit)
        elif before is not None and before.legs[0] == leg.id:
            self._before.codes += digit
        elif self._bridge is not None:
            other = self._bridge.other(leg)
            # RFC 4733 events to one that takes them are relayed below us
            if other is not None and (via == "info" or not other.stream.dtmf):
                other.send_key(digit)
        elif leg is self._leg and not self._talks:
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
        if self._bridge is not None:
            self._bridge.hold(leg, held=held)
        elif self._conference is not None:
            self._conference.arrange()

    def leg_rtp_timeout(self, leg: SipLeg, silent_for: float) -> None:
        """A peer that holds us may be silent, and so may one before the answer; the plane begins to count anew then."""
        if leg.held or leg.ended.done() or not leg.answered:
            return
        self._ua.emit(RtpTimedOut(call=self._id, leg=leg.id, silent_for=silent_for))
        leg.hangup("rtp_timeout")

    def leg_refers(self, leg: SipLeg, request: Request, event: str) -> LiveTransfer | int:
        return 481 if self._ended is not None else refer(self._ua, leg, request, event)

    def leg_ended(self, leg: SipLeg, by: EndedBy, reason: str) -> None:
        if leg is self._leg:
            if by is EndedBy.SYSTEM and not self._ours:
                self._outcome = CallOutcome.FAILED
            self.end(by, reason)

    def leg_media_lost(self, leg: SipLeg, plane: Plane) -> None:
        self._recordings.lost(plane, self._check_quiet)
        if leg is self._leg and not leg.has_media:
            self._player.lost()

    def leg_moved(self, leg: SipLeg) -> None:
        """What was going on at the port before goes on at this one."""
        if leg is self._leg:
            self._player.go_on()
        for phone in self._phones:
            phone.hear_again()
        if self._joined is not None and leg in self._joined.legs:
            self._joined.connect()
        elif self._bridge is not None and self._bridge.other(leg) is not None:
            self._go_on_recording(self._bridge.remake(), [self._bridge.agent])
        elif self._conference is not None and self._conference.takes(leg):
            self._go_on_recording(self._conference.arrange(), self._conference.voices)

    def _go_on_recording(self, ready: bool, rights: Sequence[SipLeg]) -> None:
        if ready and self._recorded:
            self._recordings.start(self._leg, *rights)

    def leg_media_closed(self, leg: SipLeg) -> None:
        self._check_quiet()

    # --- inside -------------------------------------------------------------------------------------------------

    @property
    def _talks(self) -> bool:
        """With a phone, or did so when the process before died."""
        now = self._bridge is not None or self._conference is not None
        return now or self._before.bridge is not None or self._before.conference is not None

    def _age(self) -> float:
        return round(self._ua.clock.monotonic() - self._arrived_at, 3)

    async def _live(self, app: App) -> None:
        self._running = True
        try:
            if self._ended is None or self._frames:
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
        self._ours = self._ours or ours
        if not self._given:
            self._leg.hangup(reason)

    async def _gone(self) -> NoReturn:
        """The call is over: whoever still works for it stops here."""
        await asyncio.sleep(0)  # the cancellation of the call's own task arrives here
        raise asyncio.CancelledError

    async def _last_words(self) -> None:
        for phone in self._phones:
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
        assert self._ended is not None
        by, reason = self._ended
        self._ua.emit(
            CallEnded(
                call=self._id,
                outcome=self._judge(by),
                ended_by=EndedBy.AGENT if self._agent_left and by is EndedBy.SYSTEM else by,
                sip_status=self._leg.sip_status,
                reason=reason,
                duration=round(self._ended_at - self._arrived_at, 3),
                talked=round(self._talked, 3),
            )
        )
        self._ua.call_gone(self)
        for leg in (self._leg, *self._phones):  # lest they keep each other for the collector
            leg.listener = DEAF

    def _judge(self, by: EndedBy) -> CallOutcome:
        if self._bridged and self._outcome is not CallOutcome.CONSULT:
            return CallOutcome.SERVED
        if self._outcome is not None:
            return self._outcome
        if self.queued and by is EndedBy.CALLER:
            return CallOutcome.ABANDONED_QUEUE
        if not self._leg.answered:
            return CallOutcome.CANCELLED if by is EndedBy.CALLER else CallOutcome.REFUSED
        return CallOutcome.ABANDONED_IVR if by is EndedBy.CALLER else CallOutcome.SELF_SERVED

    def _check_quiet(self) -> None:
        if self._quiet is None or self._quiet.done() or self._recordings:
            return
        if self._leg.stream.present and not self._given:
            return
        if not any(phone.stream.present for phone in self._phones):
            self._quiet.set_result(None)


def _same(before: PartiesState, legs: Sequence[SipLeg]) -> bool:
    return before.legs == [leg.id for leg in legs]
