"""The agent's state machine, commands, restart."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acd.agents import RESERVED_REASONS, TABLE, Agent, In
from acd.routing.model import AgentProfile
from acd.service import AcdService
from events.types import AgentState, AgentStateChanged, Event, Recorded
from kernel.clock import Clock
from kernel.ids import AgentName, Ids
from tests.support.virtual import run
from tests.unit.acd.world import World, agent, queue


@given(
    st.lists(st.tuples(st.sampled_from(list(In)), st.sampled_from(["", "lunch", "unreachable"]), st.integers(0, 30)))
)
def test_events_tell_the_state_without_gap(steps: list[tuple[In, str, int]]) -> None:
    """Whatever comes: each event's `previous` is the state before, durations add up, and nobody is ready without a
    phone."""
    one = Agent(agent("ann"))
    now, total, last = 0.0, 0.0, AgentState.LOGGED_OUT
    for what, reason, seconds in steps:
        now += seconds
        event = one.step(what, now, reason=reason, lasts=5.0)
        if event is not None:
            assert (event.previous, event.state) == (last, one.state)
            total += event.lasted
            assert total == pytest.approx(now)
            last = event.state
            assert last is not AgentState.READY or one.registered
        assert last is one.state


def test_every_state_can_be_left_and_every_row_is_a_known_state() -> None:
    assert {state for state, _ in TABLE} == set(AgentState)


def test_commands_say_what_came_of_them() -> None:
    async def main() -> None:
        profile = AgentProfile(name=AgentName("ann"), aor="8001", not_ready_reasons={"1": "break"})
        world = World([queue()], [profile], ready=False)
        say = world.acd.agent_command
        assert (say("ann", "ready").ok, say("ann", "ready").text) == (False, "phone 8001 is not registered")
        assert say("ann", "login").text == "not_ready (login)"
        world.acd.phone_registered("8001")
        assert world.state("ann") == "not_ready"
        assert say("ann", "ready").text == "ready"
        assert say("ann", "not_ready", "break").text == "not_ready (break)"
        assert say("ann", "not_ready", "tea").text == "unknown reason 'tea'; known are break"
        assert all(not say("ann", "not_ready", reason).ok for reason in RESERVED_REASONS)
        assert say("ann", "logout").text == "logged_out"
        assert say("bob", "ready").text == "no agent is named 'bob'"
        with pytest.raises(ValueError, match="dance"):
            say("ann", "dance")

    run(main())


def test_losing_the_phone_while_ready_ends_by_itself() -> None:
    async def main() -> None:
        world = World([queue()], [agent("ann")])
        world.acd.phone_unregistered("phone-ann")
        world.acd.phone_unregistered("phone-ann")
        assert world.state("ann") == "not_ready"
        world.acd.phone_registered("phone-ann")
        assert world.state("ann") == "ready"
        world.acd.agent_command("ann", "not_ready")
        world.acd.phone_unregistered("phone-ann")
        world.acd.phone_registered("phone-ann")
        assert world.state("ann") == "not_ready"  # his own wish stands
        world.acd.phone_registered("stranger")

    run(main())


def test_states_survive_a_restart() -> None:
    """Wishes stand; what the dead process was in the middle of ends in ready, once the phone is there."""
    before = {
        "ann": (AgentState.READY, ""),
        "bob": (AgentState.NOT_READY, "lunch"),
        "cat": (AgentState.ON_CALL, ""),
        "dan": (AgentState.NOT_READY, "busy"),
        "eve": (AgentState.WRAP_UP, ""),
        "fay": (AgentState.LOGGED_OUT, ""),
        "gus": (AgentState.NOT_READY, "unreachable"),
    }
    log = [
        Recorded(
            seq,
            1_700_000_000.0 - 50,
            AgentStateChanged(
                agent=AgentName(name),
                state=state,
                previous=AgentState.LOGGED_OUT,
                reason=reason,
                via="cli",
                call=None,
                lasted=0,
            ),
        )
        for seq, (name, (state, reason)) in enumerate([*before.items(), ("gone", (AgentState.READY, ""))], 1)
    ]

    async def main() -> dict[str, str]:
        events: list[Event] = []
        loop = asyncio.get_running_loop()
        acd = AcdService(
            [queue()],
            [agent(name) for name in before],
            emit=events.append,
            clock=Clock(loop.time, 1_700_000_000.0),
            ids=Ids(random.Random(1)),
        )
        acd.phone_registered("phone-ann")
        acd.restore(log)
        assert acd.roster.agents[AgentName("ann")].idle_since == -50.0
        for name in before:
            acd.phone_registered(f"phone-{name}")
        return {name: str(one.state) for name, one in acd.roster.agents.items()}

    assert run(main()) == {
        "ann": "ready",
        "bob": "not_ready",
        "cat": "ready",
        "dan": "ready",
        "eve": "ready",
        "fay": "logged_out",
        "gus": "ready",
    }
