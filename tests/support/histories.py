"""Event logs for tests: a plausible hotline from a seed, and any events at all."""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
from hypothesis import strategies as st

from events import types as ev
from events.codec import EVENTS
from events.types import AgentState, CallOutcome, EndedBy, Event, OfferResult, QueueExit, Recorded
from kernel.ids import AgentName, CallId, LegId, OfferId, QueueName

_FEW: dict[str, list[str]] = {
    "call": ["c1", "c2", "c3"],
    "leg": ["c1-1", "c1-2", "c2-1", "c2-2"],
    "agent": ["anna", "bo"],
    "queue": ["billing", "support"],
    "offer": ["o1", "o2", "o3"],
    "path": ["a.wav", "b.wav"],
    "aor": ["8001", "8002"],
    "contact": ["sip:x", "sip:y"],
    "process": ["control", "media0"],
    "name": ["language", "choice"],
    "trunk": ["north", "south"],
    "target": ["udp:192.0.2.1:5060", "tcp:192.0.2.2:5060"],
}


def _values(name: str, kind: Any) -> st.SearchStrategy[Any]:
    if name in _FEW:
        few = st.sampled_from(_FEW[name])
        return few if kind is not None and "None" not in str(kind) else st.none() | few
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    if kind is int:
        return st.integers(-5, 2**70)
    if kind is float:
        return st.floats(0, 1e6)
    if kind is bool:
        return st.booleans()
    if "list" in str(kind):
        return st.lists(st.sampled_from(_FEW["target"]) | st.text(max_size=8), max_size=2)
    if "dict" in str(kind):
        return st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3)
    return st.text(max_size=8) | st.sampled_from(["", "\0", "\udc80", "x" * 1500, 'a"\n\\'])


def _builds(kind: type[Event]) -> st.SearchStrategy[Event]:
    values = {field.name: _values(field.name, field.type) for field in msgspec.structs.fields(kind)}
    return st.builds(kind, **values)


def any_events() -> st.SearchStrategy[Event]:
    """Each type equally likely, over a few calls, agents and queues, in no sensible order, with hostile texts."""
    return st.sampled_from(sorted(EVENTS)).flatmap(lambda name: _builds(EVENTS[name]))


def call_history(chance: random.Random, number: int) -> Iterator[tuple[float, Event]]:
    """One whole call as (seconds since its arrival, event)."""
    call, queue = CallId(f"call-{number:05}"), QueueName(chance.choice(["billing", "support"]))
    agent, leg, offer = AgentName(chance.choice(["anna", "bo"])), LegId(f"{call}-2"), OfferId(f"{call}-o1")
    t = 0.0
    yield (
        t,
        ev.CallArrived(
            call=call,
            sip_call_id=f"{number}@peer",
            caller=f"139{number:08}",
            caller_name="",
            dialled="1001",
            source="udp:127.0.0.1:5060",
            trunk="loopback",
        ),
    )
    yield t, ev.CallAnswered(call=call, waited=0.01, codec="PCMU")
    yield t, ev.FlowEntered(call=call, flow="main", version="1")
    yield t, ev.NodeEntered(call=call, flow="main", node="menu", verb="menu")
    t += chance.uniform(1, 9)
    outcome = CallOutcome.ABANDONED_IVR
    if chance.random() < 0.9:
        yield t, ev.DigitPressed(call=call, leg=LegId(f"{call}-1"), digit="1", via="rfc4733")
        yield t, ev.NodeLeft(call=call, flow="main", node="menu", edge="1", to="billing", dwell=t)
        yield t, ev.AttributeSet(call=call, name="choice", value="billing")
        for t, event in _queue_history(chance, call, queue, agent, leg, offer, t):  # noqa: B020
            if isinstance(event, ev.CallReleased):
                outcome = CallOutcome.SERVED
            yield t, event
        outcome = CallOutcome.SERVED if outcome is CallOutcome.SERVED else CallOutcome.ABANDONED_QUEUE
    yield t, ev.FlowLeft(call=call, flow="main", node="menu", why="hung_up")
    yield (
        t,
        ev.LegEnded(call=call, leg=LegId(f"{call}-1"), sip_status=200, ended_by=EndedBy.CALLER, reason="bye", talked=t),
    )
    end = ev.CallEnded(
        call=call, outcome=outcome, ended_by=EndedBy.CALLER, sip_status=200, reason="bye", duration=t, talked=0.0
    )
    yield t, end


