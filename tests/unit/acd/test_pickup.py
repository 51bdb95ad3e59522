"""One agent answers what rings at another: who may, whose call it is then, and that it is nobody's fault."""

import asyncio

import pytest

from acd.consults import Consults
from acd.destinations import ToAgent
from acd.feature_codes import FeatureCodes
from acd.parts import Choice
from acd.visit import QueueOutcome, QueueResult
from events.types import CallConnected, OfferWithdrawn
from kernel.ids import AgentName
from tests.unit.acd.test_transfers import plain, states, talks
from tests.unit.acd.world import FakeCall, World, agent, play, queue


def site(**how: object) -> World:
    """A call rings at ann's phone until 20 s. bob shares a group with her, cid does not."""
    world = World(
        [queue(wrap_up=10.0, ring_for=20.0, skills={"s": 1})],
        [agent("ann", pickup=["a", "b"], s=1), agent("bob", pickup=["b"]), agent("cid", pickup=["c"]), agent("dan")],
        **how,  # type: ignore[arg-type]
    )
    world.phones["phone-ann"].answers = None
    return world


class PhoneCall(FakeCall):
    by = ""
    number = ""

    @property
    def caller(self) -> str:
        return f"phone-{self.by}"

    @property
    def dialled(self) -> str:
        return self.number


def phone(world: World, by: str, number: str, name: str = "") -> PhoneCall:
    """An agent dials a code."""
    call = PhoneCall(name or f"p{len(world.calls)}", world.phones)
    call.by, call.number = by, number
    call.task = asyncio.create_task(_code(world, call))
    world.calls.append(call)
    return call


async def _code(world: World, call: FakeCall) -> QueueResult:
    await FeatureCodes(world.acd, lambda name: [name]).run(call)
    return QueueResult(QueueOutcome.SERVED)


def withdrawn(world: World) -> list[tuple[str, str]]:
    return [(e.agent, e.why.value) for e in world.of(OfferWithdrawn) if isinstance(e, OfferWithdrawn)]


@pytest.mark.parametrize("number", ["*8", "*8phone-ann", "*8ann"])
def test_from_the_phone(number: str) -> None:
    async def story(world: World) -> None:
        call = world.call("c1")
        await asyncio.sleep(5.0)
        phone(world, "bob", number)
        await asyncio.sleep(30.0)
        assert (world.state("ann"), world.state("bob")) == ("ready", "on_call")
        assert call.bridged is world.phones["phone-bob"].legs[-1]
        assert world.phones["phone-ann"].ringing == 0
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.story(plain) == [
            "000.0 CallQueued c1 1",
            "000.0 CallOffered c1 ann",
            "005.0 CallOffered c1 bob",
            "005.0 OfferWithdrawn c1 ann picked_up",
            "005.0 CallConnected c1 bob",
            "035.0 CallReleased c1 bob",
        ]
        assert withdrawn(world) == [("ann", "picked_up")]
        [connected] = world.of(CallConnected)
        assert isinstance(connected, CallConnected)
        assert (connected.queue, connected.waited, connected.via) == ("q", 5.0, "queue")
        assert states(world, "ann") == ["ready", "offered", "ready"]
        assert world.state("bob") == "wrap_up"

    play(site, story)


def test_the_agent_who_was_rung_gets_the_next_call() -> None:
    """Longest idle still, and at once."""

    async def story(world: World) -> None:
        world.call("c1")
        second = world.call("c2")
        await asyncio.sleep(5.0)
        phone(world, "bob", "*8")
        world.phones["phone-ann"].answers = 2.0
        await asyncio.sleep(3.0)
        assert second.bridged is world.phones["phone-ann"].legs[-1]

    play(site, story)


@pytest.mark.parametrize("command", ["not_ready", "logout"])
def test_one_who_is_not_ready_may_and_is_afterwards_what_he_was(command: str) -> None:
    async def story(world: World) -> None:
        world.acd.agent_command("bob", command)
        before = world.state("bob")
        call = world.call("c1")
        await asyncio.sleep(5.0)
        phone(world, "bob", "*8")
        await asyncio.sleep(5.0)
        assert world.state("bob") == "on_call"
        call.hang_up()
        await asyncio.sleep(1.0)
        assert world.state("bob") == before

    play(site, story)


