"""Calls of a process that died go on in this one.

Theory of operation. Legs come back first: their dialogs, transactions and ports. Then the calls that they belong to.
Media events that happened meanwhile are next: a key that was pressed spares a prompt. Then each call's application is
started as ever, and its layers take up their places (frames.py). When all of them have, `Restored.finish` ends what no
layer has claimed, and tells the media processes what they have not heard. A leg whose media process is another one by
now takes the way of one whose media process dies under it (relocation.py), from before its application begins.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog
from msgspec import DecodeError
from msgspec.json import decode

from engine.caller_leg import CallerLeg
from engine.destination import Destination
from engine.leg import SipLeg
from engine.media.lost import LostPlane
from engine.media.plane import Plane, PortId
from engine.media.profile import MediaProfile
from engine.media.protocol import PortState
from engine.outbound_leg import OutboundLeg
from engine.saved import CallState, LegState
from engine.session import LiveCall
from engine.sip.grammar import ParseError
from engine.sip.parse import parse_request
from engine.transfer import break_off
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.ua import UserAgent

log = structlog.get_logger()

TURNS = 4
"""Of the loop, until a layer that starts a task for a part of its work (a dial, say) has got to where that waits."""
Ports = Mapping[PortId, PortState]
Known = Callable[[str], tuple[Plane, Ports] | None]
"""Name of a media process -> its plane, and what is open there; None: it is not the process any more that it was."""


class Restored:
    """What one process has left: `read`, `begin`, `finish`."""

    def __init__(self, ua: "UserAgent", known: Known) -> None:
        self._ua = ua
        self._known = known
        self._planes: dict[str, tuple[Plane, Ports]] = {}
        self._legs: list[SipLeg] = []
        self._left: list[SipLeg] = []
        self._closing: list[SipLeg] = []
        self.calls: dict[CallId, LiveCall] = {}

    def read(self, legs: Mapping[str, bytes], calls: Mapping[str, bytes]) -> None:
        """legs, calls: what `Keeping.save` has put. What can't be understood is left out, and said."""
        found: dict[CallId, list[LegState]] = {}
        for key, data in legs.items():
            try:
                leg = decode(data, type=LegState)
            except DecodeError as error:
                log.error("saved leg is not understood", leg=key, error=str(error))
            else:
                found.setdefault(leg.call, []).append(leg)
        for key, data in calls.items():
            try:
                state = decode(data, type=CallState)
                self._call(state, found.pop(state.id, []))
            except (DecodeError, ParseError) as error:
                log.error("saved call is not understood", call=key, error=str(error))
        for states in found.values():
            for state_of_leg in states:
                self._leave(state_of_leg)
        self._ua.line.pump()

    async def begin(self) -> None:
        """Start the applications, in the order in which the calls arrived; returns when their layers are in place."""
        for plane, _ in self._planes.values():
            if isinstance(plane, LostPlane):
                self._ua.relocation.lost(plane)
        self._ua.relocation.again([leg for leg in self._legs if not leg.ended.done() and leg.moving is None])
        asked = [call.transfer for call in self.calls.values()]
        going_on = {transfer.subscription for transfer in asked if transfer is not None}
        for leg in self._legs:
            break_off(leg, going_on)
        for call in sorted(self.calls.values(), key=lambda call: call.id):
            call.resume(self._ua.app_of(call))
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def finish(self) -> None:
        """All layers have had their first step."""
        for call in self.calls.values():
            call.resumed(self._ports(call.leg))
        for leg in self._left:
            leg.hangup("restart")
        for leg in self._legs:
            there = self._ports(leg).get(leg.port) if leg.has_media else None
            if there is not None and not leg.stream.matches(there):
                leg.stream.connect_again()
        for leg in self._closing:
            if leg.stream.present and leg.port in self._ports(leg):
                leg.plane.close(leg.port)  # the order to close it was lost

    def claimed(self, plane: Plane) -> set[PortId]:
        """Ports of this plane that legs have."""
        return {port for owner, port in self._ua.line.ports if owner is plane}

    def _ports(self, leg: SipLeg) -> Ports:
        """What was open at its media process before this one began."""
        return self._planes[leg.plane.name][1] if leg.plane.name in self._planes else {}

    # --- inside -------------------------------------------------------------------------------------------------

    def _call(self, state: CallState, legs: list[LegState]) -> None:
        callers = [leg for leg in legs if leg.id == f"{state.id}-1" and leg.caller is not None]
        if not callers:
            log.error("saved call has no caller's leg", call=state.id)
            for leg in legs:
                self._leave(leg)
            return
        ua, caller = self._ua, self._leg(callers[0])
        assert isinstance(caller, CallerLeg)
        phones = [self._leg(leg) for leg in legs if leg is not callers[0]]
        call = LiveCall(
            ua, state.id, caller, caller=state.caller, name=state.name, dialled=state.dialled, trunk=state.trunk
        )
        there = self._planes[caller.plane.name][1].get(caller.port) if caller.has_media else None
        caller.credentials = ua.credentials_of(state.trunk) if state.trunk else None
        call.restore(state, phones, self._named, looping=there is not None and there.looping)
        self.calls[call.id] = call
        ua.arrivals.take_up(call, caller)

    def _leg(self, state: LegState) -> SipLeg:
        """Whoever called may have gone over to another call."""
        leg = self._outbound(state) if state.caller is None else self._caller(state)
        if state.stream.released and state.stream.port is not None:
            self._closing.append(leg)
        return leg

    def _caller(self, state: LegState) -> CallerLeg:
        assert state.caller is not None
        invite = parse_request(state.caller.invite) if state.caller.invite else None
        leg = CallerLeg(
            self._ua.line,
            self._plane(state),
            state.call,
            state.id,
            state.flow,
            state.caller.key,
            invite,
            _profile(state),
        )
        self._legs.append(leg)
        leg.restore(state)
        return leg

    def _outbound(self, state: LegState) -> OutboundLeg:
        saved = state.outbound
        assert saved is not None
        to = Destination(
            flow=state.flow,
            uri=saved.uri,
            to=saved.to,
            from_=saved.from_,
            sips=saved.sips,
            routes=saved.routes,
            headers=saved.headers,
            trunk=saved.trunk,
            target=saved.target,
            tried=saved.tried,
            phone=state.phone,
            profile=_profile(state),
            credentials=self._ua.credentials_of(saved.trunk) if saved.trunk else None,
        )
        leg = OutboundLeg(self._ua.line, self._plane(state), state.call, state.id, to)
        leg.number = saved.number
        self._legs.append(leg)
        leg.restore(state)
        if saved.trunk and not leg.ended.done():
            self._ua.count_on_trunk(leg, saved.trunk)
        return leg

    def _leave(self, state: LegState) -> None:
        """A leg of no call: it is told so, or its BYE seen through."""
        try:
            self._left.append(self._leg(state))
        except ParseError as error:
            log.error("saved leg is not understood", leg=state.id, error=str(error))

    def _plane(self, state: LegState) -> Plane:
        return self._named(state.stream.plane)

    def _named(self, name: str) -> Plane:
        if name not in self._planes:
            self._planes[name] = self._known(name) or (LostPlane(name), {})
        return self._planes[name][0]


def _profile(state: LegState) -> MediaProfile:
    return MediaProfile(state.stream.codecs, state.stream.dtmf, state.stream.srtp)
