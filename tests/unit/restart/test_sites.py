"""Control dies, and the next one has other settings: fewer agents, queues, flows, numbers; and what agents told it."""

import asyncio
from collections.abc import Callable

import pytest

from events.types import (
    AgentState,
    AgentStateChanged,
    CallAbandoned,
    CallBridged,
    CallConnected,
    CallFlowedOut,
    CallOffered,
    CallQueued,
    CallReleased,
    CallUnbridged,
    Event,
    FlowEntered,
    FlowLeft,
    NodeEntered,
    NodeLeft,
    OfferMissed,
    OfferWithdrawn,
)
from tests.unit.engine.world import play
from tests.unit.ivr.flows import flow
from tests.unit.restart.test_restart import QUEUE, queued
from tests.unit.restart.world import RestartWorld


def agent_gone(world: RestartWorld) -> None:
    world.agents = [profile for profile in world.agents if profile.name != "agent1"]


def queue_gone(world: RestartWorld) -> None:
    world.queues = []


def flow_gone(world: RestartWorld) -> None:
    world.flows = {}
    world.numbers = {}


def flow_renamed(world: RestartWorld) -> None:
    world.flows = {"other": flow(QUEUE, "other")}
    world.numbers = {"1001": "other"}


def flow_changed(world: RestartWorld) -> None:
    world.flows = {
        "main": flow("{start: a, nodes: {a: {play: hello, next: b}, b: {enqueue: billing, otherwise: hangup}}}")
    }


def number_gone(world: RestartWorld) -> None:
    world.numbers = {}


def everything(world: RestartWorld) -> None:
    for change in (agent_gone, queue_gone, flow_gone):
        change(world)


CHANGES = [agent_gone, queue_gone, flow_gone, flow_renamed, flow_changed, number_gone, everything]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("phase", ["waits", "rings", "talks", "holds"])
def test_a_call_when_the_site_has_changed(phase: str, change: Callable[[RestartWorld], None]) -> None:
    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        agent.answer_after = None if phase == "rings" else 1.0
        if phase != "waits":
            world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(4.0)
        if phase == "holds":
            agent.again("sendonly")
            await asyncio.sleep(1.0)
        change(world)
        await world.restart()
        await asyncio.sleep(5.0)
        if phase in ("talks", "holds"):
            assert caller.log[-1] != "bye", "who talks goes on talking"
            assert agent.log[-1] != "bye"
            agent.hang_up()
            await asyncio.sleep(20.0)
            (released,) = world.of(CallReleased)
            assert abs(released.talked - (8.5 if phase == "talks" else 9.5)) < 0.3
        caller.hang_up()
        await world.settle(100.0)
        balanced(world)

    play(story)


def balanced(world: RestartWorld) -> None:
    def many(*kinds: type[Event]) -> int:
        return sum(isinstance(event, kinds) for event in world.events)

    assert many(CallOffered) == many(OfferMissed, OfferWithdrawn, CallConnected)
    assert many(CallConnected) == many(CallReleased)
    assert many(CallBridged) == many(CallUnbridged)
    assert many(CallQueued) == many(CallConnected, CallFlowedOut, CallAbandoned)
    assert many(FlowEntered) == many(FlowLeft)
    assert many(NodeEntered) == many(NodeLeft)
    queue = 0
    for event in world.events:
        queue += isinstance(event, CallQueued) - isinstance(event, CallConnected | CallFlowedOut | CallAbandoned)
        assert queue in (0, 1), "one stay ends before the next begins"


@pytest.mark.parametrize("command", ["logout", "not_ready"])
def test_a_command_kept_for_the_end_of_the_call(command: str) -> None:
    async def story() -> None:
        world, (caller,) = queued()
        world.agent("agent", 20)
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(4.0)
        assert world.acd.agent_command("agent1", command).ok
        await asyncio.sleep(0.01)
        await world.restart()
        await asyncio.sleep(1.0)
        caller.hang_up()
        await world.settle()
        last = world.of(AgentStateChanged)[-1]
        assert last.state is (AgentState.LOGGED_OUT if command == "logout" else AgentState.NOT_READY)

    play(story)


def test_a_phone_that_was_lost_meanwhile() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        world.ready("agent1")
        await asyncio.sleep(0.01)
        await world.restart()
        world.registrar.expire(world.now() + 4000)
        world.acd.phone_unregistered("8001")
        caller.call("1001")
        await asyncio.sleep(3.0)
        assert not world.of(CallOffered)
        await world.restart()
        await asyncio.sleep(2.0)
        world.register(agent, "8001")
        world.acd.phone_registered("8001")
        await asyncio.sleep(4.0)
        assert len(world.of(CallConnected)) == 1
        caller.hang_up()
        await world.settle()

    play(story)


def test_nothing_is_kept_of_calls_that_ended() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        world.ready("agent1")
        for number in range(12):
            caller.call("1001")
            await asyncio.sleep(3.0)
            if number % 3 == 0:
                await world.restart()
            (agent if number % 2 else caller).hang_up()
            await asyncio.sleep(8.0)
        await world.settle(100.0)
        assert {key.partition("/")[0] for key in world.saved} == {"agent"}, world.saved.keys()

    play(story)


SECOND = "{start: ask, nodes: {ask: {collect: number, into: number, max_digits: 9, timeout: 30, next: queue, \
otherwise: queue}, queue: {enqueue: billing, otherwise: hangup}}}"


def second_gone(world: RestartWorld) -> None:
    del world.flows["second"], world.numbers["1002"]


def second_number_gone(world: RestartWorld) -> None:
    del world.numbers["1002"]


def all_gone(world: RestartWorld) -> None:
    flow_gone(world)


@pytest.mark.parametrize("change", [second_gone, second_number_gone, all_gone])
@pytest.mark.parametrize("phase", ["asked", "waits", "talks"])
def test_a_caller_in_the_flow_to_which_an_agent_sent_him(phase: str, change: Callable[[RestartWorld], None]) -> None:
    async def story() -> None:
        world = RestartWorld(flow(QUEUE), flow(SECOND, "second"), numbers={"1001": "main", "1002": "second"})
        caller = world.phone("caller", 10)
        agent = world.agent("agent", 20)
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(4.0)
        assert world.acd.transfer("agent1", "1002", consult=False) == ""
        await asyncio.sleep(1.0)
        agent.hang_up()
        if phase == "waits":
            assert world.acd.agent_command("agent1", "not_ready").ok
        if phase != "asked":
            port = world.plane.at(caller.remote_rtp)
            assert port is not None
            for digit in "12#":
                world.plane.press(port, digit)
        await asyncio.sleep(8.0)
        change(world)
        await world.restart()
        await asyncio.sleep(8.0)
        if phase == "talks":
            assert len(world.of(CallConnected)) == 2
            assert caller.log[-1] != "bye", "who talks goes on talking"
        caller.hang_up()
        await world.settle(100.0)
        balanced(world)
        whys = {event.flow: event.why for event in world.of(FlowLeft)}
        assert whys["second"] == ("hung_up" if change is second_number_gone or phase != "asked" else "removed"), whys

    play(story)
