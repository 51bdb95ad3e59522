"""Who talks to whom in a call: its caller with one leg (a bridge) or with several (a conference), or two of its legs
apart from him.

What a process before this one left of a talk waits until the application asks for that talk again: then it goes on, and
nobody hears a gap. `settle` ends what the application has not asked for.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.bridge import Bridge, Joined, connect
from engine.call import BridgeEnd, ConferenceEnd, JoinEnd
from engine.conference import Conference, stop_of
from engine.ending import Ending
from engine.leg import SipLeg
from engine.media.protocol import PortState
from engine.player import Player
from engine.recordings import Recordings
from engine.saved import BridgeState, EndState, PartiesState, TalksState
from engine.transfer import LiveTransfer
from events.types import CallUnbridged, EndedBy
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.ua import UserAgent

Keys = Callable[[str], None]
"""Takes the keys that somebody presses in a talk, one by one."""


@dataclass(slots=True)
class _Before:
    """What a process before this one left, until the application goes on with it."""

    bridge: BridgeState | None = None
    joined: PartiesState | None = None
    conference: PartiesState | None = None
    codes: str = ""
    """Keys that the first of those legs has pressed since."""


class Talks:
    """Of one call. Its legs are hung up by others."""

    def __init__(
        self, ua: "UserAgent", call: CallId, caller: SipLeg, player: Player, recordings: Recordings, ending: Ending
    ) -> None:
        self._ua, self._call, self._caller = ua, call, caller
        self._player, self._recordings, self._ending = player, recordings, ending
        self._bridge: Bridge | None = None
        self._parted: asyncio.Future[None] | None = None  # done when the bridge is ended by more than its leg's end
        self._conference: Conference | None = None
        self._joined: Joined | None = None
        self._record = False  # bridge or conference
        self._codes: tuple[SipLeg, Keys] | None = None  # whose keys are for the application, and it
        self._before = _Before()
        self.last: BridgeEnd | None = None
        """How the latest bridge or conference ended."""
        self.waiting: SipLeg | None = None
        """Of the last bridge, when it has not ended with it."""
        self.happened = False
        """The caller has talked to somebody …"""
        self.seconds = 0.0
        """… for so long; without the present talk."""
        self.agent_left = False
        """The agent hung up, and the caller has heard nothing of us since."""

    # --- what the application asks for: see engine.call.Call ----------------------------------------------------

    async def bridge(self, leg: SipLeg, *, record: bool) -> BridgeEnd:
        """The caller is answered."""
        before = self._before.bridge
        was = before if before is not None and before.leg == leg.id else None
        # if they are on their way, both go to one place
        near = was is not None or await self._ua.relocation.together(self._caller, leg)
        self._player.silence()
        if leg.ended.done() or not near:  # hung up in the moment in which it was to be connected
            by = leg.ended.result() if leg.ended.done() else EndedBy.SYSTEM
            self.last = BridgeEnd(by, 0.0, 0.0)
            return self.last
        return await self._talk(leg, was, record=record)

    async def join(self, agent: SipLeg, other: SipLeg, until: asyncio.Future[None], keys: Keys) -> JoinEnd:
        joined, before = Joined(agent, other, self._ua.clock.monotonic), self._before.joined
        if before is not None and _same(before, joined.legs):  # if they are on their way, both go to one place
            self._before.joined = None
            joined.resume(before)
        else:
            await self._ua.relocation.together(agent, other)
            joined.connect()
        self._joined = joined
        self._ua.keeping.touch(self._call)  # no event tells of it
        self._take_codes(agent, keys)
        try:
            return await joined.wait(until)
        finally:
            self._joined = self._codes = None

    async def confer(
        self, legs: Sequence[SipLeg], until: asyncio.Future[None], *, record: bool, keys: Keys
    ) -> ConferenceEnd:
        """The caller is answered."""
        conference = Conference(self._ua, self._call, self._caller, legs)
        was = self._before.conference if self.confers_on(legs) else None
        near = True
        if was is not None:
            self._before.conference = None
            conference.resume(was)
        else:
            near = all([await self._ua.relocation.together(self._caller, leg) for leg in legs])
            self._player.silence()
        if near:
            self._conference, self.happened, self._record = conference, True, record
            self._take_codes(legs[0], keys)
            if was is None:
                conference.start()
            self._start_recording(conference.voices, resumed=was is not None)
        try:
            await conference.wait(until)
        finally:
            end = self._conferred(conference)
        return ConferenceEnd(end.talked, conference.left)

    def confers_on(self, legs: Sequence[SipLeg]) -> bool:
        """A process before this one had the caller in conference with them."""
        return self._before.conference is not None and _same(self._before.conference, legs)

    def part(self, by: EndedBy, *, transfer: LiveTransfer | None = None, taken: bool = False) -> None:
        """End the bridge, if there is one still. The leg lives on when it is to be transferred from, or was taken."""
        bridge, self._bridge = self._bridge, None
        if bridge is None:
            return
        keep = transfer is not None or taken
        self.waiting = bridge.agent if keep else None
        end = bridge.stop(by, keep=keep)
        self.last = replace(end, transfer=transfer, taken=taken)
        self.seconds += end.talked
        self.agent_left = by is EndedBy.AGENT and not keep
        self._stop_recording()
        if self._parted is not None and not self._parted.done():
            self._parted.set_result(None)

    # --- what others ask ------------------------------------------------------------------------------------------

    @property
    def partner(self) -> SipLeg | None:
        """Who is bridged to the caller now."""
        return self._bridge.agent if self._bridge is not None else None

    @property
    def with_caller(self) -> bool:
        """The caller talks to somebody, or did so when the process before died."""
        now = self._bridge is not None or self._conference is not None
        return now or self._before.bridge is not None or self._before.conference is not None

    @property
    def transfer(self) -> LiveTransfer | None:
        """With which the latest talk ended, if nothing has come of it yet."""
        asked = self.last.transfer if self.last is not None else None
        return asked if isinstance(asked, LiveTransfer) and asked.state() is not None else None

    # --- what legs tell -------------------------------------------------------------------------------------------

    def key(self, leg: SipLeg, digit: str, via: str) -> bool:
        """A key was pressed. False: no talk has to do with it, if it is the caller's it is for the flow."""
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
        else:
            return self.with_caller
        return True

    def hold(self, leg: SipLeg, *, held: bool) -> None:
        if self._bridge is not None:
            self._bridge.hold(leg, held=held)
        elif self._conference is not None:
            self._conference.arrange()

    def moved(self, leg: SipLeg) -> None:
        """What was going on at the port before goes on at this one."""
        if self._joined is not None and leg in self._joined.legs:
            self._joined.connect()
        elif self._bridge is not None and self._bridge.other(leg) is not None:
            if self._bridge.remake():
                self._start_recording([self._bridge.agent])
        elif self._conference is not None and self._conference.takes(leg) and self._conference.arrange():
            self._start_recording(self._conference.voices)

    # --- another process ------------------------------------------------------------------------------------------

    def state(self) -> TalksState:
        """For `restore`."""
        before, end, transfer = self._before, self.last, self.transfer
        asked = None if transfer is None else transfer.state()
        return TalksState(
            bridge=self._bridge.state() if self._bridge is not None else before.bridge,
            joined=self._joined.state() if self._joined is not None else before.joined,
            conference=self._conference.state() if self._conference is not None else before.conference,
            codes=before.codes,
            last=None if end is None else EndState(end.ended_by, end.talked, end.held, asked),
            happened=self.happened,
            seconds=self.seconds,
            agent_left=self.agent_left,
        )

    def restore(self, state: TalksState, transfer: LiveTransfer | None) -> None:
        """Be what `state` was taken from. transfer: the one of `state.last`, if the agent's leg is there still."""
        self._before = _Before(state.bridge, state.joined, state.conference, state.codes)
        self.happened, self.seconds, self.agent_left = state.happened, state.seconds, state.agent_left
        was = state.last
        self.last = None if was is None else BridgeEnd(was.ended_by, was.talked, was.held, transfer)

    def settle(self) -> None:
        """What the application has not taken up is over."""
        before, self._before = self._before, _Before()
        if before.bridge is not None:
            was, by = before.bridge, EndedBy.SYSTEM
            talked = round(self._ua.clock.monotonic() - was.since, 3)
            self._ua.emit(CallUnbridged(call=self._call, leg=was.leg, talked=talked, held=was.held, ended_by=by))
        if before.conference is not None:
            self.seconds += stop_of(self._ua, self._call, before.conference)

    def correct(self, there: Mapping[SipLeg, PortState]) -> None:
        """Tell the plane again what it may not have heard: commands that were lost with the process that gave them.

        there: what it said of the ports of our legs before any command of ours."""
        pairs = [self._joined.legs] if self._joined is not None else []
        if self._bridge is not None:
            pairs.append((self._caller, self._bridge.agent))
        for one, other in pairs:
            if one in there and other.has_media and there[one].partner != other.port:
                connect(one, other)
        if self._conference is not None:
            self._conference.check({leg.port: state for leg, state in there.items()})
        for leg in self._parties():
            held = self._bridge is not None and self._bridge.plays_to(leg)
            if leg in there and there[leg].looping and not held:
                leg.plane.stop(leg.port)
        if self._caller in there:
            self._correct_recording(there[self._caller])

    # --- inside -------------------------------------------------------------------------------------------------

    async def _talk(self, leg: SipLeg, was: BridgeState | None, *, record: bool) -> BridgeEnd:
        """was: a process before this one had begun it."""
        bridge = self._bridge = Bridge(self._ua, self._call, self._caller, leg)
        parted = self._parted = asyncio.get_running_loop().create_future()
        self.happened, self._record, self.waiting = True, record, None
        self._before.bridge = None
        if was is not None:
            bridge.resume(was)
        else:
            bridge.start()
        if leg.has_media:
            self._start_recording([leg], resumed=was is not None)
        try:
            await asyncio.wait([leg.ended, parted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.part(leg.ended.result() if leg.ended.done() else self._ending.by or EndedBy.SYSTEM)
        assert self.last is not None
        return self.last

    def _conferred(self, conference: Conference) -> BridgeEnd:
        """The conference is over; as a bridge, it has told of itself in the log if it began."""
        by = self._ending.by
        if by is None:
            by = EndedBy.SYSTEM if conference.left is None else conference.left.ended.result()
        talked = conference.stop(by) if self._conference is conference else 0.0
        self._conference = self._codes = None
        self.last = BridgeEnd(by, talked, 0.0)
        self.seconds += talked
        self._stop_recording()
        return self.last

    def _take_codes(self, leg: SipLeg, keys: Keys) -> None:
        """Keys of this leg are the application's from now; those first that nobody has taken since the process before
        died."""
        self._codes = (leg, keys)
        waiting, self._before.codes = self._before.codes, ""
        for key in waiting:
            keys(key)

    def _parties(self) -> Sequence[SipLeg]:
        """Who hears somebody now, and no music but from him."""
        if self._joined is not None:
            return self._joined.legs
        if self._conference is not None:
            return (self._caller, *self._conference.legs)
        return () if self._bridge is None else (self._caller, self._bridge.agent)

    def _start_recording(self, voices: Sequence[SipLeg], *, resumed: bool = False) -> None:
        """If the talk is to be recorded, and the legs have media; else it begins when they do (`moved`)."""
        ready = self._record and self._caller.has_media and bool(voices)
        if ready and not (resumed and self._recordings):
            self._recordings.start(self._caller, *voices)

    def _stop_recording(self) -> None:
        if self._recordings and self._caller.has_media:
            self._caller.plane.stop_recording(self._caller.port)

    def _correct_recording(self, there: PortState) -> None:
        if self._conference is not None:
            self._recordings.check(self._caller, self._conference.voices, there)
        elif self._bridge is not None:
            self._recordings.check(self._caller, [self._bridge.agent], there)
        elif there.recording:
            self._caller.plane.stop_recording(self._caller.port)


def _same(before: PartiesState, legs: Sequence[SipLeg]) -> bool:
    return before.legs == [leg.id for leg in legs]
