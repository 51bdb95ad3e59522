"""Control dies under live calls, and nobody notices."""

import asyncio

from events.types import (
    AgentStateChanged,
    AttributeSet,
    CallAbandoned,
    CallBridged,
    CallConnected,
    CallEnded,
    CallFlowedOut,
    CallHeld,
    CallOffered,
    CallOutcome,
    CallQueued,
    CallReleased,
    CallResumed,
    CallUnbridged,
    EndedBy,
    FlowEntered,
    FlowLeft,
    NodeEntered,
    NodeLeft,
    OfferWithdrawn,
    RecordingStarted,
    RecordingStopped,
)
from tests.support.softphone import Softphone
from tests.unit.engine.world import play
from tests.unit.ivr.flows import flow
from tests.unit.restart.world import RestartWorld

MAIN = """
start: hello
nodes:
  hello: {play: hello, next: number}
  number: {collect: number, into: number, max_digits: 2, next: menu, otherwise: bye}
  menu:
    menu: menu
    choices: {1: {to: queue, label: Billing, set: {topic: bills}}}
    otherwise: bye
  queue: {enqueue: billing, served: bye, otherwise: bye}
  bye: {play: bye, next: hangup}
"""
QUEUE = "{start: up, nodes: {up: {answer: , next: queue}, queue: {enqueue: billing, otherwise: hangup}}}"


def hotline() -> tuple[RestartWorld, Softphone]:
    world = RestartWorld(flow(MAIN))
    return world, world.phone("caller", 10)


def queued(number: int = 1) -> tuple[RestartWorld, list[Softphone]]:
    """Callers who wait."""
    world = RestartWorld(flow(QUEUE))
    callers = [world.phone(f"caller{n}", 10 + n) for n in range(number)]
    return world, callers


def keys(world: RestartWorld, digits: str) -> None:
    (port,) = world.plane.ports
    for digit in digits:
        world.plane.press(port, digit)


def test_a_bridged_call_goes_on_and_ends_as_if_nothing_had_been() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(10.0)
        before = {port: found.partner for port, found in world.plane.ports.items()}
        played = list(world.plane.played)
        recorded = world.of(RecordingStarted)
        await world.restart()
        await asyncio.sleep(5.0)
        assert {port: found.partner for port, found in world.plane.ports.items()} == before
        assert world.plane.played == played
        assert world.of(RecordingStarted) == recorded
        assert len(world.of(CallBridged)) == 1
        caller.again("sendonly")
        await asyncio.sleep(2.0)
        caller.again("sendrecv")
        await asyncio.sleep(2.0)
        assert len(world.of(CallHeld)) == len(world.of(CallResumed)) == 1
        caller.hang_up()
        await world.settle()
        (end,) = world.of(CallEnded)
        assert (end.outcome, end.ended_by) == (CallOutcome.SERVED, EndedBy.CALLER)
        (released,) = world.of(CallReleased)
        assert abs(released.talked - 18.4) < 0.3, released.talked
        assert abs(released.held - 2.0) < 0.1
        assert abs(end.talked - released.talked) < 0.01
        assert len(world.of(RecordingStopped)) == 1
        assert agent.log[-1] == "bye"
        states = [event.state for event in world.of(AgentStateChanged) if event.agent == "agent1"]
        assert states[-4:] == ["offered", "on_call", "wrap_up", "ready"], states

    play(story)


def test_the_agent_hangs_up_while_control_is_down() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(10.0)
        asyncio.get_running_loop().call_later(0.2, agent.hang_up)
        await world.restart()
        await world.settle()
        (end,) = world.of(CallEnded)
        assert (end.outcome, end.ended_by) == (CallOutcome.SERVED, EndedBy.AGENT)
        assert caller.log[-1] == "bye"

    play(story)


def test_a_held_call_stays_held() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        world.agent("agent", 20)
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(5.0)
        caller.again("sendonly")
        await asyncio.sleep(5.0)
        await world.restart()
        await asyncio.sleep(4.5)
        caller.again("sendrecv")
        await asyncio.sleep(1.0)
        (resumed,) = world.of(CallResumed)
        assert abs(resumed.held - 10.0) < 0.2
        caller.hang_up()
        await world.settle()
        (unbridged,) = world.of(CallUnbridged)
        assert abs(unbridged.held - 10.0) < 0.2

    play(story)


def test_queued_callers_keep_their_music_and_their_places() -> None:
    async def story() -> None:
        world, callers = queued(3)
        agent = world.agent("agent", 20)
        for caller in callers:
            caller.call("1001")
            await asyncio.sleep(1.0)
        music = {port: found.play for port, found in world.plane.ports.items()}
        assert len(music) == 3
        await world.restart()
        assert {port: found.play for port, found in world.plane.ports.items()} == music
        assert len(world.of(CallQueued)) == 3
        world.ready("agent1")
        for _ in callers:
            await asyncio.sleep(4.0)
            assert agent.dialog is not None
            agent.hang_up()
            await asyncio.sleep(6.0)
        await world.settle()
        connected = [event.call for event in world.of(CallConnected)]
        assert connected == [event.call for event in world.of(CallQueued)]
        assert abs(world.of(CallConnected)[0].waited - 4.5) < 0.3
        assert [event.outcome for event in world.of(CallEnded)] == [CallOutcome.SERVED] * 3

    play(story)


