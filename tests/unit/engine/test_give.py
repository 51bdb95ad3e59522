"""A phone's call gives its own leg to another call: as an agent's that this had dialled."""

import asyncio

import pytest

from engine.call import BridgeEnd, Dial, Leg
from engine.session import LiveCall
from events.types import CallArrived, CallEnded, EndedBy, LegDialled, LegEnded, LegMediaReported, RecordingStarted
from tests.support.plane import FakePlane
from tests.unit.engine.world import World, play


class Pick:
    """1001 rings 8001 until somebody gives a leg; *8 gives its own."""

    def __init__(self) -> None:
        self.world = World(n1001=self.callers, **{"n*8": self.pickers})  # type: ignore[arg-type]
        self.caller = self.world.phone("caller", 10)
        self.first = self.world.agent("first", 20, "8001")
        self.first.answer_after = None
        self.picker = self.world.phone("picker", 30)
        self.world.desks[self.picker.flow] = "8002"
        self.waiting: LiveCall | None = None
        self.leg: asyncio.Future[Leg] = asyncio.get_running_loop().create_future()
        self.end: BridgeEnd | None = None
        self.lingers = 0.0

    async def callers(self, call: LiveCall) -> None:
        self.waiting = call
        await call.answer()
        ringing = asyncio.create_task(call.dial(Dial(aor="8001", display="", ring_for=60.0)))
        try:
            await asyncio.wait([self.leg])
        finally:
            ringing.cancel()
        self.end = await call.bridge(self.leg.result(), record=True)

    async def pickers(self, call: LiveCall) -> None:
        assert self.waiting is not None
        call.beside(self.waiting)
        await call.answer()
        leg = call.give(self.waiting)
        if leg is not None:
            self.leg.set_result(leg)
            assert call.give(self.waiting) is None, "once"
            await asyncio.sleep(self.lingers)

    async def pick(self) -> None:
        self.caller.call("1001")
        await asyncio.sleep(3)
        self.picker.call("*8")
        await asyncio.sleep(1)


@pytest.mark.parametrize("who", ["picker", "caller"])
def test_the_leg_is_the_other_calls_agent(who: str) -> None:
    async def story() -> None:
        pick = Pick()
        await pick.pick()
        world = pick.world
        assert pick.first.log[-1] == "cancelled"
        plane = world.plane
        [own] = [port for port in plane.ports.values() if port.partner is not None and port.recording]
        assert own.partner == plane.at(pick.picker.remote_rtp)
        assert [event.reason for event in world.of(CallEnded)] == ["picked_up"]
        assert len(world.ua.calls) == 1
        (pick.picker if who == "picker" else pick.caller).hang_up()
        await world.settle()
        assert pick.end is None or pick.end.ended_by is EndedBy.AGENT
        first, second = [event.call for event in world.of(CallArrived)]
        moved = world.of(LegDialled)[-1]
        assert moved.call == first
        ends = [(event.call, event.leg, event.reason) for event in world.of(LegEnded)]
        assert (second, f"{second}-1", "transferred") in ends
        reported = {event.leg for event in world.of(LegMediaReported)}
        assert moved.leg in reported
        assert f"{second}-1" not in reported
        [recorded] = world.of(RecordingStarted)
        assert recorded.call == first
        outcomes = {event.call: event for event in world.of(CallEnded)}
        assert outcomes[first].outcome == "served"
        assert outcomes[first].ended_by is (EndedBy.AGENT if who == "picker" else EndedBy.CALLER)

    play(story)


def test_it_goes_where_the_other_calls_audio_is() -> None:
    """Another media process had been chosen for the phone's call: nothing need move."""

    async def story() -> None:
        pick = Pick()
        world = pick.world
        pick.caller.call("1001")
        await asyncio.sleep(3)
        first = world.plane
        other = FakePlane()
        other.events = lambda event: world.ua.media_event(other, event)
        world.plane = other
        pick.picker.call("*8")
        await asyncio.sleep(3)
        assert not other.ports
        assert len([port for port in first.ports.values() if port.partner is not None]) == 2
        pick.caller.hang_up()
        await asyncio.sleep(60)
        world.plane = first
        await world.settle()

    play(story)


def test_not_to_a_call_that_is_over_nor_before_the_answer() -> None:
    async def story() -> None:
        pick = Pick()
        pick.caller.call("1001")
        await asyncio.sleep(3)
        assert pick.waiting is not None
        over = pick.waiting
        pick.caller.hang_up()
        await asyncio.sleep(3)
        assert over.over
        pick.picker.call("*8")
        await asyncio.sleep(3)
        assert pick.picker.log[-1] == "bye"
        assert not pick.leg.done()
        await pick.world.settle()

    play(story)


def test_a_task_that_stays_a_little_harms_nobody() -> None:
    async def story() -> None:
        pick = Pick()
        pick.lingers = 5.0
        await pick.pick()
        pick.world.ua.hangup_all("shutdown")
        await pick.world.settle()
        assert [event.ended_by for event in pick.world.of(CallEnded)] == [EndedBy.SYSTEM, EndedBy.SYSTEM]

    play(story)
