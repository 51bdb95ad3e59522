"""The ACD under virtual time: a call's ordinary ways through a queue."""

import asyncio

from acd.visit import QueueOutcome, QueueResult
from engine.call import DialOutcome
from events.types import (
    AgentStateChanged,
    CallConnected,
    CallFlowedOut,
    CallOffered,
    CallQueued,
    CallReleased,
    PositionAnnounced,
)
from tests.support.virtual import run
from tests.unit.acd.world import World, agent, check_balance, queue


def test_a_call_rings_talks_and_wraps_up() -> None:
    async def main() -> None:
        world = World([queue(wrap_up=10.0, music="moh.wav")], [agent("ann")])
        world.phones["phone-ann"].talks = 60.0
        call = world.call("c1")
        call.set_attribute("choice", "账单 billing\r\n")
        assert call.task is not None
        assert await call.task == QueueResult(QueueOutcome.SERVED)
        assert world.state("ann") == "wrap_up"
        await asyncio.sleep(11.0)
        assert world.story()[1:] == [
            "000.0 CallQueued c1 1",
            "000.0 CallOffered c1 ann",
            "000.0 AgentStateChanged c1 ann offered",
            "002.0 CallConnected c1 ann",
            "002.0 AgentStateChanged c1 ann on_call",
            "062.0 CallReleased c1 ann",
            "062.0 AgentStateChanged c1 ann wrap_up",
            "072.0 AgentStateChanged ann ready",
        ]
        assert call.trace == ["000.0 music moh.wav", "000.0 dial phone-ann '账单 billing'", "002.0 bridge recorded"]
        [released] = world.of(CallReleased)
        assert isinstance(released, CallReleased)
        assert (released.talked, released.ended_by) == (60.0, "agent")
        check_balance(world.log)

    run(main())


def test_unanswered_goes_to_the_next_agent_and_the_first_is_set_not_ready() -> None:
    async def main() -> None:
        world = World([queue(ring_for=15.0)], [agent("ann"), agent("bob")])
        world.phones["phone-ann"].answers = None
        world.call("c1")
        await asyncio.sleep(20.0)
        assert world.story(lambda event: isinstance(event, AgentStateChanged) and event.state == "ready") == [
            "000.0 CallQueued c1 1",
            "000.0 CallOffered c1 ann",
            "000.0 AgentStateChanged c1 ann offered",
            "015.0 OfferMissed c1 ann no_answer",
            "015.0 AgentStateChanged ann not_ready rona",
            "015.0 CallOffered c1 bob",
            "015.0 AgentStateChanged c1 bob offered",
            "017.0 CallConnected c1 bob",
            "017.0 AgentStateChanged c1 bob on_call",
        ]
        assert world.acd.agent_command("ann", "ready").ok
        await world.end()
        check_balance(world.log)

    run(main())


def test_a_declining_agent_pauses_and_comes_back_by_himself() -> None:
    async def main() -> None:
        world = World([queue()], [agent("ann")])
        phone = world.phones["phone-ann"]
        phone.outcome, phone.fails = DialOutcome.DECLINED, 1.0
        world.call("c1")
        await asyncio.sleep(5.0)
        assert world.state("ann") == "not_ready"
        phone.outcome = None
        await asyncio.sleep(20.0)
        assert [at for at, event in world.log if isinstance(event, CallOffered)] == [0.0, 11.0]
        assert world.state("ann") == "on_call"
        await world.end()
        check_balance(world.log)

    run(main())


def test_unreachable_waits_for_the_phone_to_register() -> None:
    async def main() -> None:
        world = World([queue()], [agent("ann")])
        world.phones["phone-ann"].outcome = DialOutcome.UNREACHABLE
        world.call("c1")
        await asyncio.sleep(100.0)
        assert len(world.of(CallOffered)) == 1
        world.phones["phone-ann"].outcome = None
        world.acd.phone_registered("phone-ann")
        await asyncio.sleep(5.0)
        assert world.state("ann") == "on_call"
        await world.end()
        check_balance(world.log)

    run(main())


def test_longest_idle_first_and_the_skill_required() -> None:
    async def main() -> None:
        world = World([queue(skills={"en": 3})], [agent("ann", en=2), agent("bob", en=3), agent("cat", en=9)])
        for name in ("c1", "c2", "c3"):
            world.call(name)
            await asyncio.sleep(5.0)
        offered = [event.agent for event in world.of(CallOffered) if isinstance(event, CallOffered)]
        assert offered == ["bob", "cat"]
        await world.end()
        check_balance(world.log)

    run(main())


def test_skills_asked_by_the_flow_are_added_to_the_queues() -> None:
    async def main() -> None:
        world = World([queue(skills={"billing": 2})], [agent("ann", billing=5), agent("bob", billing=5, en=1)])
        world.call("c1", skills={"en": 1, "billing": 1})
        await asyncio.sleep(5.0)
        assert world.state("bob") == "on_call"
        [queued] = world.of(CallQueued)
        assert isinstance(queued, CallQueued)
        assert queued.skills == {"billing": 2, "en": 1}
        await world.end()

    run(main())


def test_position_is_told_and_an_answer_cuts_it_short() -> None:
    async def main() -> None:
        world = World(
            [queue(announce_first=0.0, announce_every=30.0)],
            [agent("ann")],
            announcer=lambda call, position, wait: (f"position-{position}",),
        )
        world.acd.agent_command("ann", "not_ready", "")
        call = world.call("c1")
        await asyncio.sleep(61.0)  # announced at 0, 30 and 60
        world.acd.agent_command("ann", "ready")
        await asyncio.sleep(2.5)  # ann answers at 63, in the middle of the prompt
        assert call.trace == [
            "000.0 play position-1",
            "030.0 play position-1",
            "060.0 play position-1",
            "061.0 dial phone-ann 'q'",
            "063.0 bridge recorded",
        ]
        assert [
            event.wait_estimate for event in world.of(PositionAnnounced) if isinstance(event, PositionAnnounced)
        ] == [-1.0] * 3
        await world.end()
        check_balance(world.log)

    run(main())


