"""A whole call, from its flow through a queue to an agent and back, leaves nothing for the cyclic collector, nor
anything that is saved: full collections are put off for as long as calls come."""

import asyncio
import gc

from tests.unit.engine.world import play
from tests.unit.ivr.flows import flow
from tests.unit.restart.world import RestartWorld

FLOW = """
start: hello
nodes:
  hello: {play: hello, next: queue}
  queue: {enqueue: billing, served: bye, otherwise: bye}
  bye: {play: bye, next: hangup}
"""


def test_calls_leave_nothing() -> None:
    async def story() -> None:
        world = RestartWorld(flow(FLOW))
        agent, caller = world.agent("agent", 20), world.phone("caller", 10)
        agent.answer_after = 0.3
        world.ready("agent1")

        async def calls() -> None:
            for who in (caller, agent, caller):
                caller.call("1001")
                await asyncio.sleep(5.0)
                who.hang_up()
                await asyncio.sleep(10.0)
            await asyncio.sleep(80.0)
            world.ua.report()

        await calls()
        kept = set(world.saved)
        gc.collect()
        gc.disable()
        try:
            await calls()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = {type(it).__qualname__ for it in gc.garbage if type(it).__module__.partition(".")[0] in OURS}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert not left
        assert set(world.saved) == kept == {"agent/agent1"}
        await world.settle()

    play(story)


OURS = {"engine", "acd", "ivr", "events", "kernel"}