def test_a_caller_in_a_menu_hears_it_again_and_his_answers_stand() -> None:
    async def story() -> None:
        world, caller = hotline()
        caller.call("1001")
        await asyncio.sleep(3.0)
        keys(world, "42")
        await asyncio.sleep(0.5)
        assert world.plane.played[-1].endswith("/menu.wav")
        heard = len(world.plane.played)
        await world.restart()
        await asyncio.sleep(0.2)
        assert [clip.rpartition("/")[2] for clip in world.plane.played[heard:]] == ["menu.wav"]
        agent = world.agent("agent", 20)
        world.ready("agent1")
        keys(world, "1")
        await asyncio.sleep(5.0)
        assert [(event.name, event.value) for event in world.of(AttributeSet)] == [
            ("number", "42"),
            ("choice", "Billing"),
            ("topic", "bills"),
        ]
        assert world.call.attributes == {"number": "42", "choice": "Billing", "topic": "bills"}
        agent.hang_up()
        await world.settle()
        assert len(world.of(FlowEntered)) == len(world.of(FlowLeft)) == 1
        assert [event.node for event in world.of(NodeEntered)] == ["hello", "number", "menu", "queue", "bye", "hangup"]
        assert len(world.of(NodeLeft)) == 6

    play(story)


def test_a_key_that_came_while_control_was_down_counts() -> None:
    async def story() -> None:
        world, caller = hotline()
        caller.call("1001")
        await asyncio.sleep(3.0)
        keys(world, "42")
        await asyncio.sleep(0.5)
        asyncio.get_running_loop().call_later(0.2, keys, world, "1")
        await world.restart()
        await asyncio.sleep(0.5)
        assert len(world.of(CallQueued)) == 1
        caller.hang_up()
        await world.settle()

    play(story)


def test_a_phone_that_rings_goes_on_ringing_and_is_answered() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        agent.answer_after = 3.0
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(1.5)
        await world.restart()
        await asyncio.sleep(4.0)
        assert agent.log == ["rings", "answers"]
        (offered,) = world.of(CallOffered)
        (connected,) = world.of(CallConnected)
        assert connected.offer == offered.offer
        assert world.of(OfferWithdrawn) == []
        caller.hang_up()
        await world.settle()
        assert world.of(CallEnded)[0].outcome is CallOutcome.SERVED

    play(story)


def test_a_phone_that_nobody_answers_stops_in_time() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        agent = world.agent("agent", 20)
        agent.answer_after = None
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(4.0)
        await world.restart()
        await asyncio.sleep(8.0)
        assert agent.log == ["rings", "cancelled"]
        states = [(event.state, event.reason) for event in world.of(AgentStateChanged) if event.agent == "agent1"]
        assert states[-1] == ("not_ready", "rona")
        caller.hang_up()
        await world.settle()
        assert len(world.of(CallAbandoned)) == 1

    play(story)


def test_a_caller_who_hangs_up_while_control_is_down_has_abandoned() -> None:
    async def story() -> None:
        world, callers = queued(2)
        for caller in callers:
            caller.call("1001")
        await asyncio.sleep(5.0)
        asyncio.get_running_loop().call_later(0.1, callers[0].hang_up)
        await world.restart()
        await asyncio.sleep(1.0)
        (abandoned,) = world.of(CallAbandoned)
        assert abs(abandoned.waited - 5.5) < 0.3
        callers[1].hang_up()
        await world.settle()

    play(story)


def test_calls_come_while_control_is_down() -> None:
    async def story() -> None:
        world, (caller, late) = queued(2)
        caller.call("1001")
        await asyncio.sleep(2.0)
        asyncio.get_running_loop().call_later(0.1, late.call, "1001")
        await world.restart()
        await asyncio.sleep(1.0)
        assert len(world.of(CallQueued)) == 2
        assert late.statuses == [200]
        for one in (caller, late):
            one.hang_up()
        await world.settle()

    play(story)


def test_wrap_up_goes_on() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        world.agent("agent", 20)
        world.ready("agent1")
        caller.call("1001")
        await asyncio.sleep(5.0)
        caller.hang_up()
        await asyncio.sleep(2.0)
        await world.restart()
        await asyncio.sleep(5.0)
        changes = [event for event in world.of(AgentStateChanged) if event.agent == "agent1"]
        assert [event.state for event in changes[-2:]] == ["wrap_up", "ready"]
        assert abs(changes[-1].lasted - 5.0) < 0.1
        await world.settle()

    play(story)


def test_a_queue_that_was_left_because_nobody_came_is_not_entered_again() -> None:
    async def story() -> None:
        world, (caller,) = queued()
        caller.call("1001")
        await asyncio.sleep(3.0)
        await world.restart()
        await world.restart()
        caller.hang_up()
        await world.settle()
        assert len(world.of(CallQueued)) == len(world.of(CallAbandoned)) == 1
        assert world.of(CallFlowedOut) == []

    play(story)