@pytest.mark.parametrize(
    ("who", "number"),
    [("cid", "*8"), ("dan", "*8"), ("bob", "*8cid"), ("bob", "*8bob"), ("bob", "*8999"), ("cid", "*8ann")],
)
def test_who_may_not_is_told_so_and_nothing_changes(who: str, number: str) -> None:
    async def story(world: World) -> None:
        world.call("c1")
        await asyncio.sleep(5.0)
        asked = phone(world, who, number)
        await asyncio.sleep(5.0)
        assert asked.trace == ["005.0 play agent_refused"]
        assert world.phones["phone-ann"].ringing == 1

    play(site, story)


def test_nothing_rings_or_no_more() -> None:
    async def story(world: World) -> None:
        early = phone(world, "bob", "*8")
        await asyncio.sleep(5.0)
        assert early.trace[-1].endswith("play agent_refused")
        world.phones["phone-ann"].answers = 5.0
        call = world.call("c1")
        await asyncio.sleep(4.9)
        late = phone(world, "bob", "*8")
        late.acknowledged_in = 0.2
        await asyncio.sleep(5.0)
        assert late.trace[-1].endswith("play agent_refused")
        assert call.bridged is world.phones["phone-ann"].legs[-1]

    world = play(site, story)
    assert withdrawn(world) == []


def test_the_longest_ringing_is_first() -> None:
    def both() -> World:
        return World(
            [queue(ring_for=30.0, skills={"s": 1})],
            [agent("ann", pickup=["g"], s=1), agent("eve", pickup=["g"], s=1), agent("bob", pickup=["g"])],
        )

    async def story(world: World) -> None:
        world.phones["phone-ann"].answers = world.phones["phone-eve"].answers = None
        first = world.call("c1")
        await asyncio.sleep(3.0)
        second = world.call("c2")
        await asyncio.sleep(3.0)
        phone(world, "bob", "*8")
        await asyncio.sleep(1.0)
        assert first.bridged is not None
        assert second.bridged is None

    play(both, story)


def test_by_command_the_phone_is_rung_and_the_first_to_answer_has_the_caller() -> None:
    async def story(world: World) -> None:
        call = world.call("c1")
        await asyncio.sleep(5.0)
        assert world.acd.pick_ups.ring("bob", "ann") == ""
        assert world.state("bob") == "offered"
        await asyncio.sleep(1.0)
        assert world.phones["phone-ann"].ringing == world.phones["phone-bob"].ringing == 1
        await asyncio.sleep(3.0)
        assert call.bridged is world.phones["phone-bob"].legs[-1]
        assert (world.state("ann"), world.state("bob")) == ("ready", "on_call")
        assert world.phones["phone-ann"].ringing == 0

    world = play(site, story)
    assert withdrawn(world) == [("ann", "picked_up")]
    assert talks(world)[0][0] == "bob"


@pytest.mark.parametrize("end", ["ann answers", "the caller is gone", "bob does not answer"])
def test_by_command_in_vain(end: str) -> None:
    async def story(world: World) -> None:
        world.phones["phone-bob"].answers = None
        if end == "ann answers":
            world.phones["phone-ann"].answers = 8.0
        call = world.call("c1")
        await asyncio.sleep(5.0)
        assert world.acd.pick_ups.ring("bob") == ""
        await asyncio.sleep(1.0)
        if end == "the caller is gone":
            call.hang_up()
        await asyncio.sleep(5.0)
        if end == "ann answers":
            assert call.bridged is world.phones["phone-ann"].legs[-1]
            assert withdrawn(world) == [("bob", "answered")]
            assert world.state("bob") == "ready"
        elif end == "the caller is gone":
            assert sorted(withdrawn(world)) == [("ann", "caller_gone"), ("bob", "caller_gone")]
            assert (world.state("ann"), world.state("bob")) == ("ready", "ready")
        else:
            await asyncio.sleep(20.0)
            assert states(world, "bob")[-1] == "not_ready"
        assert world.phones["phone-bob"].ringing == 0

    play(site, story)


