"""Three who talk: how it comes to that, how it ends, and whose seconds are whose."""

import asyncio
from collections.abc import Callable

import pytest

from acd.consultation import TalkCodes
from acd.parts import Choice, Consultation
from events.closing import closing
from events.fold import LiveState, fold
from events.types import (
    AgentJoined,
    AgentLeft,
    CallArrived,
    CallReleased,
    EndedBy,
    Event,
    Recorded,
)
from kernel.ids import CallId
from tests.support.virtual import run
from tests.unit.acd.test_transfers import plain, results, site, states, talking, talks
from tests.unit.acd.world import FakeCall, World, check_balance


async def conferring(world: World) -> FakeCall:
    """ann and the caller for 30 s, ann and bob for 8 s from 34.0, from 42.0 all three."""
    call = await talking(world)
    assert world.acd.transfer("ann", "bob", consult=True) == ""
    await asyncio.sleep(10.0)
    assert world.acd.decide("ann", Choice.CONFERENCE) == ""
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    assert len(call.conferring) == 2
    return call


def _first_hangs_up(world: World) -> None:
    world.phones["phone-ann"].legs[-1].hangup()


def _second_hangs_up(world: World) -> None:
    world.phones["phone-bob"].legs[-1].hangup()


def _complete(world: World) -> None:
    assert world.acd.decide("ann", Choice.COMPLETE) == ""


def _return(world: World) -> None:
    assert world.acd.decide("ann", Choice.RETURN) == ""


@pytest.mark.parametrize("leave", [_first_hangs_up, _complete])
def test_the_agent_leaves_and_the_others_go_on(leave: Callable[[World], None]) -> None:
    async def main() -> None:
        world = site()
        call = await conferring(world)
        await asyncio.sleep(20.0)
        leave(world)
        await asyncio.sleep(5.0)
        assert call.bridged is world.phones["phone-bob"].legs[-1]
        assert (world.state("ann"), world.state("bob")) == ("wrap_up", "on_call")
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.story(plain)[3:] == [
            "042.0 AgentConsulted c1 ann",
            "042.0 AgentJoined c1 bob",
            "062.0 AgentLeft c1 bob",
            "062.0 CallOffered c1 bob",
            "062.0 CallTransferred c1 ann completed",
            "062.0 CallReleased c1 ann",
            "062.0 CallConnected c1 bob",
            "067.0 CallReleased c1 bob",
        ]
        assert talks(world) == [("ann", 50.0, "queue"), ("bob", 5.0, "transfer")]
        [left] = world.of(AgentLeft)
        assert isinstance(left, AgentLeft)
        assert left.talked == 20.0
        check_balance(world.log)

    run(main())


@pytest.mark.parametrize("leave", [_second_hangs_up, _return])
def test_the_colleague_leaves_and_the_others_go_on(leave: Callable[[World], None]) -> None:
    async def main() -> None:
        world = site()
        call = await conferring(world)
        await asyncio.sleep(20.0)
        leave(world)
        await asyncio.sleep(5.0)
        assert call.bridged is world.phones["phone-ann"].legs[-1]
        assert (world.state("ann"), world.state("bob")) == ("on_call", "ready")
        call.hang_up()
        await asyncio.sleep(0.1)
        assert results(world) == ["returned"]
        assert talks(world) == [("ann", 55.0, "queue")]
        assert all(leg.gone.is_set() for phone in world.phones.values() for leg in phone.legs)
        check_balance(world.log)

    run(main())


def test_the_caller_leaves_and_all_ends() -> None:
    async def main() -> None:
        world = site()
        call = await conferring(world)
        await asyncio.sleep(20.0)
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.story(plain)[4:] == [
            "042.0 AgentJoined c1 bob",
            "062.0 AgentLeft c1 bob",
            "062.0 CallTransferred c1 ann abandoned",
            "062.0 CallReleased c1 ann",
        ]
        assert talks(world) == [("ann", 50.0, "queue")]
        [left] = world.of(AgentLeft)
        assert isinstance(left, AgentLeft)
        assert left.ended_by is EndedBy.CALLER
        assert states(world, "bob") == ["ready", "offered", "on_call", "ready"]
        assert all(leg.gone.is_set() for phone in world.phones.values() for leg in phone.legs)
        check_balance(world.log)

    run(main())


