"""Two legs talking: relay, hold with music to the other side, and the seconds of each."""

from typing import TYPE_CHECKING

from engine.call import BridgeEnd
from engine.leg import SipLeg
from events.types import CallBridged, CallHeld, CallResumed, CallUnbridged, EndedBy
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.ua import UserAgent


class Bridge:
    """Caller and agent. `stop` hangs the agent up."""

    def __init__(self, ua: "UserAgent", call: CallId, caller: SipLeg, agent: SipLeg) -> None:
        self._ua, self._call, self._caller, self._agent = ua, call, caller, agent
        self._since = ua.clock.monotonic()
        self._holding: dict[SipLeg, float] = {}
        self._held_since = 0.0
        self._held = 0.0

    def start(self) -> None:
        self._caller.plane.bridge(self._caller.port, self._agent.port)
        self._ua.emit(CallBridged(call=self._call, leg=self._agent.id))
        for leg in (self._caller, self._agent):
            if leg.held:
                self.hold(leg, held=True)

    def other(self, leg: SipLeg) -> SipLeg:
        return self._agent if leg is self._caller else self._caller

    def hold(self, leg: SipLeg, *, held: bool) -> None:
        """`leg` asked for hold or ended it: its partner hears music meanwhile."""
        now = self._ua.clock.monotonic()
        other = self.other(leg)
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

    def stop(self, ended_by: EndedBy) -> BridgeEnd:
        now = self._ua.clock.monotonic()
        if self._holding:
            self._held += now - self._held_since
        talked, held = round(now - self._since, 3), round(self._held, 3)
        if self._caller.has_media:
            self._caller.plane.unbridge(self._caller.port)
            if self._agent in self._holding:
                self._caller.plane.stop(self._caller.port)
        self._agent.hangup("bridge_end")
        self._ua.emit(CallUnbridged(call=self._call, leg=self._agent.id, talked=talked, held=held, ended_by=ended_by))
        return BridgeEnd(ended_by, talked, held)