def test_a_command_that_cannot_be() -> None:
    async def story(world: World) -> None:
        ask = world.acd.pick_ups.ring
        assert ask("nobody") == "no agent is named 'nobody'"
        assert ask("dan") == "dan is in no pick-up group"
        assert ask("bob") == "nothing rings there"
        assert ask("bob", "ann") == "nothing rings at 'ann'"
        assert ask("bob", "cid") == "no agent of a pick-up group of bob is called 'cid'"
        world.call("c1")
        await asyncio.sleep(1.0)
        assert ask("ann") == "ann is in a call, or his own phone rings"

    play(site, story)


def test_what_a_colleague_passes_on_is_the_pickers() -> None:
    """A blind transfer to ann rings; bob takes it up."""

    async def story(world: World) -> None:
        world.phones["phone-ann"].answers = 1.0
        call = world.call("c1")
        await asyncio.sleep(5.0)
        world.phones["phone-cid"].answers = None
        world.acd.roster.agents[AgentName("cid")].profile = agent("cid", pickup=["b"])
        assert world.acd.transfer("ann", "cid", consult=False) == ""
        await asyncio.sleep(3.0)
        phone(world, "bob", "*8cid")
        await asyncio.sleep(5.0)
        assert call.bridged is world.phones["phone-bob"].legs[-1]
        call.hang_up()
        await asyncio.sleep(0.1)
        assert world.story(plain)[3:] == [
            "005.0 CallOffered c1 cid",
            "008.0 CallOffered c1 bob",
            "008.0 OfferWithdrawn c1 cid picked_up",
            "008.0 CallTransferred c1 ann completed",
            "008.0 CallReleased c1 ann",
            "008.0 CallConnected c1 bob",
            "013.0 CallReleased c1 bob",
        ]
        assert withdrawn(world) == [("cid", "picked_up")]

    play(site, story)


@pytest.mark.parametrize("how", ["phone", "command"])
def test_who_picks_up_a_consultation_is_consulted(how: str) -> None:
    async def story(world: World) -> None:
        world.phones["phone-ann"].answers = 1.0
        call = world.call("c1")
        await asyncio.sleep(5.0)
        world.phones["phone-cid"].answers = None
        world.acd.roster.agents[AgentName("cid")].profile = agent("cid", pickup=["b"])
        assert world.acd.transfer("ann", "cid", consult=True) == ""
        await asyncio.sleep(3.0)
        if how == "phone":
            phone(world, "bob", "*8")
        else:
            assert world.acd.pick_ups.ring("bob", "cid") == ""
        await asyncio.sleep(5.0)
        assert (world.state("bob"), world.state("cid")) == ("on_call", "ready")
        assert world.acd.decide("ann", Choice.COMPLETE) == ""
        await asyncio.sleep(5.0)
        assert call.bridged is world.phones["phone-bob"].legs[-1]

    world = play(site, story)
    assert [name for name, *_ in talks(world)] == ["ann", "bob"]


def test_a_colleagues_own_call_and_not_ones_own() -> None:
    async def story(world: World) -> None:
        colleague = PhoneCall("d1", world.phones)
        colleague.by = "dan"
        world.calls.append(colleague)

        async def consult() -> QueueResult:
            await Consults(world.acd).run(colleague, ToAgent(AgentName("ann")))
            return QueueResult(QueueOutcome.SERVED)

        colleague.task = asyncio.create_task(consult())
        await asyncio.sleep(2.0)
        phone(world, "bob", "*8ann")
        await asyncio.sleep(2.0)
        assert colleague.bridged is world.phones["phone-bob"].legs[-1]

    world = play(site, story)
    assert talks(world) == [("bob", 2.0, "consult")]
    assert withdrawn(world) == [("ann", "picked_up")]
