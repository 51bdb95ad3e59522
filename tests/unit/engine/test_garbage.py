"""A call leaves nothing for the cyclic collector: full collections are put off for as long as it is busy."""

import asyncio
import gc

import pytest

from engine.call import Dial
from engine.session import LiveCall
from kernel.collector import BUSY_EVERY, IDLE_EVERY, Collector, trim
from tests.unit.engine.world import World, play


async def greet_and_bridge(call: LiveCall) -> None:
    await call.answer()
    await call.play(["hello.wav"])
    dialled = await call.dial(Dial(aor="8001", display="", ring_for=20.0))
    assert dialled.leg is not None
    await call.bridge(dialled.leg, record=True)


def test_a_call_leaves_no_cycles() -> None:
    async def story() -> None:
        world = World(n1001=greet_and_bridge)
        agent, caller = world.agent("agent", 20), world.phone("caller", 10)

        async def one() -> None:
            caller.call("1001")
            await asyncio.sleep(3.0)
            agent.answer()
            await asyncio.sleep(3.0)
            caller.hang_up()
            await asyncio.sleep(80.0)
            world.ua.keeping.save(lambda key, state: None)  # what is to be saved is held until then
            world.ua.report()

        await one()
        gc.collect()
        gc.disable()
        try:
            await one()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [type(it) for it in gc.garbage]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        ours = {
            kind.__qualname__ for kind in left if kind.__module__.partition(".")[0] in ("engine", "events", "kernel")
        }
        assert not ours
        await world.settle()

    play(story)


def test_everything_is_looked_at_when_there_is_time_for_it() -> None:
    collector = Collector(0.0)
    assert not collector.look(IDLE_EVERY - 1, busy=False)
    assert not collector.look(IDLE_EVERY + 1, busy=True)
    assert collector.look(IDLE_EVERY + 2, busy=False)
    assert not collector.look(IDLE_EVERY + 3, busy=False)
    assert not collector.look(BUSY_EVERY, busy=True)
    assert collector.look(BUSY_EVERY + IDLE_EVERY + 3, busy=True)


def test_free_memory_is_given_back_with_the_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    monkeypatch.setattr("kernel.collector.trim", lambda: given.append(True))
    collector = Collector(0.0)
    looked = [collector.look(now, busy=now < 1000) for now in (1.0, BUSY_EVERY - 1, BUSY_EVERY, BUSY_EVERY + 5)]
    assert looked == [False, True, False, False]
    assert len(given) == 1


def test_the_c_library_takes_the_order() -> None:
    assert trim()
