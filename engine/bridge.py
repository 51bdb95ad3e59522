"""Two legs talking: relay, hold with music to the other side, and the seconds of each."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.call import BridgeEnd, JoinEnd
from engine.leg import SipLeg
from engine.saved import BridgeState, PartiesState
from events.types import CallBridged, CallHeld, CallResumed, CallUnbridged, EndedBy
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.ua import UserAgent


class Bridge:
    """Caller and agent."""

    def __init__(self, ua: "UserAgent", call: CallId, caller: SipLeg, agent: SipLeg) -> None:
        self._ua, self._call, self._caller, self._agent = ua, call, caller, agent
        self._since = ua.clock.monotonic()
        self._holding: dict[SipLeg, float] = {}
        self._held_since = 0.0
        self._held = 0.0

    def start(self) -> None:
        connect(self._caller, self._agent)
        self._ua.emit(CallBridged(call=self._call, leg=self._agent.id))
        for leg in (self._caller, self._agent):
            if leg.held:
                self.hold(leg, held=True)

    def state(self) -> BridgeState:
        """For `resume`."""
        holding = {leg.id: since for leg, since in self._holding.items()}
        return BridgeState(self._agent.id, self._since, holding, self._held_since, self._held)

    def resume(self, state: BridgeState) -> None:
        """Go on with what a process before this one began: the two hear each other still."""
        self._since, self._held_since, self._held = state.since, state.held_since, state.held
        self._holding = {leg: state.holding[leg.id] for leg in (self._caller, self._agent) if leg.id in state.holding}

    def remake(self) -> bool:
        """A leg has another port. False: the other is not there yet."""
        if not connect(self._caller, self._agent):
            return False
        for leg in self._holding:
            other = self.other(leg)
            if other is not None:
                self._ua.play_music(other)
        return True

    @property
    def agent(self) -> SipLeg:
        return self._agent

    def other(self, leg: SipLeg) -> SipLeg | None:
        """None for a leg that is in no talk now."""
        return self._agent if leg is self._caller else self._caller if leg is self._agent else None

    def plays_to(self, leg: SipLeg) -> bool:
        """The other holds it."""
        return self.other(leg) in self._holding

    def hold(self, leg: SipLeg, *, held: bool) -> None:
        """`leg` asked for hold or ended it: its partner hears music meanwhile."""
        now = self._ua.clock.monotonic()
        other = self.other(leg)
        if other is None:
            return
        if held and leg not in self._holding:
            if not self._holding:
                self._held_since = now
            self._holding[leg] = now
            self._ua.play_music(other)
            self._ua.emit(CallHeld(call=self._call, leg=leg.id))
        elif not held and leg in self._holding:
            since = self._holding.pop(leg)
            if not self._holding:
                self._held += now - self._held_since
            if other.has_media:
                other.plane.stop(other.port)
            self._ua.emit(CallResumed(call=self._call, leg=leg.id, held=round(now - since, 3)))

    def stop(self, ended_by: EndedBy, *, keep: bool) -> BridgeEnd:
        """keep: the agent's leg lives on, for the time of a transfer; else it is hung up."""
        now = self._ua.clock.monotonic()
        if self._holding:
            self._held += now - self._held_since
        talked, held = round(now - self._since, 3), round(self._held, 3)
        if self._caller.has_media:
            self._caller.plane.unbridge(self._caller.port)
            if self._agent in self._holding:
                self._caller.plane.stop(self._caller.port)
        if not keep:
            self._agent.hangup("bridge_end")
        elif self._agent.has_media and self._caller in self._holding:
            self._agent.plane.stop(self._agent.port)
        self._ua.emit(CallUnbridged(call=self._call, leg=self._agent.id, talked=talked, held=held, ended_by=ended_by))
        return BridgeEnd(ended_by, talked, held)


def connect(a: SipLeg, b: SipLeg) -> bool:
    """Let two legs hear each other. False: not now, one of them is moved to the media process of the other."""
    ready = a.has_media and b.has_media and a.plane is b.plane
    if ready:
        a.plane.bridge(a.port, b.port)
    return ready


class Joined:
    """Two legs of one call talk, its caller apart. See engine.call.Call.join."""

    def __init__(self, agent: SipLeg, other: SipLeg, monotonic: Callable[[], float]) -> None:
        self.legs = (agent, other)
        self._now = monotonic
        self._since = monotonic()

    def state(self) -> PartiesState:
        """For `resume`."""
        return PartiesState([leg.id for leg in self.legs], self._since)

    def resume(self, was: PartiesState) -> None:
        """Go on with what a process before this one began: the two hear each other still."""
        self._since = was.since

    def connect(self) -> bool:
        """At first, and whenever a leg has another port."""
        return connect(*self.legs)

    async def wait(self, until: asyncio.Future[None]) -> JoinEnd:
        """They are parted when this returns."""
        one, other = self.legs
        try:
            ends: list[asyncio.Future[Any]] = [one.ended, other.ended, until]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there = next((leg for leg in self.legs if leg.has_media), None)
            if there is not None:
                there.plane.unbridge(there.port)
        ended = next((leg for leg in self.legs if leg.ended.done()), None)
        return JoinEnd(round(self._now() - self._since, 3), ended)
