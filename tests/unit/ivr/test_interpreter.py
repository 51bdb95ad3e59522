"""What the interpreter journals, whatever the caller does and however the flow fails."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.call import Call
from events.types import (
    AttributeSet,
    FlowEntered,
    FlowFailed,
    FlowLeft,
    InputMissed,
    NodeEntered,
    NodeLeft,
    PromptPlayed,
)
from ivr.interpreter import FlowError
from ivr.model import Flow
from ivr.ports import QueueResult
from kernel.virtual import run
from tests.unit.ivr.flows import Bench, flow

TEXT = """
start: hello
nodes:
  hello: {play: hello, next: main}
  main:
    menu: main
    tries: 2
    choices: {1: queue, 2: {to: other, label: Two}, "*": main}
    otherwise: bye
  queue: {enqueue: billing, otherwise: bye}
  other: {goto: other}
  bye: {play: bye, next: hangup}
"""
OTHER = "{start: ask, nodes: {ask: {collect: ask, into: x, next: back, otherwise: back}, back: {goto: main}}}"


def flows() -> dict[str, Flow]:
    return {"main": flow(TEXT), "other": flow(OTHER, "other")}


def test_a_whole_call() -> None:
    bench = Bench(flows(), {"main": ["7", "1"]})
    bench.call()
    call, version = "test-call", bench.flows["main"].version
    left = NodeLeft(call=call, flow="main", node="hello", edge="next", to="main", dwell=4.0)  # type: ignore[arg-type]
    assert bench.events[:5] == [
        FlowEntered(call=call, flow="main", version=version),  # type: ignore[arg-type]
        NodeEntered(call=call, flow="main", node="hello", verb="play"),  # type: ignore[arg-type]
        PromptPlayed(call=call, node="hello", prompt="hello", seconds=4.0, completed=True),  # type: ignore[arg-type]
        left,
        NodeEntered(call=call, flow="main", node="main", verb="menu"),  # type: ignore[arg-type]
    ]
    assert [(e.why, e.digits, e.attempt) for e in bench.events if isinstance(e, InputMissed)] == [("invalid", "7", 1)]
    assert [(e.node, e.edge, e.to) for e in bench.events if isinstance(e, NodeLeft)] == [
        ("hello", "next", "main"),
        ("main", "1", "queue"),
        ("queue", "served", "hangup"),
        ("hangup", "hangup", ""),
    ]
    assert bench.told(FlowLeft) == [FlowLeft(call=call, flow="main", node="hangup", why="finished")]  # type: ignore[arg-type]


def test_the_choice_is_an_attribute_for_the_agents_phone() -> None:
    bench = Bench(flows(), {"main": "2"}, hang_up=20.0)
    bench.call()
    assert bench.told(AttributeSet) == [AttributeSet(call="test-call", name="choice", value="Two")]  # type: ignore[arg-type]


def test_each_of_several_flows_is_left_once() -> None:
    bench = Bench(flows(), {"main": ["2", "1"], "ask": "42#"})
    bench.call()
    assert [(e.flow, e.why) for e in bench.events if isinstance(e, FlowLeft)] == [
        ("main", "finished"),
        ("other", "finished"),
        ("main", "finished"),
    ]


def test_a_hang_up_leaves_node_and_flow() -> None:
    bench = Bench(flows(), hang_up=2.5)
    bench.call()
    call = "test-call"
    assert bench.events[-3:] == [
        PromptPlayed(call=call, node="hello", prompt="hello", seconds=2.5, completed=False),  # type: ignore[arg-type]
        NodeLeft(call=call, flow="main", node="hello", edge="hung_up", to="", dwell=2.5),  # type: ignore[arg-type]
        FlowLeft(call=call, flow="main", node="hello", why="hung_up"),  # type: ignore[arg-type]
    ]


KEYS = st.dictionaries(
    st.floats(0, 60), st.text("0123456789*#", min_size=1, max_size=3), max_size=6
) | st.fixed_dictionaries({"main": st.lists(st.sampled_from("1278*"), min_size=1, max_size=5)})


@settings(max_examples=200, deadline=None)
@given(KEYS, st.floats(0, 90))
def test_entered_is_left_once_whenever_the_caller_hangs_up(keys: dict[float | str, str], hang_up: float) -> None:
    """In = out for flows and nodes, in the right order: the ground of every IVR report."""
    bench = Bench(flows(), keys, hang_up=hang_up)
    bench.call()
    open_now: list[tuple[str, str]] = []
    for event in bench.told(FlowEntered, FlowLeft, NodeEntered, NodeLeft):
        match event:
            case FlowEntered():
                assert not open_now
                open_now.append(("flow", event.flow))
            case NodeEntered():
                open_now.append(("node", event.node))
                assert len(open_now) == 2
            case NodeLeft():
                assert open_now.pop() == ("node", event.node)
            case FlowLeft():
                assert open_now.pop() == ("flow", event.flow)
    assert not open_now
    assert len(bench.told(FlowLeft)) >= 1


class BrokenQueue:
    async def go_on(self, call: Call) -> bool:
        return False

    async def enqueue(self, call: Call, queue: str, *, skills: dict[str, int], priority: int) -> QueueResult:
        raise RuntimeError("no router")


def test_a_fault_of_ours_fails_the_flow_and_says_so() -> None:
    bench = Bench(flows(), {"main": "1"})
    bench.queue = BrokenQueue()
    with pytest.raises(RuntimeError, match="no router"):
        bench.call()
    assert bench.events[-2:] == [
        FlowFailed(call="test-call", flow="main", node="queue", error="RuntimeError: no router"),  # type: ignore[arg-type]
        FlowLeft(call="test-call", flow="main", node="queue", why="failed"),  # type: ignore[arg-type]
    ]


class FullQueue:
    async def go_on(self, call: Call) -> bool:
        return False

    async def enqueue(self, call: Call, queue: str, *, skills: dict[str, int], priority: int) -> QueueResult:
        return QueueResult("full")


def test_a_circle_that_no_check_can_see_ends_the_call() -> None:
    """A queue that is full at once, and a flow that asks again: takes no time, so it would never end."""
    bench = Bench({"main": flow("{start: q, nodes: {q: {enqueue: billing, otherwise: q}}}")})
    bench.queue = FullQueue()
    with pytest.raises(FlowError, match="without coming to an end"):
        bench.call()
    assert [event.why for event in bench.events if isinstance(event, FlowLeft)] == ["failed"]


def test_one_interpreter_runs_many_calls_at_once() -> None:
    benches = [Bench(flows(), {"main": "1"}, hang_up=5.0 + n) for n in range(20)]

    async def together() -> None:
        await asyncio.gather(*(bench._call("main") for bench in benches))

    run(together())
    assert [len(bench.told(FlowLeft)) for bench in benches] == [1] * 20


def test_a_call_that_is_told_why_and_never_answered() -> None:
    text = """
    start: sorry
    nodes:
      sorry: {play: sorry, early: true, next: number}
      number: {say: "42", as: digits, early: true, next: gone}
      gone: {hangup: not_in_service, status: 404}
    """
    caller = Bench({"main": flow(text)}).call()
    assert caller.trace == [
        "000.0 early en/sorry",
        "004.0 early en/n4 en/n2",
        "012.0 reject 404 not_in_service",
    ]


def test_early_is_nothing_special_in_an_answered_call() -> None:
    text = """
    start: pick
    nodes:
      pick: {answer: , next: sorry}
      sorry: {play: sorry, early: true, next: gone}
      gone: {hangup: not_in_service, status: 404}
    """
    assert Bench({"main": flow(text)}).call().trace == ["000.0 answer", "000.0 play en/sorry", "004.0 hangup"]
