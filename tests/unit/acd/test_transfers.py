"""Transfers and consultations under virtual time: who has the caller, and whose talk it is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from acd.consults import Consults
from acd.destinations import ToAgent
from acd.parts import Choice
from acd.service import Flows
from acd.visit import QueueOutcome, QueueResult
from engine.call import Dial, Dialled, DialOutcome
from events.types import (
    AgentConsulted,
    AgentStateChanged,
    CallConnected,
    CallReleased,
    CallTransferred,
    ConnectedVia,
    Event,
    TransferKind,
    TransferResult,
)
from kernel.ids import AgentName
from tests.support.virtual import run
from tests.unit.acd.world import FakeCall, FakeTransfer, World, agent, brief, check_balance, queue

BLIND, ATTENDED = TransferKind.BLIND, TransferKind.ATTENDED


def site() -> World:
    return World(
        [queue(wrap_up=10.0), queue("support", skills={"tech": 1})],
        [agent("ann"), agent("bob", tech=1), agent("cid")],
    )


async def talking(world: World, seconds: float = 30.0) -> FakeCall:
    """ann has answered after 2 s and talks."""
    call = world.call("c1")
    await asyncio.sleep(2.0 + seconds)
    assert call.bridged is not None
    return call


def talks(world: World) -> list[tuple[str, float, str]]:
    found = world.of(CallReleased)
    return [(e.agent, e.talked, e.via.value) for e in found if isinstance(e, CallReleased)]


def results(world: World) -> list[str]:
    return [e.result.value for e in world.of(CallTransferred) if isinstance(e, CallTransferred)]


def states(world: World, name: str) -> list[str]:
    found = [e for e in world.of(AgentStateChanged) if isinstance(e, AgentStateChanged) and e.agent == name]
    return [e.state.value for e in found]


def plain(event: Event) -> bool:
    return isinstance(event, AgentStateChanged)


def test_blind_to_an_agent() -> None:
    async def main() -> None:
        world = site()
        call = await talking(world)
        asked = FakeTransfer("phone-bob")
        assert call.refer(asked)
        await asyncio.sleep(11.0)
        assert asked.status == 200
        assert (world.state("ann"), world.state("bob")) == ("wrap_up", "on_call")
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.story(plain) == [
            "000.0 CallQueued c1 1",
            "000.0 CallOffered c1 ann",
            "002.0 CallConnected c1 ann",
            "032.0 CallOffered c1 bob",
            "034.0 CallTransferred c1 ann completed",
            "034.0 CallReleased c1 ann",
            "034.0 CallConnected c1 bob",
            "043.0 CallReleased c1 bob",
        ]
        assert talks(world) == [("ann", 30.0, "queue"), ("bob", 9.0, "transfer")]
        assert world.state("bob") == "wrap_up"
        check_balance(world.log)

    run(main())


def test_blind_in_vain_gives_the_caller_back_and_is_one_talk() -> None:
    async def main() -> None:
        world = site()
        world.phones["phone-bob"].answers = None
        call = await talking(world)
        asked = FakeTransfer("bob")
        call.refer(asked)
        await asyncio.sleep(26.0)
        assert asked.status == 487
        assert call.bridged is asked.leg
        assert world.state("bob") == "not_ready"
        await asyncio.sleep(5.0)
        call.hang_up()
        await asyncio.sleep(0.1)
        assert results(world) == ["no_answer"]
        assert talks(world) == [("ann", 36.0, "queue")]
        assert [e for e in world.story() if "ann" in e and "State" in e][-1].endswith("wrap_up")
        check_balance(world.log)

    run(main())


def test_who_hangs_up_at_once_has_done_his_part_and_is_rung_again_when_nobody_answers() -> None:
    async def main() -> None:
        world = site()
        world.phones["phone-bob"].outcome, world.phones["phone-bob"].fails = DialOutcome.DECLINED, 5.0
        call = await talking(world)
        asked = FakeTransfer("phone-bob")
        call.refer(asked)
        await asyncio.sleep(1.0)
        assert asked.leg is not None
        asked.leg.hangup()
        await asyncio.sleep(1.0)
        assert world.state("ann") == "wrap_up"
        await asyncio.sleep(15.0)
        call.hang_up()
        await asyncio.sleep(20.1)
        assert world.story(plain)[3:] == [
            "032.0 CallOffered c1 bob",
            "033.0 CallReleased c1 ann",
            "037.0 OfferMissed c1 bob declined",
            "037.0 CallTransferred c1 ann declined",
            "037.0 CallOffered c1 ann",
            "039.0 CallConnected c1 ann",
            "049.0 CallReleased c1 ann",
        ]
        assert states(world, "ann")[1:] == ["offered", "on_call", "wrap_up", "on_call", "wrap_up", "ready"]
        check_balance(world.log)

    run(main())


def test_nobody_left_takes_the_caller_back_to_the_queue() -> None:
    async def main() -> None:
        world = site()
        world.phones["phone-bob"].answers = None
        call = await talking(world)
        asked = FakeTransfer("bob")
        call.refer(asked)
        await asyncio.sleep(0.0)
        await asyncio.sleep(1.0)
        assert asked.leg is not None
        asked.leg.hangup()
        world.phones["phone-ann"].answers = None
        await asyncio.sleep(60.0)
        assert world.state("cid") == "on_call"
        call.hang_up()
        await asyncio.sleep(0.1)
        assert [brief(e) for e in world.of(CallConnected)] == ["CallConnected c1 ann", "CallConnected c1 cid"]
        check_balance(world.log)

    run(main())


def test_blind_to_a_queue() -> None:
    async def main() -> None:
        world = site()
        call = await talking(world)
        asked = FakeTransfer("support")
        call.refer(asked)
        await asyncio.sleep(5.0)
        assert asked.status == 200
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.story(plain)[3:] == [
            "032.0 CallTransferred c1 ann completed",
            "032.0 CallReleased c1 ann",
            "032.0 CallQueued c1 1",
            "032.0 CallOffered c1 bob",
            "034.0 CallConnected c1 bob",
            "037.0 CallReleased c1 bob",
        ]
        assert talks(world) == [("ann", 30.0, "queue"), ("bob", 3.0, "queue")]
        check_balance(world.log)

    run(main())


def test_a_full_queue_takes_nobody() -> None:
    async def main() -> None:
        world = World([queue(), queue("tiny", max_calls=0)], [agent("ann")])
        call = await talking(world)
        asked = FakeTransfer("tiny")
        call.refer(asked)
        await asyncio.sleep(5.0)
        assert asked.status == 480
        assert call.bridged is asked.leg
        await world.end()
        assert talks(world) == [("ann", 35.0, "queue")]
        check_balance(world.log)

    run(main())


@pytest.mark.parametrize("to", ["ann", "phone-ann", "cid"])
def test_who_is_busy_is_not_rung(to: str) -> None:
    async def main() -> None:
        world = site()
        call = await talking(world)
        other = world.call("c2")
        await asyncio.sleep(3.0)
        third = world.call("c3")
        await asyncio.sleep(3.0)
        asked = FakeTransfer(to)
        call.refer(asked)
        await asyncio.sleep(1.0)
        assert asked.status == 486
        assert results(world) == ["busy"]
        assert other.bridged is not None
        assert third.bridged is not None
        await world.end()
        check_balance(world.log)

    run(main())


def test_a_flow_takes_the_caller() -> None:
    async def main() -> None:
        world = site()
        seen: list[str] = []

        async def flow(call: object) -> None:
            seen.append("flow")

        world.acd._flows = Flows({"1001": flow})
        world.acd.destinations._flows = {"1001"}
        call = await talking(world)
        asked = FakeTransfer("1001")
        call.refer(asked)
        assert call.task is not None
        assert await call.task == QueueResult(QueueOutcome.SERVED)
        assert (seen, asked.status) == (["flow"], 200)
        check_balance(world.log)

    run(main())


@pytest.mark.parametrize("state", ["logout", "not_ready"])
def test_an_agent_at_rest_may_take_a_transfer_and_rests_again(state: str) -> None:
    async def main() -> None:
        world = site()
        world.acd.agent_command("bob", state, "lunch" if state == "not_ready" else "")
        call = await talking(world)
        call.refer(FakeTransfer("bob"))
        await asyncio.sleep(5.0)
        assert world.state("bob") == "on_call"
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.state("bob") == {"logout": "logged_out", "not_ready": "not_ready"}[state]
        assert world.acd.roster.agents[AgentName("bob")].reason == ("" if state == "logout" else "lunch")
        check_balance(world.log)

    run(main())


def test_wrap_up_goes_on_after_a_transferred_call() -> None:
    async def main() -> None:
        world = site()
        first = world.call("c0")
        await asyncio.sleep(10.0)
        world.acd.agent_command("cid", "logout")
        call = world.call("c1")
        await asyncio.sleep(5.0)
        assert world.state("bob") == "on_call"
        first.hang_up()
        await asyncio.sleep(4.0)
        assert world.state("ann") == "wrap_up"
        call.refer(FakeTransfer("ann"))
        await asyncio.sleep(10.0)
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.state("ann") == "wrap_up"
        await asyncio.sleep(5.0)
        assert world.state("ann") == "ready"
        check_balance(world.log)

    run(main())


class PhoneCall(FakeCall):
    """Of ann's own phone."""

    @property
    def caller(self) -> str:
        return "phone-ann"


