"""However often, and in whatever moment, control dies: each call has one end, nobody is left hanging, nothing is told
twice and nothing is left over."""

import asyncio
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from acd.parts import Choice
from events.types import (
    AgentJoined,
    AgentLeft,
    AgentState,
    AgentStateChanged,
    CallAbandoned,
    CallArrived,
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
    Event,
    FlowEntered,
    FlowLeft,
    NodeEntered,
    NodeLeft,
    OfferMissed,
    OfferWithdrawn,
)
from tests.support.plane import FakePlane
from tests.support.softphone import Softphone
from tests.unit.engine.world import play
from tests.unit.ivr.flows import flow
from tests.unit.restart.world import RestartWorld

MAIN = """
start: hello
nodes:
  hello: {play: hello, next: menu}
  menu:
    menu: menu
    choices: {1: queue, 2: bye}
    otherwise: queue
  queue: {enqueue: billing, served: bye, otherwise: bye}
  bye: {play: bye, next: hangup}
"""
LENGTH = 45.0


def doings(callers: int, agents: int) -> st.SearchStrategy[list[tuple[float, str, int]]]:
    caller = st.sampled_from(["call", "hang_up", "hold", "resume", "press1", "press2"])
    agent = st.sampled_from(["hang_up", "hold", "resume", "refer", "refer_queue", "gone", "back"])
    word = st.sampled_from(["transfer", "consult", "complete", "return", "conference", "pause", "ready"])
    when = st.integers(0, 350).map(lambda tenths: tenths / 10)
    one = st.one_of(
        st.tuples(when, caller, st.integers(0, callers - 1)),
        st.tuples(when, agent.map(lambda what: f"agent_{what}"), st.integers(0, agents - 1)),
        st.tuples(when, word.map(lambda what: f"word_{what}"), st.integers(0, agents - 1)),
        st.tuples(when, st.just("media"), st.just(0)),
    )
    return st.lists(one, max_size=12)


def do(world: RestartWorld, phone: Softphone, what: str) -> None:
    match what.removeprefix("agent_"):
        case "call" if phone.idle:
            phone.call("1001")
        case "hang_up":
            phone.hang_up()
        case "hold":
            phone.again("sendonly")
        case "resume":
            phone.again("sendrecv")
        case "refer":
            phone.refer(f"<sip:{'8002' if phone.name == 'agent0' else '8001'}@192.0.2.1>")
        case "refer_queue":
            phone.refer("<sip:billing@192.0.2.1>")
        case "press1" | "press2" as key if (port := world.planes[-1].at(phone.remote_rtp)) is not None:
            world.planes[-1].press(port, key[-1])


def say(world: RestartWorld, number: int, what: str) -> None:
    """What an agent does by a command, or his phone by itself."""
    name, other, aor = f"agent{number + 1}", f"agent{2 - number}", f"800{number + 1}"
    if world.life.dead:
        return
    match what.partition("_")[2]:
        case "transfer" | "consult" as how:
            world.acd.transfer(name, other, consult=how == "consult")
        case "complete" | "return" | "conference" as choice:
            world.acd.decide(name, Choice(choice))
        case "pause":
            world.acd.agent_command(name, "not_ready")
        case "ready":
            world.acd.agent_command(name, "ready")
        case "gone":
            world.acd.phone_unregistered(aor)
        case "back":
            world.acd.phone_registered(aor)


def happen(world: RestartWorld, phone: Softphone, who: int, what: str) -> None:
    if what == "media":
        lose_media(world)
    elif what.startswith("word_") or what in ("agent_gone", "agent_back"):
        say(world, who, what)
    else:
        do(world, phone, what)


def lose_media(world: RestartWorld) -> None:
    """Another takes its place at once."""
    if len(world.planes) < 9:
        world.add_plane(FakePlane(f"media{len(world.planes)}"))
        world.lose_media(world.planes[-2])


