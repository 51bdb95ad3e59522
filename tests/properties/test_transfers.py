"""Any mixture of transfers, consultations and hang-ups: every call is balanced, every agent is free again, no leg is
left, and nobody's talk is counted twice."""

import asyncio
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from acd.consults import Consults
from acd.destinations import ToAgent
from acd.parts import Choice
from acd.visit import QueueOutcome, QueueResult
from engine.call import DialOutcome
from events.types import AgentLeft, AgentState, CallReleased, TransferKind
from kernel.ids import AgentName
from tests.support.virtual import run
from tests.unit.acd.world import FakeCall, FakeTransfer, World, agent, check_balance, queue

NAMES = ("ann", "bob", "cid")
TARGETS = st.sampled_from((*NAMES, "q", "support", "nobody"))
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 2.0, 3.0, 9.0, 26.0]),
        st.sampled_from(
            [
                "blind",
                "consult",
                "complete",
                "return",
                "conference",
                "phone",
                "attended",
                "agent",
                "caller",
                "pause",
                "ready",
                "call",
            ]
        ),
        st.sampled_from(NAMES),
        TARGETS,
    ),
    max_size=14,
)


class PhoneCall(FakeCall):
    by = ""

    @property
    def caller(self) -> str:
        return f"phone-{self.by}"


class Floor:
    def __init__(self) -> None:
        self.world = World(
            [queue(wrap_up=3.0, max_wait=20.0), queue("support", skills={"tech": 1}, max_calls=1)],
            [agent("ann"), agent("bob", tech=1), agent("cid")],
        )
        self.calls: list[FakeCall] = []
        self.consults: dict[str, PhoneCall] = {}

    def of(self, name: str) -> FakeCall | None:
        """The call in which an agent talks."""
        talk = self.world.acd.talks.of(AgentName(name))
        found = talk.part.call if talk is not None else None
        return found if isinstance(found, FakeCall) and found.bridged is not None else None

    def step(  # noqa: C901, PLR0912  one line a thing to do
        self, what: str, name: str, to: str
    ) -> None:
        acd, call = self.world.acd, self.of(name)
        match what:
            case "call":
                self.calls.append(self.world.call(f"c{len(self.calls)}"))
            case "blind" if call is not None:
                call.refer(FakeTransfer(to))
            case "consult":
                acd.transfer(name, to, consult=True)
            case "complete" | "return" | "conference":
                acd.decide(name, Choice(what))
            case "phone" if to in NAMES and name not in self.consults:
                self._phone(name, to)
            case "attended" if call is not None and (consult := self.consults.get(name)) is not None:
                other = next((n for n in NAMES if self.of(n) is consult), None)
                if other is not None:
                    call.refer(FakeTransfer(f"phone-{other}", TransferKind.ATTENDED, consult))
            case "agent" if self.world.phones[f"phone-{name}"].legs:
                self.world.phones[f"phone-{name}"].legs[-1].hangup()
            case "caller":
                for waiting in self.calls[-1:]:
                    waiting.hang_up()
            case "pause":
                acd.agent_command(name, "not_ready")
            case "ready":
                acd.agent_command(name, "ready")
            case _:
                pass

    def _phone(self, name: str, to: str) -> None:
        call = self.consults[name] = PhoneCall(f"d{len(self.world.calls)}", self.world.phones)
        call.by = name
        self.world.calls.append(call)
        call.task = asyncio.create_task(self._consult(call, name, to))

    async def _consult(self, call: PhoneCall, name: str, to: str) -> QueueResult:
        try:
            await Consults(self.world.acd).run(call, ToAgent(AgentName(to)))
        finally:
            del self.consults[name]
        return QueueResult(QueueOutcome.SERVED)


@settings(max_examples=300, deadline=None)
@given(
    steps=STEPS,
    answers=st.lists(st.sampled_from([0.0, 2.0, 5.0, None]), min_size=3, max_size=3),
    refuses=st.sampled_from(["", "ann", "bob"]),
)
def test_transfers_leave_nothing_and_count_nothing_twice(
    steps: list[tuple[float, str, str, str]], answers: list[float | None], refuses: str
) -> None:
    async def story() -> None:
        floor = Floor()
        world = floor.world
        for name, seconds in zip(NAMES, answers, strict=True):
            world.phones[f"phone-{name}"].answers = seconds
        if refuses:
            world.phones[f"phone-{refuses}"].outcome = DialOutcome.DECLINED
        floor.calls.append(world.call("c0"))
        for pause, what, name, to in steps:
            await asyncio.sleep(pause)
            floor.step(what, name, to)
        await asyncio.sleep(3.0)
        for call in world.calls:
            call.hang_up()
        await asyncio.wait([call.task for call in world.calls if call.task is not None])
        await asyncio.sleep(60.0)
        _settled(world)
        _no_more_talk_than_time(world)

    run(story())


def _settled(world: World) -> None:
    check_balance(world.log)
    for call in world.calls:
        assert call.task is not None
        assert call.task.cancelled() or call.task.exception() is None, call.task
    for phone in world.phones.values():
        assert phone.ringing == 0
        assert all(leg.gone.is_set() for leg in phone.legs)
    for state in (world.acd.roster.agents[AgentName(name)].state for name in NAMES):
        assert state in (AgentState.READY, AgentState.NOT_READY), state


def _no_more_talk_than_time(world: World) -> None:
    talked: dict[str, float] = defaultdict(float)
    for _, event in world.log:
        if isinstance(event, CallReleased | AgentLeft):
            talked[event.agent] += event.talked
    assert all(seconds <= world.loop.time() for seconds in talked.values())