async def consulting(world: World, call: FakeCall, to: str = "bob") -> FakeCall:
    """ann's own phone calls bob; both talk."""
    consult = PhoneCall("d1", world.phones)
    world.calls.append(consult)
    consult.task = asyncio.create_task(_consult(world, consult, to))
    await asyncio.sleep(12.0)
    assert consult.bridged is not None
    return consult


async def _consult(world: World, call: FakeCall, to: str) -> QueueResult:
    await Consults(world.acd).run(call, ToAgent(AgentName(to)))
    return QueueResult(QueueOutcome.SERVED)


def test_attended_by_the_phone() -> None:
    async def main() -> None:
        world = site()
        call = await talking(world)
        consult = await consulting(world, call)
        assert (world.state("ann"), world.state("bob")) == ("on_call", "on_call")
        leg = consult.bridged
        asked = FakeTransfer("phone-bob", ATTENDED, consult)
        call.refer(asked)
        await asyncio.sleep(20.0)
        assert call.bridged is leg
        assert consult.task is not None
        assert consult.task.done()
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.story(plain)[3:] == [
            "032.0 CallOffered d1 bob",
            "034.0 CallConnected d1 bob",
            "044.0 CallOffered c1 bob",
            "044.0 CallTransferred c1 ann completed",
            "044.0 CallReleased c1 ann",
            "044.0 CallConnected c1 bob",
            "044.0 CallReleased d1 bob",
            "064.0 CallReleased c1 bob",
        ]
        assert talks(world) == [("ann", 42.0, "queue"), ("bob", 10.0, "consult"), ("bob", 20.0, "transfer")]
        assert states(world, "bob") == ["ready", "offered", "on_call", "on_call", "wrap_up"]
        check_balance(world.log)

    run(main())