@given(
    script=doings(2, 2),
    kill_at=st.lists(st.integers(1, 60), max_size=3, unique=True),
    kills=st.lists(st.integers(0, 350).map(lambda tenths: tenths / 10), max_size=2),
    kill_after=st.lists(st.integers(1, 60), max_size=2, unique=True),
    patience=st.tuples(st.sampled_from([0.3, 2.0, None]), st.sampled_from([0.0, 1.0])),
)
@example(
    script=[(2.2, "media", 0), (2.1, "hold", 0)],
    kill_at=[],
    kills=[],
    kill_after=[13, 27],  # between the 200 to a re-INVITE that was saved and its way out
    patience=(2.0, 0.0),
)
@settings(max_examples=50, deadline=None)
def test_whatever_happens_when(
    script: list[tuple[float, str, int]],
    kill_at: list[int],
    kills: list[float],
    kill_after: list[int],
    patience: tuple[float | None, float | None],
) -> None:
    async def story() -> None:
        world = RestartWorld(flow(MAIN))
        callers = [world.phone(f"caller{n}", 10 + n) for n in range(2)]
        agents = [world.agent(f"agent{n}", 20 + n, f"800{n + 1}") for n in range(2)]
        for agent, after in zip(agents, patience, strict=True):
            agent.answer_after = after
        world.ready("agent1", "agent2")
        loop = asyncio.get_running_loop()
        world.kill_at = {world.counted + n for n in kill_at}
        world.kill_after = {world.commits + n for n in kill_after}
        loop.call_later(0.1, do, world, callers[0], "call")
        loop.call_later(1.3, do, world, callers[1], "call")
        for when, what, who in script:
            phones = agents if what.startswith("agent_") else callers
            loop.call_later(when + 0.05, happen, world, phones[who], who, what)
        for when in kills:
            loop.call_later(when, world.die_if_alive)
        await asyncio.sleep(LENGTH)
        world.kill_at.clear()
        world.kill_after.clear()
        for phone in (*callers, *agents):
            phone.hang_up()
        await asyncio.sleep(40.0)
        for phone in (*callers, *agents):
            phone.hang_up()
        await world.settle(150.0)
        balanced(world.events)

    play(story)


def count(events: list[Event], *kinds: type[Event]) -> Counter[str]:
    return Counter(str(getattr(event, "call", "")) for event in events if isinstance(event, kinds))


def balanced(events: list[Event]) -> None:
    calls = count(events, CallArrived)
    assert set(calls.values()) <= {1}
    assert count(events, CallEnded) == calls
    talks = Counter(str(event.call) for event in events if isinstance(event, CallConnected) and event.queue)
    assert count(events, CallQueued) == count(events, CallAbandoned, CallFlowedOut) + talks
    assert count(events, AgentJoined) == count(events, AgentLeft)
    assert count(events, CallOffered) == count(events, OfferMissed, OfferWithdrawn, CallConnected)
    assert count(events, CallConnected) == count(events, CallReleased)
    assert count(events, CallBridged) == count(events, CallUnbridged)
    assert count(events, FlowEntered) == count(events, FlowLeft)
    assert count(events, NodeEntered) == count(events, NodeLeft)
    held = count(events, CallHeld)
    assert all(held[call] >= many for call, many in count(events, CallResumed).items())
    failed = [event for event in events if isinstance(event, CallEnded) and event.outcome is CallOutcome.FAILED]
    assert failed == [], "nobody's call failed because of us"
    talked: dict[str, float] = {}
    for event in events:
        if isinstance(event, CallReleased):
            talked[event.call] = talked.get(event.call, 0.0) + event.talked
    for event in events:
        if isinstance(event, CallEnded):
            assert abs(event.talked - talked.get(event.call, 0.0)) < 0.5
    last = {event.agent: event.state for event in events if isinstance(event, AgentStateChanged)}
    assert set(last.values()) <= {AgentState.READY, AgentState.NOT_READY}, last
