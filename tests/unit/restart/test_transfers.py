"""Control dies in each phase of a transfer, consultation, conference or pick-up, and of calls between agents."""

import asyncio
from collections import defaultdict
from collections.abc import Callable

import pytest

from acd.parts import Choice
from acd.routing.model import AgentProfile, Queue
from engine.sip.message import Request, Response
from events.types import (
    AgentJoined,
    AgentLeft,
    AgentState,
    AgentStateChanged,
    CallBridged,
    CallConnected,
    CallEnded,
    CallOffered,
    CallOutcome,
    CallReleased,
    CallTransferred,
    CallUnbridged,
    Event,
    OfferMissed,
    OfferWithdrawn,
    TransferResult,
)
from kernel.ids import AgentName
from tests.unit.engine.world import play
from tests.unit.ivr.flows import flow
from tests.unit.restart.test_restart import QUEUE
from tests.unit.restart.world import BILLING, RestartWorld, at

PAIR = [AgentProfile(name=AgentName(f"agent{n}"), aor=f"800{n}", pickup=frozenset({"all"})) for n in (1, 2)]


class Floor:
    """Two agents with their phones, the first of whom talks to a caller."""

    def __init__(self, queue: Queue = BILLING) -> None:
        self.world = RestartWorld(flow(QUEUE), queue=queue, agents=PAIR)
        self.caller = self.world.phone("caller", 10)
        self.one, self.two = self.world.agent("one", 20, "8001"), self.world.agent("two", 21, "8002")
        self.line = self.world.phone("line", 22)
        """The second line of agent1's phone."""
        self.world.desks |= {self.one.flow: "8001", self.two.flow: "8002", self.line.flow: "8001"}

    async def talk(self) -> None:
        self.world.ready("agent1")
        self.caller.call("1001")
        await asyncio.sleep(3.0)
        self.world.ready("agent2")

    async def end(self) -> None:
        for phone in (self.caller, self.line, self.one, self.two):
            phone.hang_up()
        await self.world.settle(110.0)
        self.balanced()

    def balanced(self) -> None:
        world = self.world

        def many(*kinds: type[Event]) -> int:
            return sum(isinstance(event, kinds) for event in world.events)

        assert many(CallOffered) == many(OfferMissed, OfferWithdrawn, CallConnected)
        assert many(CallConnected) == many(CallReleased)
        assert many(CallBridged) == many(CallUnbridged)
        assert many(AgentJoined) == many(AgentLeft)
        there = [profile.name for profile in world.agents]
        state = {event.agent: event.state for event in world.of(AgentStateChanged) if event.agent in there}
        assert not {AgentState.OFFERED, AgentState.ON_CALL, AgentState.WRAP_UP} & set(state.values()), state
        talked: dict[str, float] = defaultdict(float)
        for event in world.of(CallReleased):
            talked[event.call] += event.talked
        for end in world.of(CallEnded):
            assert end.outcome is not CallOutcome.FAILED
            assert end.talked <= end.duration
            if end.outcome is not CallOutcome.CONSULT:
                assert abs(talked[end.call] - end.talked) < 0.5, (talked, end)


def blind(floor: Floor) -> None:
    floor.one.refer("<sip:8002@192.0.2.1>")


def consult(floor: Floor) -> None:
    assert floor.world.acd.transfer("agent1", "agent2", consult=True) == ""


def attended(floor: Floor) -> None:
    floor.line.call("8002")
    at(3.0, lambda: floor.one.refer(floor.line.replaces) if floor.line.dialog else None)


def early_attended(floor: Floor) -> None:
    floor.line.call("8002")
    at(0.5, lambda: floor.one.refer(floor.line.replaces) if floor.line.dialog else None)


def conference(floor: Floor) -> None:
    consult(floor)
    at(3.0, lambda: floor.world.acd.decide("agent1", Choice.CONFERENCE))
    at(6.0, lambda: floor.world.acd.decide("agent1", Choice.COMPLETE))


def complete(floor: Floor) -> None:
    consult(floor)
    at(3.0, lambda: floor.world.acd.decide("agent1", Choice.COMPLETE))


def back(floor: Floor) -> None:
    consult(floor)
    at(3.0, lambda: floor.world.acd.decide("agent1", Choice.RETURN))


def to_queue(floor: Floor) -> None:
    floor.one.refer("<sip:billing@192.0.2.1>")


def to_flow(floor: Floor) -> None:
    floor.one.refer("<sip:1001@192.0.2.1>")


def agents_call(floor: Floor) -> None:
    floor.one.hang_up()
    at(0.5, lambda: floor.line.call("8002"))


def calls_queue(floor: Floor) -> None:
    floor.line.call("billing")


def code(floor: Floor) -> None:
    floor.line.call("*14")


WAYS = [blind, consult, attended, early_attended, conference, complete, back, to_queue, to_flow, agents_call]
WAYS += [calls_queue, code]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("died_after", [0.03, 0.3, 1.2, 2.5, 3.5, 6.5])
@pytest.mark.parametrize("goes", ["", "caller", "two"])
def test_whatever_an_agent_does_with_a_caller(way: Callable[[Floor], None], died_after: float, goes: str) -> None:
    """goes: who hangs up while control is down."""

    async def story() -> None:
        floor = Floor()
        await floor.talk()
        way(floor)
        if goes:
            at(died_after + 0.2, getattr(floor, goes).hang_up)
        await asyncio.sleep(died_after)
        await floor.world.restart()
        await asyncio.sleep(20.0)
        await floor.end()

    play(story)


@pytest.mark.parametrize("way", [blind, attended, to_queue])
@pytest.mark.parametrize("nth", range(1, 21))
def test_a_phone_hears_how_its_transfer_ended(way: Callable[[Floor], None], nth: int) -> None:
    """Control dies after the nth commit, before anything of that turn leaves; and NOTIFYs get lost."""

    async def story() -> None:
        floor = Floor()
        world = floor.world
        await floor.talk()
        way(floor)
        world.kill_after = {world.commits + nth}
        lost = set[bytes]()

        def lose(data: bytes) -> bool:
            once = data.startswith(b"NOTIFY") and data not in lost
            lost.add(data)
            return once

        world.lose = lose
        await asyncio.sleep(40.0)
        for phone in (floor.one, floor.line):
            asked = any(isinstance(m, Response) and m.status == 202 for m in phone.heard)
            told = {m.cseq.number: m for m in phone.heard if isinstance(m, Request) and m.method == "NOTIFY"}
            final = [m for m in told.values() if (m.headers.get("Subscription-State") or "").startswith("terminated")]
            assert len(final) == asked, phone.notified
            if asked:
                (transferred,) = world.of(CallTransferred) or (None,)
                done = transferred is not None and transferred.result is TransferResult.COMPLETED
                assert final[0].body.startswith(b"SIP/2.0 200" if done else b"SIP/2.0 503"), phone.notified
                assert final[0].headers.get("Event") == "refer"
        await floor.end()

    play(story)


@pytest.mark.parametrize("died_after", [0.005, 0.3, 1.2, 2.5])
@pytest.mark.parametrize("by", ["command", "phone"])
def test_a_pick_up(by: str, died_after: float) -> None:
    async def story() -> None:
        floor = Floor()
        floor.one.answer_after = None
        floor.world.ready("agent1")
        floor.caller.call("1001")
        await asyncio.sleep(1.0)
        if by == "phone":
            floor.two.call("*8")
        else:
            assert floor.world.acd.pick_ups.ring("agent2") == ""
        await asyncio.sleep(died_after)
        await floor.world.restart()
        await asyncio.sleep(5.0)
        await floor.end()

    play(story)
