"""Calls whose media process died go on at another, or at the one that takes its place; and a leg goes to the media
process of the one that it is to talk to."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import structlog

from engine.line import Line
from engine.media.plane import Plane, PlaneError
from engine.moving import REASON, Moving
from engine.ports import Planes
from kernel.ids import CallId

if TYPE_CHECKING:
    from engine.leg import SipLeg

log = structlog.get_logger()

WAIT = 8.0
"""Seconds for which a call without a media process waits for one: on a busy machine the next one starts slowly, and who
hears nothing for a while is better served than who has to call again."""
LOOK_EVERY = 0.05
"""Seconds between two looks for one."""
PACE = 0.002
"""Seconds between two calls of a dead media process that are taken up again: their peers' answers come as one wave."""
AGREE_WITHIN = 5.0
"""Seconds that a peer has to agree to a move that somebody waits for."""


class _Death:
    """One lost plane: where each of its calls goes. Calls in which the same telephone takes part go together."""

    def __init__(self, planes: Planes, until: float, monotonic: Callable[[], float]) -> None:
        self._planes = planes
        self._until = until
        self._now = monotonic
        self._leaders: dict[CallId, CallId] = {}
        self._chosen: dict[CallId, Plane] = {}
        self._looking: asyncio.Task[None] | None = None

    def group(self, legs: Sequence["SipLeg"]) -> None:
        phones: dict[str, CallId] = {}
        for leg in legs:
            if leg.phone:
                self._leaders[self._leader(leg.call)] = phones.setdefault(leg.phone, self._leader(leg.call))

    def _leader(self, call: CallId) -> CallId:
        while (above := self._leaders.get(call, call)) != call:
            call = above
        return call

    async def target(self, call: CallId, dead: "WeakKeyDictionary[Plane, _Death]") -> Plane:
        """Raises PlaneError when there is none in time."""
        leader = self._leader(call)
        while True:
            plane = self._chosen.get(leader)
            if plane is not None and plane not in dead:
                return plane
            plane = self._planes.choose()
            if plane is not None:
                self._chosen[leader] = plane
                return plane
            if self._now() >= self._until:
                raise PlaneError("no media process")
            if self._looking is None or self._looking.done():
                self._looking = asyncio.get_running_loop().create_task(asyncio.sleep(LOOK_EVERY))
            await asyncio.wait([self._looking])


class Relocation:
    """One for a user agent."""

    def __init__(self, line: Line, planes: Planes) -> None:
        self._line = line
        self._planes = planes
        self._dead: WeakKeyDictionary[Plane, _Death] = WeakKeyDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    def lost(self, plane: Plane) -> None:
        """A media process is gone."""
        now = self._line.clock.monotonic
        death = self._dead[plane] = _Death(self._planes, now() + WAIT, now)
        ports = [(key, leg) for key, leg in self._line.ports.items() if key[0] is plane]
        for key, _ in ports:
            del self._line.ports[key]
        legs = [leg for leg in dict.fromkeys(leg for _, leg in ports) if leg.lose_media(plane)]
        death.group(legs)
        if legs:
            log.warning("legs lost their media process", media=plane.name, legs=len(legs))
            self._start(self._take_up(sorted(legs, key=lambda leg: leg.call), death))

    def again(self, legs: Sequence["SipLeg"]) -> None:
        """Those of a process before this one: who was on his way from a dead media process when it died goes on."""
        now = self._line.clock.monotonic
        moving = [leg for leg in legs if leg.stream.stale]
        for leg in moving:
            was = leg.moving_before
            leg.moving = Moving(leg, was) if was else Moving.from_plane(leg, leg.plane, lost=True)
            leg.moving.resume()
        homeless = [leg for leg in moving if not leg.stream.present]
        if homeless:
            death = _Death(self._planes, now() + WAIT, now)
            death.group(homeless)
            self._start(self._take_up(sorted(homeless, key=lambda leg: leg.call), death))

    async def instead(self, leg: "SipLeg", error: PlaneError) -> Plane:
        """See Line.instead."""
        death = self._dead.get(leg.plane)
        if death is None:
            raise error
        return await death.target(leg.call, self._dead)

    async def together(self, one: "SipLeg", other: "SipLeg") -> bool:
        """Bring two legs that are to talk to one media process: `other` goes where `one` is. False: they can't."""
        for leg in (one, other):
            await leg.wait_seated()
        if one.has_media and other.has_media and one.plane is not other.plane:
            await self.relocate(other, one.plane)
        return one.has_media and other.has_media and one.plane is other.plane

    async def relocate(self, leg: "SipLeg", plane: Plane) -> bool:
        """Move a leg that has media to another plane. Returns when its peer has agreed; False: it is where it was, or
        it has ended."""
        if leg.moving is not None:
            await asyncio.wait([leg.moving.over], timeout=AGREE_WITHIN)
        if leg.ended.done() or leg.moving is not None or not leg.has_media:
            return False
        moving = leg.moving = Moving.from_plane(leg, leg.plane, lost=False)
        try:
            await moving.to(plane)
        except PlaneError as error:
            log.warning("no port to move a leg to", leg=leg.id, media=plane.name, error=str(error))
            moving.stop()
            return False
        await asyncio.wait([moving.over], timeout=AGREE_WITHIN)
        return moving.over.done() and moving.over.result()

    # --- inside -------------------------------------------------------------------------------------------------

    async def _take_up(self, legs: Sequence["SipLeg"], death: _Death) -> None:
        """legs: those of a call together, the oldest call first."""
        call: CallId | None = None
        for leg in legs:
            if call is not None and leg.call != call:
                await asyncio.sleep(PACE)
            call = leg.call
            if leg.moving is not None:
                self._start(self._seat(leg, leg.moving, death))

    async def _seat(self, leg: "SipLeg", moving: Moving, death: _Death) -> None:
        while leg.moving is moving:
            try:
                plane = await death.target(leg.call, self._dead)
            except PlaneError:
                leg.hangup(REASON)
                return
            if leg.moving is not moving:
                return
            try:
                await moving.to(plane)
            except PlaneError as error:
                if plane not in self._dead:
                    log.warning("no port for a leg of a dead media process", leg=leg.id, error=str(error))
                    leg.hangup(REASON)
            else:
                return

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that ends by itself, soon."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
