"""Media processes die around the death of control."""

import asyncio

import pytest

from events.types import CallEnded, CallOutcome, LegMediaMoved, RecordingStarted, RecordingStopped
from tests.support.plane import FakePlane
from tests.unit.engine.world import play
from tests.unit.restart.test_restart import queued
from tests.unit.restart.world import RestartWorld, at


def replaced(world: RestartWorld, name: str = "media1") -> None:
    world.add_plane(FakePlane(name))


@pytest.mark.parametrize("dies", [-0.02, 0.2, 0.501, 0.6, 1.5])
@pytest.mark.parametrize("replacement", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("talks", [True, False])
def test_a_media_process_dies_around_the_death_of_control(dies: float, replacement: float, talks: bool) -> None:
    """dies: seconds after control. replacement: after that."""

    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        if talks:
            world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(5.0)
        at(max(dies, 0.0), world.lose_media)
        at(max(dies, 0.0) + replacement, lambda: replaced(world))
        if dies < 0:
            await asyncio.sleep(-dies)
        await world.restart()
        await asyncio.sleep(10.0)
        assert caller.log[-1] != "bye"
        (port,) = [port for port in world.planes[-1].ports.values() if port.rtp_port == caller.remote_rtp]
        assert port.partner if talks else port.looping
        began, ended = world.of(RecordingStarted), world.of(RecordingStopped)
        if talks:
            assert len(began) == 2
            assert [event.path for event in ended] == world.repaired == [began[0].path]
            assert agent.log[-1] != "bye"
        moved = world.of(LegMediaMoved)
        assert sorted(event.leg for event in moved) == sorted({event.leg for event in moved})
        assert len(moved) == 1 + talks
        caller.hang_up()
        await world.settle(100.0)
        assert world.of(CallEnded)[0].outcome is (CallOutcome.SERVED if talks else CallOutcome.ABANDONED_QUEUE)

    play(story)


@pytest.mark.parametrize("homeless", [False, True])
def test_a_move_that_goes_on_tells_from_where_and_how_long(homeless: bool) -> None:
    """homeless: control dies before there is another media process."""

    async def story() -> None:
        world, (caller,) = queued()
        caller.call("1001")
        await asyncio.sleep(5.0)
        caller.deaf = True
        if not homeless:
            replaced(world, "media2")
        world.lose_media()
        await asyncio.sleep(1.0)
        world.kill()
        if homeless:
            replaced(world, "media2")
        at(1.0, lambda: setattr(caller, "deaf", False))
        await world.start_again(0.5)
        await asyncio.sleep(5.0)
        (moved,) = world.of(LegMediaMoved)
        assert (moved.before, moved.media) == ("media0", "media2")
        assert 2.0 <= moved.gap < 5.0, "since the media process died, not control"
        caller.hang_up()
        await world.settle(100.0)

    play(story)


def test_control_dies_while_a_recording_is_repaired() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        world.agent("agent", 20)
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(5.0)
        replaced(world)
        world.lose_media()
        await asyncio.sleep(0.005)
        assert world.repaired == []
        await world.restart()
        await asyncio.sleep(5.0)
        paths = [event.path for event in world.of(RecordingStarted)]
        assert len(paths) == len(set(paths)) == 2
        assert [event.path for event in world.of(RecordingStopped)] == [paths[0]]
        caller.hang_up()
        await world.settle(100.0)

    play(story)