def test_exit_key_leaves_the_queue_and_other_keys_do_not() -> None:
    async def main() -> None:
        world = World([queue(exit_keys="*", music="m")], [agent("ann")])
        world.acd.agent_command("ann", "not_ready")
        call = world.call("c1")
        await asyncio.sleep(3.0)
        call.press("5")
        await asyncio.sleep(1.0)
        call.press("*")
        assert call.task is not None
        assert await call.task == QueueResult(QueueOutcome.KEY, "*")
        assert call.trace[-1] == "004.0 music off"
        check_balance(world.log)

    run(main())


def test_max_wait_full_and_unstaffed_flow_out() -> None:
    async def main() -> None:
        queues = [queue("slow", max_wait=60.0), queue("small", max_calls=1), queue("empty", skills={"x": 1})]
        world = World(queues, [agent("ann")])
        world.acd.agent_command("ann", "not_ready", "")
        results = [
            world.call("c1", "slow"),
            world.call("c2", "small"),
            world.call("c3", "small"),
            world.call("c4", "empty"),
        ]
        await asyncio.sleep(61.0)
        outcomes = [call.task.result().outcome if call.task and call.task.done() else None for call in results]
        assert outcomes == [QueueOutcome.TIMEOUT, None, QueueOutcome.FULL, QueueOutcome.NO_AGENTS]
        waited = {event.call: event.waited for event in world.of(CallFlowedOut) if isinstance(event, CallFlowedOut)}
        assert waited == {"c1": 60.0, "c3": 0.0, "c4": 0.0}
        await world.end()
        check_balance(world.log)

    run(main())


def test_a_phone_that_rings_at_max_wait_may_ring_to_its_end() -> None:
    async def main() -> None:
        world = World([queue(max_wait=10.0, ring_for=20.0)], [agent("ann")])
        world.phones["phone-ann"].answers = 15.0
        world.call("c1")
        await asyncio.sleep(16.0)
        assert world.of(CallConnected)
        world.phones["phone-ann"].answers = None
        world.acd.agent_command("ann", "login")
        await world.end()
        assert world.acd.agent_command("ann", "ready").ok
        call = world.call("c2")
        await asyncio.sleep(21.0)
        assert call.task is not None
        assert call.task.result().outcome is QueueOutcome.TIMEOUT
        check_balance(world.log)

    run(main())


def test_the_last_agent_logging_out_releases_the_waiting_after_a_grace() -> None:
    async def main() -> None:
        world = World([queue(unstaffed_grace=15.0)], [agent("ann")])
        world.acd.agent_command("ann", "not_ready")
        call = world.call("c1")
        await asyncio.sleep(5.0)
        world.acd.agent_command("ann", "logout")
        await asyncio.sleep(10.0)
        assert call.task is not None
        assert not call.task.done()
        late = world.call("c2")  # within the grace: may wait
        await asyncio.sleep(6.0)
        assert call.task.result().outcome is QueueOutcome.NO_AGENTS
        assert late.task is not None
        assert late.task.result().outcome is QueueOutcome.NO_AGENTS
        check_balance(world.log)

    run(main())


def test_overflow_lets_the_other_queues_agents_take_it() -> None:
    async def main() -> None:
        queues = [
            queue("own", skills={"a": 1}, overflow_after=30.0, overflow_queues=("other",)),
            queue("other", skills={"b": 1}),
        ]
        world = World(queues, [agent("ann", a=1), agent("bob", b=1)])
        world.acd.agent_command("ann", "not_ready")
        world.call("c1", "own")
        await asyncio.sleep(29.0)
        assert not world.of(CallOffered)
        await asyncio.sleep(4.0)
        [connected] = world.of(CallConnected)
        assert isinstance(connected, CallConnected)
        assert (connected.agent, connected.queue, connected.waited) == ("bob", "own", 32.0)
        await world.end()
        check_balance(world.log)

    run(main())


def test_priority_is_a_head_start() -> None:
    async def main() -> None:
        world = World([queue(wrap_up=0.0)], [agent("ann")])
        world.acd.agent_command("ann", "not_ready")
        world.call("old")
        await asyncio.sleep(50.0)
        world.call("urgent", priority=1)
        world.call("plain")
        world.phones["phone-ann"].talks = 10.0
        await asyncio.sleep(1.0)
        world.acd.agent_command("ann", "ready")
        await asyncio.sleep(40.0)
        order = [event.call for event in world.of(CallConnected) if isinstance(event, CallConnected)]
        assert order == ["urgent", "old", "plain"]

    run(main())


def test_closing_sends_the_waiting_out_and_lets_the_talking_finish() -> None:
    async def main() -> None:
        world = World([queue()], [agent("ann")])
        world.phones["phone-ann"].talks = 100.0
        talking, waiting = world.call("c1"), world.call("c2")
        await asyncio.sleep(10.0)
        world.acd.close()
        await asyncio.sleep(0.0)
        assert waiting.task is not None
        assert (await waiting.task).outcome is QueueOutcome.LOST
        assert talking.task is not None
        assert (await talking.task).outcome is QueueOutcome.SERVED
        check_balance(world.log)

    run(main())
