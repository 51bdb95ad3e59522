"""Every race of caller, agent, phone and timer ends with exact accounts, no stuck agent and no leg left over."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acd.visit import QueueOutcome
from engine.call import Dial, Dialled, DialOutcome, Played
from events.types import (
    AgentState,
    AgentStateChanged,
    CallAbandoned,
    CallConnected,
    CallFlowedOut,
    CallOffered,
    CallReleased,
    OfferMissed,
    OfferResult,
    OfferWithdrawn,
)
from kernel.ids import AgentName
from tests.support.virtual import run
from tests.unit.acd.world import FakeCall, World, agent, check_balance, queue


def nothing_left(world: World) -> None:
    """All calls over: no phone rings, every leg hung up, nobody offered or on a call, router and service empty."""
    check_balance(world.log)
    assert all(phone.ringing == 0 for phone in world.phones.values())
    assert all(leg.gone.is_set() for phone in world.phones.values() for leg in phone.legs)
    assert not {one.state for one in world.acd.roster.agents.values()} & {AgentState.OFFERED, AgentState.ON_CALL}
    assert world.acd.router.waiting() == []
    assert len(asyncio.all_tasks()) == 1


def test_caller_hangs_up_while_it_rings() -> None:
    async def main() -> None:
        world = World([queue()], [agent("ann")])
        call = world.call("c1")
        await asyncio.sleep(1.0)
        call.hang_up()
        await asyncio.sleep(0.1)
        assert [type(event).__name__ for _, event in world.log[-3:]] == [
            "OfferWithdrawn",
            "AgentStateChanged",
            "CallAbandoned",
        ]
        assert world.state("ann") == "ready"
        assert call.trace[-1] == "001.0 cancel phone-ann"
        nothing_left(world)

    run(main())


@pytest.mark.parametrize("hang_up_first", [True, False])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4])
def test_caller_hangs_up_in_the_moment_the_agent_answers(turns: int, hang_up_first: bool) -> None:
    """Both at t = 2.0, in either order, and up to four turns of the loop later: before and after the answer is known,
    before and after the bridge."""

    async def main() -> None:
        world = World([queue()], [agent("ann")])
        call = FakeCall("c1", world.phones)
        world.calls.append(call)

        async def hang_up() -> None:
            await asyncio.sleep(2.0)
            for _ in range(turns):
                await asyncio.sleep(0)
            call.hang_up()

        if hang_up_first:
            watcher = asyncio.create_task(hang_up())
            await asyncio.sleep(0)
        call.task = asyncio.create_task(world.acd.enqueue(call, "q"))
        if not hang_up_first:
            watcher = asyncio.create_task(hang_up())
        await asyncio.wait([call.task, watcher])
        await asyncio.sleep(20.0)
        assert len(world.of(CallAbandoned)) + len(world.of(CallConnected)) == 1
        assert len(world.of(CallConnected)) == len(world.of(CallReleased))
        assert world.state("ann") == "ready"
        nothing_left(world)

    run(main())


def test_an_answer_that_crosses_the_withdrawal_is_hung_up_and_counts_for_nothing() -> None:
    async def main() -> None:
        world = World([queue()], [agent("ann")])
        call = world.call("c1", stubborn=True)
        await asyncio.sleep(1.0)
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.phones["phone-ann"].legs
        assert world.of(OfferWithdrawn)
        assert not world.of(CallConnected)
        nothing_left(world)

    run(main())


@pytest.mark.parametrize(
    ("what", "result", "state"),
    [("gone", OfferResult.UNREACHABLE, "not_ready"), ("logout", OfferResult.DECLINED, "logged_out")],
)
def test_agent_leaves_while_ringing_and_the_next_one_rings(what: str, result: OfferResult, state: str) -> None:
    async def main() -> None:
        world = World([queue()], [agent("ann"), agent("bob")])
        world.phones["phone-ann"].answers = 10.0
        call = world.call("c1")
        await asyncio.sleep(5.0)
        if what == "gone":
            world.acd.phone_unregistered("phone-ann")
        else:
            assert world.acd.agent_command("ann", what).ok
        await asyncio.sleep(3.0)
        [missed] = world.of(OfferMissed)
        assert isinstance(missed, OfferMissed)
        assert (missed.agent, missed.result, missed.rang) == ("ann", result, 5.0)
        assert world.state("ann") == state
        assert world.state("bob") == "on_call"
        assert "005.0 cancel phone-ann" in call.trace
        await world.end()
        nothing_left(world)

    run(main())


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("command", ["logout", "not_ready", "gone"])
def test_agent_leaves_in_the_moment_he_answers(command: str, turns: int) -> None:
    """Either the call is his and the wish is kept, or it is the next agent's; never both, never neither."""

    async def main() -> None:
        world = World([queue()], [agent("ann"), agent("bob")])
        world.call("c1")
        await asyncio.sleep(2.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        if command == "gone":
            world.acd.phone_unregistered("phone-ann")
        else:
            world.acd.agent_command("ann", command)
        await asyncio.sleep(10.0)
        assert len(world.of(CallConnected)) == 1
        await world.end()
        await asyncio.sleep(20.0)
        assert world.state("ann") == ("logged_out" if command == "logout" else "not_ready")
        nothing_left(world)

    run(main())


def test_two_calls_one_agent() -> None:
    async def main() -> None:
        world = World([queue(wrap_up=5.0)], [agent("ann")])
        world.phones["phone-ann"].talks = 10.0
        calls = [world.call("c1"), world.call("c2")]
        await asyncio.sleep(60.0)
        starts = [at for at, event in world.log if isinstance(event, CallOffered)]
        assert starts == [0.0, 17.0]
        assert all(call.task is not None and call.task.done() for call in calls)
        nothing_left(world)

    run(main())


@pytest.mark.parametrize(("command", "end"), [("logout", "logged_out"), ("not_ready", "not_ready")])
def test_a_command_during_the_call_takes_effect_at_its_end(command: str, end: str) -> None:
    async def main() -> None:
        world = World([queue()], [agent("ann")])
        call = world.call("c1")
        await asyncio.sleep(5.0)
        result = world.acd.agent_command("ann", command, "", "phone")
        assert result.text.endswith("after this call")
        assert world.state("ann") == "on_call"
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.state("ann") == end
        change = world.of(AgentStateChanged)[-1]
        assert isinstance(change, AgentStateChanged)
        assert (change.via, change.previous) == ("phone", "on_call")
        nothing_left(world)

    run(main())


def test_phone_gone_during_the_call_harms_neither_call_nor_state() -> None:
    async def main() -> None:
        world = World([queue(wrap_up=5.0)], [agent("ann")])
        call = world.call("c1")
        await asyncio.sleep(5.0)
        world.acd.phone_unregistered("phone-ann")
        assert world.state("ann") == "on_call"
        call.hang_up()
        await asyncio.sleep(6.0)
        one = world.acd.roster.agents[AgentName("ann")]
        assert (one.state, one.reason) == (AgentState.NOT_READY, "unreachable")
        world.acd.phone_registered("phone-ann")
        assert world.state("ann") == "ready"
        nothing_left(world)

    run(main())


def test_exit_key_while_ringing_withdraws_the_offer() -> None:
    async def main() -> None:
        world = World([queue(exit_keys="0")], [agent("ann")])
        call = world.call("c1")
        await asyncio.sleep(1.0)
        call.press("0")
        assert call.task is not None
        assert (await call.task).outcome is QueueOutcome.KEY
        await asyncio.sleep(0.1)
        assert world.of(OfferWithdrawn)
        assert world.state("ann") == "ready"
        nothing_left(world)

    run(main())


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_exit_key_in_the_moment_the_agent_answers(turns: int) -> None:
    async def main() -> None:
        world = World([queue(exit_keys="0")], [agent("ann")])
        call = world.call("c1")
        await asyncio.sleep(2.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        call.press("0")
        await asyncio.sleep(5.0)
        assert len(world.of(CallConnected)) + len(world.of(CallFlowedOut)) == 1
        await world.end()
        await asyncio.sleep(20.0)
        nothing_left(world)

    run(main())


def test_a_dial_that_never_ends_is_given_up() -> None:
    """Whatever goes wrong below, neither caller nor agent stays stuck."""

    class Stuck(FakeCall):
        async def dial(self, order: Dial) -> Dialled:
            await asyncio.Event().wait()
            raise AssertionError

    async def main() -> None:
        world = World([queue(ring_for=20.0, max_wait=25.0)], [agent("ann")])
        call = Stuck("c1", world.phones)
        call.task = asyncio.create_task(world.acd.enqueue(call, "q"))
        assert (await call.task).outcome is QueueOutcome.TIMEOUT
        [missed] = world.of(OfferMissed)
        assert isinstance(missed, OfferMissed)
        assert (missed.result, missed.rang) == (OfferResult.FAILED, 30.0)
        await asyncio.sleep(20.0)
        assert world.state("ann") == "ready"
        nothing_left(world)

    run(main())


def test_a_fault_of_ours_is_loud_and_the_accounts_hold() -> None:
    async def main() -> None:
        class Faulty(FakeCall):
            async def play(self, clips: Sequence[str], *, barge_in: bool = True, early: bool = False) -> Played:
                raise LookupError("no such clip")

        world = World([queue(announce_first=1.0)], [agent("ann")], announcer=lambda call, position, wait: ("clip",))
        world.phones["phone-ann"].outcome, world.phones["phone-ann"].fails = DialOutcome.BUSY, 0.5
        call = Faulty("c1", world.phones)
        call.task = asyncio.create_task(world.acd.enqueue(call, "q"))
        with pytest.raises(LookupError):
            await call.task
        [out] = world.of(CallFlowedOut)
        assert isinstance(out, CallFlowedOut)
        assert out.why == "lost"
        await asyncio.sleep(20.0)
        nothing_left(world)

    run(main())


def test_the_same_call_in_two_queues_at_once_is_refused_without_harm() -> None:
    async def main() -> None:
        world = World([queue(), queue("other")], [agent("ann")])
        call = world.call("c1")
        await asyncio.sleep(1.0)
        with pytest.raises(ValueError, match="c1 is in a queue already"):
            await world.acd.enqueue(call, "other")
        with pytest.raises(KeyError):
            await world.acd.enqueue(FakeCall("c2", world.phones), "nowhere")
        await world.end()
        nothing_left(world)

    run(main())


def test_a_second_queue_after_the_first_talk_counts_its_own_talk_only() -> None:
    async def main() -> None:
        world = World([queue(wrap_up=0.0)], [agent("ann")])
        world.phones["phone-ann"].talks = 30.0
        call = world.call("c1")
        assert call.task is not None
        await call.task
        call.task = asyncio.create_task(world.acd.enqueue(call, "q"))
        await asyncio.sleep(2.0)
        for _ in range(2):
            await asyncio.sleep(0)
        call.hang_up()
        await asyncio.sleep(1.0)
        talks = [event.talked for event in world.of(CallReleased) if isinstance(event, CallReleased)]
        assert sum(talks) == 30.0
        nothing_left(world)

    run(main())


ACTIONS = ("call", "call", "call", "hang_up", "press", "logout", "ready", "ready", "not_ready", "gone", "back", "phone")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3), st.sampled_from([0.0, 0.5, 2.0, 7.0])), max_size=60)
)
def test_any_sequence_of_events_balances(steps: list[tuple[str, int, float]]) -> None:
    """Callers, agents and phones do anything at any time; in the end nothing is left, and every account is closed."""

    async def main() -> None:
        names = ("ann", "bob", "cat", "dan")
        queues = [
            queue("q", exit_keys="9", max_wait=30.0, max_calls=3, ring_for=5.0, wrap_up=2.0),
            queue("r", skills={"x": 2}, wait_unstaffed=True, wrap_up=0.0, overflow_after=6.0, overflow_queues=("q",)),
        ]
        world = World(queues, [agent(name, x=number) for number, name in enumerate(names)])
        for number, (what, which, pause) in enumerate(steps):
            _act(world, what, names[which], which, number)
            await asyncio.sleep(pause)
        if world.calls:
            await world.end()
        await asyncio.sleep(60.0)
        nothing_left(world)

    run(main())


def _act(world: World, what: str, name: str, which: int, number: int) -> None:
    phone = world.phones[f"phone-{name}"]
    match what:
        case "call":
            call = world.call(f"c{number}", "qr"[which % 2], stubborn=which == 3)
            phone.talks = 3.0 + which
            call.set_attribute("choice", "billing")
        case "hang_up" if world.calls:
            world.calls[-1 - which % len(world.calls)].hang_up()
        case "press" if world.calls:
            world.calls[-1 - which % len(world.calls)].press("9" if which else "1")
        case "logout" | "ready" | "not_ready":
            world.acd.agent_command(name, what)
        case "gone":
            world.acd.phone_unregistered(f"phone-{name}")
        case "back":
            world.acd.phone_registered(f"phone-{name}")
        case "phone":
            phone.answers = (None, 0.0, 2.0, 4.0)[which]
            phone.outcome = DialOutcome.BUSY if number % 5 == 0 else None
