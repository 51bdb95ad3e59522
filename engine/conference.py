"""A caller and several legs of his call who all hear each other. See engine.call.Call.confer."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.leg import SipLeg
from engine.media.plane import PortId
from engine.media.protocol import PortState
from engine.saved import PartiesState
from events.types import CallBridged, CallUnbridged, EndedBy
from kernel.ids import CallId, LegId

if TYPE_CHECKING:
    from engine.ua import UserAgent


class Conference:
    """All of them have media, on one plane; but for the time in which they are moved to another."""

    def __init__(self, ua: "UserAgent", call: CallId, caller: SipLeg, legs: Sequence[SipLeg]) -> None:
        self._ua, self._call, self._caller, self.legs = ua, call, caller, legs
        self._since = ua.clock.monotonic()

    def state(self) -> PartiesState:
        """For `resume`, or `stop_of`."""
        return PartiesState([leg.id for leg in self.legs], self._since)

    def resume(self, was: PartiesState) -> None:
        """Go on with what a process before this one began: they hear each other still."""
        self._since = was.since

    def check(self, ports: Mapping[PortId, PortState]) -> None:
        """Arrange it, unless the plane has it so. ports: what it said of itself, before any command of ours."""
        there, hears = self._arrangement()
        if any(set(ports[port].hears) != set(heard) for port, heard in zip(there, hears, strict=True) if port in ports):
            self.arrange()

    def start(self) -> None:
        self.arrange()
        for leg in self.legs:
            self._ua.emit(CallBridged(call=self._call, leg=leg.id))

    def arrange(self) -> bool:
        """Who hears whom; again whenever one begins or ends to hold: his phone's music is not for the others; and when
        one has another port. False: the others are not there yet."""
        there, hears = self._arrangement()
        self._caller.plane.mix(there, hears)
        return self._caller in self._there and self.legs[0] in self._there

    def _arrangement(self) -> tuple[list[PortId], list[list[PortId]]]:
        there = self._there
        hears = [[other.port for other in there if other is not leg and not other.held] for leg in there]
        return [leg.port for leg in there], hears

    @property
    def _there(self) -> list[SipLeg]:
        plane = self._caller.plane
        return [leg for leg in (self._caller, *self.legs) if leg.has_media and leg.plane is plane]

    @property
    def voices(self) -> list[SipLeg]:
        """Legs that can be recorded beside the caller."""
        return [leg for leg in self._there if leg is not self._caller]

    async def wait(self, until: asyncio.Future[None]) -> None:
        """Until one of the legs ends or `until` is done."""
        ends: list[asyncio.Future[Any]] = [leg.ended for leg in self.legs]
        await asyncio.wait([*ends, until], return_when=asyncio.FIRST_COMPLETED)

    def takes(self, leg: SipLeg) -> bool:
        return leg is self._caller or leg in self.legs

    @property
    def left(self) -> SipLeg | None:
        """The leg that has ended."""
        return next((leg for leg in self.legs if leg.ended.done()), None)

    def stop(self, ended_by: EndedBy) -> float:
        """Returns its seconds. Those who are there still hear each other on: whoever is bridged next hears no gap."""
        talked = round(self._ua.clock.monotonic() - self._since, 3)
        _stopped(self._ua, self._call, [leg.id for leg in self.legs], talked, ended_by)
        return talked


def stop_of(ua: "UserAgent", call: CallId, was: PartiesState) -> float:
    """One of a process before this one, with which nobody goes on. Returns its seconds."""
    talked = round(ua.clock.monotonic() - was.since, 3)
    _stopped(ua, call, was.legs, talked, EndedBy.SYSTEM)
    return talked


def _stopped(ua: "UserAgent", call: CallId, legs: Sequence[LegId], talked: float, ended_by: EndedBy) -> None:
    for leg in legs:
        ua.emit(CallUnbridged(call=call, leg=leg, talked=talked, held=0.0, ended_by=ended_by))