def test_a_consultation_that_comes_to_nothing() -> None:
    async def main() -> None:
        world = site()
        call = await talking(world)
        consult = await consulting(world, call)
        consult.hang_up()
        await asyncio.sleep(0.1)
        assert (world.state("ann"), world.state("bob")) == ("on_call", "ready")
        await world.end()
        check_balance(world.log)

    run(main())


async def _complete(world: World) -> None:
    assert world.acd.decide("ann", Choice.COMPLETE) == ""


async def _return(world: World) -> None:
    assert world.acd.decide("ann", Choice.RETURN) == ""


async def _first_hangs_up(world: World) -> None:
    world.phones["phone-ann"].legs[-1].hangup()


async def _second_hangs_up(world: World) -> None:
    world.phones["phone-bob"].legs[-1].hangup()


@pytest.mark.parametrize(
    ("decide", "completed"),
    [(_complete, True), (_first_hangs_up, True), (_return, False), (_second_hangs_up, False)],
)
def test_consultation_by_the_engine(decide: Callable[[World], Awaitable[None]], completed: bool) -> None:
    async def main() -> None:
        world = site()
        call = await talking(world)
        assert world.acd.transfer("ann", "bob", consult=True) == ""
        await asyncio.sleep(12.0)
        assert (world.state("ann"), world.state("bob")) == ("on_call", "on_call")
        await decide(world)
        await asyncio.sleep(5.0)
        assert call.bridged is not None
        call.hang_up()
        await asyncio.sleep(0.1)
        [consulted] = world.of(AgentConsulted)
        assert isinstance(consulted, AgentConsulted)
        assert (consulted.agent, consulted.with_agent, consulted.talked) == ("ann", "bob", 10.0)
        if completed:
            assert results(world) == ["completed"]
            assert talks(world) == [("ann", 30.0, "queue"), ("bob", 5.0, "transfer")]
        else:
            assert results(world) == ["returned"]
            assert talks(world) == [("ann", 35.0, "queue")]
            assert world.state("bob") == "ready"
        check_balance(world.log)

    run(main())