def _queue_history(
    chance: random.Random, call: CallId, queue: QueueName, agent: AgentName, leg: LegId, offer: OfferId, t: float
) -> Iterator[tuple[float, Event]]:
    yield t, ev.CallQueued(call=call, queue=queue, skills={"zh": 1}, priority=0, position=1)
    entered, end = t, chance.random()
    t += chance.uniform(0, 30)
    if end < 0.2:
        yield t, ev.CallAbandoned(call=call, queue=queue, waited=t - entered, position=1)
        return
    if end < 0.3:
        yield t, ev.CallFlowedOut(call=call, queue=queue, why=chance.choice(list(QueueExit)), waited=t - entered)
        return
    yield t, ev.CallOffered(call=call, queue=queue, agent=agent, offer=offer, ring_for=15.0, waited=t - entered)
    yield t, ev.LegDialled(call=call, leg=leg, target="8001", ring_for=15.0)
    yield t, ev.LegRinging(call=call, leg=leg, sip_status=180)
    t += chance.uniform(1, 10)
    if end < 0.4:
        result = chance.choice(list(OfferResult))
        yield t, ev.OfferMissed(call=call, queue=queue, agent=agent, offer=offer, result=result, rang=2.0)
        yield t, ev.LegEnded(call=call, leg=leg, sip_status=486, ended_by=EndedBy.AGENT, reason="busy", talked=0.0)
        yield t, ev.CallAbandoned(call=call, queue=queue, waited=t - entered, position=1)
        return
    yield t, ev.LegAnswered(call=call, leg=leg, codec="PCMA", rang=2.0)
    yield t, ev.CallConnected(call=call, queue=queue, agent=agent, offer=offer, waited=t - entered, rang=2.0)
    yield t, _agent(agent, AgentState.ON_CALL, AgentState.OFFERED, call)
    yield t, ev.CallBridged(call=call, leg=leg)
    yield t, ev.RecordingStarted(call=call, path=f"{call}.wav")
    began = t
    t += chance.uniform(5, 300)
    talked = t - began
    yield t, ev.RecordingStopped(call=call, path=f"{call}.wav", seconds=talked, lost_frames=0)
    yield t, ev.CallUnbridged(call=call, leg=leg, talked=talked, held=0.0, ended_by=EndedBy.AGENT)
    yield t, ev.LegEnded(call=call, leg=leg, sip_status=200, ended_by=EndedBy.AGENT, reason="bye", talked=talked)
    yield t, ev.CallReleased(call=call, queue=queue, agent=agent, talked=talked, held=0.0, ended_by=EndedBy.AGENT)
    yield t, _agent(agent, AgentState.WRAP_UP, AgentState.ON_CALL, call)
    if chance.random() < 0.3:
        yield from _transferred(chance, call, agent, t)


def _transferred(chance: random.Random, call: CallId, first: AgentName, t: float) -> Iterator[tuple[float, Event]]:
    """The second agent's part (the first hung up while he was rung)."""
    second, offer, none = AgentName("cy"), OfferId(f"{call}-o2"), QueueName("")
    yield t, ev.CallOffered(call=call, queue=none, agent=second, offer=offer, ring_for=25.0, waited=0.0)
    t += chance.uniform(1, 5)
    yield (
        t,
        ev.CallTransferred(
            call=call,
            agent=first,
            kind=ev.TransferKind.BLIND,
            to_kind=ev.TransferTarget.AGENT,
            to=second,
            result=ev.TransferResult.COMPLETED,
            took=2.0,
        ),
    )
    via = ev.ConnectedVia.TRANSFER
    yield t, ev.CallConnected(call=call, queue=none, agent=second, offer=offer, waited=2.0, rang=2.0, via=via)
    yield t, _agent(second, AgentState.ON_CALL, AgentState.OFFERED, call)
    t += chance.uniform(1, 50)
    by = EndedBy.AGENT
    yield t, ev.CallReleased(call=call, queue=none, agent=second, talked=5.0, held=0.0, ended_by=by, via=via)
    yield t, _agent(second, AgentState.READY, AgentState.ON_CALL, call)


def _agent(agent: AgentName, state: AgentState, previous: AgentState, call: CallId | None) -> Event:
    return ev.AgentStateChanged(
        agent=agent, state=state, previous=previous, reason="", via="acd", call=call, lasted=1.0
    )


def hotline(seed: int, calls: int) -> list[Recorded]:
    """A log of that many overlapping calls, all ended, seq from 1, `at` rising."""
    chance = random.Random(seed)
    timed = [(0.0, 0, ev.ControlStarted(version="1", config="x", recovered_calls=0))]
    for number in range(calls):
        begin = chance.uniform(0, calls)
        timed += [(begin + t, number + 1, event) for t, event in call_history(chance, number)]  # type: ignore[misc]
    timed.sort(key=lambda item: item[0])
    return [Recorded(seq, 1.76e9 + at, event) for seq, (at, _, event) in enumerate(timed, 1)]
