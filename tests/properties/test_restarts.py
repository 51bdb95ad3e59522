"""However often, and in whatever moment, control dies: each call has one end, nobody is left hanging, nothing is told
twice and nothing is left over. And what agents do with a caller comes to what it would have come to without."""

import asyncio
from collections import Counter
from dataclasses import replace
from functools import partial

from hypothesis import example, given, settings
from hypothesis import strategies as st

from acd.parts import Choice
from events.types import (
    AgentConsulted,
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
    SipReported,
)
from tests.support.plane import FakePlane
from tests.support.softphone import Softphone
from tests.unit.engine.world import play
from tests.unit.ivr.flows import flow
from tests.unit.restart.test_restart import QUEUE
from tests.unit.restart.world import BILLING, DOWN_FOR, RestartWorld

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


STEP = 3.0
"""Seconds from one thing that is done to the next; control dies in between."""
WORDS = ["consult", "complete", "return", "conference", "transfer"]
KEYS = ["code1", "code2", "code3"]
PHONES = ["refer", "hold", "resume", "hold2", "resume2", "hang_up", "hang_up2", "caller"]


async def passing(script: list[str], kills: list[float], answers: float | None) -> tuple[list[str], list[float], str]:
    """agent1 has a caller, and agent2 is there. Returns what was told, how long the talks were, and who hears whom."""
    world = RestartWorld(flow(QUEUE), queue=replace(BILLING, record=True))
    caller, one, two = world.phone("caller", 10), world.agent("one", 20, "8001"), world.agent("two", 21, "8002")
    two.answer_after = answers
    world.desks |= {one.flow: "8001", two.flow: "8002"}
    world.ready("agent1")
    loop = asyncio.get_running_loop()
    caller.call("1001")
    await asyncio.sleep(3.0)
    world.ready("agent2")
    for when in kills:
        loop.call_later(when, world.die_if_alive)
    for what in script:
        pass_on(world, what, caller, one, two)
        await asyncio.sleep(STEP)
    heard = hears(world, [caller, one, two])
    for phone in (caller, one, two):
        phone.hang_up()
    await world.settle(150.0)
    balanced(world.events)
    kinds = (AgentConsulted, AgentLeft, CallReleased, CallEnded)
    talked = [event.talked for event in world.events if isinstance(event, kinds)]
    told = [event for event in world.events if not isinstance(event, SipReported)]  # a process counts its own
    return sorted(brief(event) for event in told), sorted(talked), heard


def pass_on(world: RestartWorld, what: str, caller: Softphone, one: Softphone, two: Softphone) -> None:
    phone = two if what.endswith("2") else one
    match what.rstrip("2"):
        case "hold":
            phone.again("sendonly")
        case "resume":
            phone.again("sendrecv")
        case "hang_up":
            phone.hang_up()
        case "caller":
            caller.hang_up()
        case "refer":
            one.refer("<sip:8002@192.0.2.1>")
        case "code" | "code1" | "code3" if (port := world.plane.at(one.remote_rtp)) is not None:
            world.plane.press(port, "*")
            world.plane.press(port, what[-1])
        case "consult" | "transfer" | "complete" | "return" | "conference" as word:
            say(world, 0, f"word_{word}")


def hears(world: RestartWorld, phones: list[Softphone]) -> str:
    """Phones by their number, or what is played; without those that wait to be hung up."""
    places = {world.plane.at(phone.remote_rtp): str(n) for n, phone in enumerate(phones) if phone.remote_rtp}
    heard = []
    for port, name in places.items():
        if port is not None:
            found = world.plane.ports[port]
            others = [places[it] for it in (*found.hears, *([found.partner] if found.partner is not None else []))]
            heard.append((name, *(found.clips or sorted(others))))
    return ", ".join(" ".join(each) for each in heard if len(each) > 1)


def brief(event: Event) -> str:
    """What has nothing to do with time, nor with names given by chance."""
    names = ("agent", "with_agent", "by", "to", "kind", "result", "state", "via", "ended_by", "why", "outcome", "path")
    return " ".join([type(event).__name__, *(f"{name}={value}" for name in names if (value := _of(event, name)))])


def _of(event: Event, name: str) -> str:
    value = str(getattr(event, name, ""))
    return value[-6:] if name == "path" else value


@given(
    script=st.lists(st.sampled_from([*WORDS, *KEYS, *PHONES]), min_size=1, max_size=7),
    kills=st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0.4, 0.9, 1.1, 1.6, 2.2])), min_size=1, max_size=4),
    answers=st.sampled_from([0.5, 1.0, 4.5, None]),
)
@example(script=["consult", "conference", "complete"], kills=[(0, 1.6), (1, 1.6), (2, 1.6)], answers=1.0)
@example(script=["consult", "code3", "hold2", "code2"], kills=[(0, 0.4), (1, 1.6), (2, 1.6)], answers=1.0)
@settings(max_examples=40, deadline=None)
def test_what_an_agent_does_with_a_caller_comes_to_the_same(
    script: list[str], kills: list[tuple[int, float]], answers: float | None
) -> None:
    """Consultations, conferences and transfers go on, with the music, the holds and the seconds that they have."""
    moments = [step * STEP + after for step, after in kills]
    told, talked, heard = play(partial(passing, script, [], answers))
    told_then, talked_then, heard_then = play(partial(passing, script, moments, answers))
    assert told_then == told
    assert heard_then == heard
    assert all(abs(one - other) < 2 * DOWN_FOR for one, other in zip(talked, talked_then, strict=True))


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
