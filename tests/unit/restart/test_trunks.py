"""Control dies while a call goes out through trunks: whoever does not answer is passed over, as ever."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from acd.routing.model import AgentProfile
from engine.trunks.model import Trunk
from engine.trunks.targets import Target
from events.types import CallConnected, LegDialled, OfferMissed, TrunkCallRefused
from kernel.ids import AgentName
from tests.support.operator import Operator
from tests.support.softphone import Softphone
from tests.unit.engine.world import play
from tests.unit.ivr.flows import flow
from tests.unit.restart.test_restart import QUEUE
from tests.unit.restart.world import BILLING, RestartWorld, at
from tests.unit.trunks.test_calling import NUMBER, trunk


class Out:
    """A caller in a queue whose only agent sits at a telephone behind trunks; operators at 192.0.2.N."""

    def __init__(self, *trunks: Trunk) -> None:
        agent = AgentProfile(name=AgentName("agent1"), aor="", phone=NUMBER, trunks=tuple(it.name for it in trunks))
        queue = replace(BILLING, ring_for=20.0)
        self.world = RestartWorld(flow(QUEUE), agents=[agent], trunks=trunks, queue=queue)
        self.caller: Softphone = self.world.phone("caller", 10)

    def operator(self, last: int) -> Operator:
        at = self.world.phone("x", last).flow
        operator = Operator(f"op{last}", at, self.world._from_phone)
        self.world.phones[at] = operator
        return operator

    async def call(self, alive_for: float = 0.0, *, events: int = 0) -> None:
        """The caller is in the queue, his agent is called, and control dies after that time, or in that event."""
        self.world.pool.start(self.world.ua.line, {})
        await asyncio.sleep(1.0)
        assert self.world.acd.agent_command("agent1", "ready").ok
        self.caller.call("1001")
        if events:
            self.world.kill_at = {self.world.counted + events}
        else:
            await asyncio.sleep(alive_for)
            await self.world.restart()

    def connected(self) -> float:
        """Seconds from the offer to the answer of the only one."""
        (connected,) = self.world.of(CallConnected)
        return connected.rang

    async def end(self) -> None:
        self.caller.hang_up()
        await self.world.pool.stop()
        await self.world.settle(100.0)


def silent(operator: Operator) -> None:
    operator.deaf = True


def refuses(operator: Operator, status: int = 503) -> None:
    """After the restart."""
    operator.ringing, operator.answer_after = False, None

    def refuse() -> None:
        operator._respond(status)
        operator._flush()

    at(3.0, refuse)


def redirects(operator: Operator) -> None:
    operator.refusal = [("Contact", f"<sip:{NUMBER}@192.0.2.51:5060>")]
    refuses(operator, 302)


@pytest.mark.parametrize(
    ("fault", "beside"),
    [
        *((fault, beside) for fault in (silent, refuses) for beside in ("target", "place", "trunk")),
        (redirects, "target"),
    ],
)
def test_the_next_one_is_called(fault: Callable[[Operator], None], beside: str) -> None:
    async def story() -> None:
        trunks = {
            "target": [trunk("op", 50, 51)],
            "place": [trunk("op", targets=(Target("op.example"),))],
            "trunk": [trunk("op", 50), trunk("other", 51)],
        }
        scene = Out(*trunks[beside])
        scene.world.hosts = {"op.example": ["192.0.2.50", "192.0.2.51"]}
        fault(scene.operator(50))
        second = scene.operator(51)
        await scene.call(0.5)
        await asyncio.sleep(6.0)
        assert scene.connected() < 6.0
        assert len(second.invites) == 1
        taken = {name: limits.calls for name, limits in scene.world.limits.items() if limits.calls and name != "t"}
        assert taken == ({"other": 1} if beside == "trunk" else {"op": 1})
        assert len(scene.world.of(LegDialled)) == 2
        assert not scene.world.of(TrunkCallRefused)
        await scene.end()

    play(story)


def test_who_is_busy_is_called_nowhere_else() -> None:
    async def story() -> None:
        scene = Out(trunk("op", 50, 51))
        refuses(scene.operator(50), 486)
        second = scene.operator(51)
        await scene.call(0.5)
        await asyncio.sleep(3.0)
        assert [event.result for event in scene.world.of(OfferMissed)] == ["busy"]
        assert not second.invites
        await scene.end()

    play(story)


@pytest.mark.parametrize("target", [Target("192.0.2.50"), Target("op.example")])
def test_an_invite_that_never_left_is_sent_by_the_next_process(target: Target) -> None:
    """Which at first knows neither its trunks nor where they are."""

    async def story() -> None:
        scene = Out(trunk("op", targets=(target,)))
        scene.world.hosts = {"op.example": ["192.0.2.50"]}
        operator = scene.operator(50)
        await scene.call(events=10)  # CallArrived … LegDialled
        await asyncio.sleep(4.0)
        assert scene.world.killed == 1
        assert len(operator.invites) == 1
        assert scene.connected() < 3.0
        assert not scene.world.of(OfferMissed)
        await scene.end()

    play(story)