def test_by_keys_of_the_agents_phone() -> None:
    """`*3` in the consultation; `*2` in the conference."""

    async def main() -> None:
        world = site()
        call = await talking(world)
        assert world.acd.transfer("ann", "bob", consult=True) == ""
        await asyncio.sleep(5.0)
        for key in "3*4*3":
            call.codes(key)
        await asyncio.sleep(1.0)
        assert len(call.conferring) == 2
        for key in "*3*2":
            call.codes(key)
        await asyncio.sleep(1.0)
        assert call.bridged is world.phones["phone-ann"].legs[-1]
        await world.end()
        check_balance(world.log)

    run(main())


def test_what_cannot_be_asked() -> None:
    async def main() -> None:
        world = site()
        assert world.acd.decide("ann", Choice.CONFERENCE) == "ann consults nobody"
        call = await talking(world)
        assert world.acd.decide("ann", Choice.CONFERENCE) == "ann consults nobody"
        world.acd.transfer("ann", "bob", consult=True)
        await asyncio.sleep(1.0)
        assert world.acd.decide("ann", Choice.CONFERENCE) == "ann consults nobody", "bob's phone only rings"
        await asyncio.sleep(2.0)
        assert world.acd.decide("ann", Choice.CONFERENCE) == ""
        await asyncio.sleep(1.0)
        assert world.acd.decide("ann", Choice.CONFERENCE) == "all of them talk already"
        assert world.acd.transfer("ann", "cid", consult=True) == "ann is passing the caller on already"
        assert world.acd.decide("bob", Choice.RETURN) == "bob consults nobody"
        call.hang_up()
        await asyncio.sleep(20.0)
        check_balance(world.log)

    run(main())


@pytest.mark.parametrize(
    ("keys", "decided"),
    [("*1", ["complete"]), ("*2*3", ["return", "conference"]), ("**3", ["conference"]), ("13*#3*9", []), ("*", [])],
)
def test_codes(keys: str, decided: list[str]) -> None:
    found: list[str] = []
    codes = TalkCodes(lambda what: found.append(what.value), Consultation(0.0))
    for key in keys:
        codes.press(key)
    assert found == decided


def test_a_restart_in_a_conference_tells_its_end() -> None:
    """Of both agents; and the live view forgets who has left."""

    async def main() -> list[tuple[float, Event]]:
        world = site()
        call = await conferring(world)
        log = list(world.log)
        call.hang_up()
        await asyncio.sleep(20.0)
        return log + world.log[len(log) :]

    log = run(main())
    records = [Recorded(seq, at, event) for seq, (at, event) in enumerate(log, 1)]
    joined = next(n for n, (_, event) in enumerate(log) if isinstance(event, AgentJoined))
    arrived: Event = _arrived()
    during = fold([Recorded(0, 0.0, arrived), *records[: joined + 1]], LiveState(seq=-1))
    assert [(e.agent, e.ended_by) for e in closing(during) if isinstance(e, AgentLeft | CallReleased)] == [
        ("bob", EndedBy.SYSTEM),
        ("ann", EndedBy.SYSTEM),
    ]
    assert list(during.calls["c1"].joined) == ["bob"]  # type: ignore[index]
    assert fold(records[joined + 1 :], during).calls["c1"].joined == {}  # type: ignore[index]


def _arrived() -> Event:

    return CallArrived(
        call=CallId("c1"),
        sip_call_id="x",
        caller="1",
        caller_name="",
        dialled="1001",
        source="udp:192.0.2.1:5060",
        trunk="t",
    )