def test_the_caller_may_be_taken_back_while_the_other_phone_rings() -> None:
    async def main() -> None:
        world = site()
        world.phones["phone-bob"].answers = None
        call = await talking(world)
        assert world.acd.transfer("ann", "bob", consult=True) == ""
        await asyncio.sleep(5.0)
        assert world.acd.decide("ann", Choice.RETURN) == ""
        await asyncio.sleep(1.0)
        assert call.bridged is not None
        assert world.state("bob") == "ready"
        assert world.acd.decide("ann", Choice.RETURN) == "ann consults nobody"
        await world.end()
        assert results(world) == ["returned"]
        check_balance(world.log)

    run(main())


def test_what_cannot_be_asked() -> None:
    async def main() -> None:
        world = site()
        assert "nobody" in world.acd.transfer("ann", "zoe", consult=False)
        assert world.acd.transfer("ann", "bob", consult=False) == "ann talks to no caller"

    run(main())


@pytest.mark.parametrize("after", [0.0, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("kind", [BLIND, ATTENDED])
def test_a_caller_who_hangs_up_during_a_transfer(kind: TransferKind, after: float) -> None:
    async def main() -> None:
        world = site()
        call = await talking(world)
        call.refer(FakeTransfer("bob", kind))
        await asyncio.sleep(after)
        call.hang_up()
        await asyncio.sleep(15.0)
        assert (world.state("ann"), world.state("bob")) in (("ready", "ready"), ("ready", "wrap_up"))
        assert len(results(world)) == 1 or after == 0.0
        assert all(leg.gone.is_set() for phone in world.phones.values() for leg in phone.legs)
        check_balance(world.log)

    run(main())


def test_a_second_transfer_by_the_second_agent() -> None:
    async def main() -> None:
        world = site()
        call = await talking(world)
        call.refer(FakeTransfer("bob"))
        await asyncio.sleep(7.0)
        call.refer(FakeTransfer("cid"))
        await asyncio.sleep(7.0)
        call.hang_up()
        await asyncio.sleep(0.1)
        assert talks(world) == [("ann", 30.0, "queue"), ("bob", 5.0, "transfer"), ("cid", 5.0, "transfer")]
        assert [e.via for e in world.of(CallConnected) if isinstance(e, CallConnected)] == [
            ConnectedVia.QUEUE,
            ConnectedVia.TRANSFER,
            ConnectedVia.TRANSFER,
        ]
        assert results(world) == [TransferResult.COMPLETED, TransferResult.COMPLETED]
        check_balance(world.log)

    run(main())


def test_who_waits_for_a_colleague_with_his_ear_on_the_line_hears_his_phone() -> None:
    """The agent for whom we dial, and an agent whose phone dials; a caller who is passed on does not."""

    async def main() -> None:
        world = site()
        call = await talking(world)
        orders: list[Dial] = []

        def noted(of: FakeCall) -> FakeCall:
            dial = of.dial

            async def noting(order: Dial) -> Dialled:
                orders.append(order)
                return await dial(order)

            of.dial = noting  # type: ignore[method-assign]
            return of

        first = call.bridged
        noted(call).refer(FakeTransfer("bob", ATTENDED))
        await asyncio.sleep(1.0)
        assert [(order.hearer, order.caller_hears) for order in orders] == [(first, False)]
        world.acd.decide("ann", Choice.RETURN)
        await asyncio.sleep(1.0)
        call.refer(FakeTransfer("bob"))
        await asyncio.sleep(1.0)
        assert [(order.hearer, order.caller_hears) for order in orders[1:]] == [(None, False)]
        call.hang_up()
        await asyncio.sleep(30.0)
        consult = PhoneCall("d1", world.phones)
        noted(consult).task = asyncio.create_task(_consult(world, consult, "bob"))
        await asyncio.sleep(1.0)
        assert [(order.hearer, order.caller_hears) for order in orders[2:]] == [(None, True)]
        consult.hang_up()
        await asyncio.sleep(1.0)

    run(main())
