"""Codes dialled on an agent's phone."""

import asyncio
from collections.abc import Sequence

import pytest

from acd.feature_codes import FeatureCodes, is_code
from acd.routing.model import AgentProfile
from engine.call import Played, Why
from kernel.ids import AgentName
from tests.support.virtual import run
from tests.unit.acd.world import FakeCall, World, queue

ANN = AgentProfile(name=AgentName("ann"), aor="8001", not_ready_reasons={"1": "break", "2": "lunch"})


class PhoneCall(FakeCall):
    """A call from 8001."""

    def __init__(self, code: str) -> None:
        super().__init__("x", {})
        self._code = code
        self.heard: list[str] = []

    @property
    def caller(self) -> str:
        return "8001"

    @property
    def dialled(self) -> str:
        return self._code

    async def play(self, clips: Sequence[str], *, barge_in: bool = True, early: bool = False) -> Played:
        self.heard += clips
        await asyncio.sleep(1.0)
        return Played(Why.FINISHED, 1.0)


@pytest.mark.parametrize(
    ("code", "state", "reason", "heard"),
    [
        ("*11", "not_ready", "login", "agent_logged_in"),
        ("*12", "logged_out", "", "agent_logged_out"),
        ("*13", "ready", "", "agent_ready"),
        ("*14", "not_ready", "", "agent_not_ready"),
        ("*142", "not_ready", "lunch", "agent_not_ready"),
        ("*149", "logged_out", "", "agent_refused"),
        ("*131", "logged_out", "", "agent_refused"),
        ("*99", "logged_out", "", "agent_refused"),
        ("*", "logged_out", "", "agent_refused"),
    ],
)
def test_code_changes_the_state_and_is_confirmed(code: str, state: str, reason: str, heard: str) -> None:
    async def main() -> None:
        world = World([queue()], [ANN], ready=False)
        world.acd.phone_registered("8001")
        call = PhoneCall(code)
        await FeatureCodes(world.acd, lambda name: (name,)).run(call)
        assert call.heard == [heard]
        assert world.state("ann") == state
        assert world.acd.roster.agents[AgentName("ann")].reason == reason

    run(main())


def test_another_phone_is_refused_and_a_site_without_prompts_stays_silent() -> None:
    async def main() -> None:
        world = World([queue()], [])
        call = PhoneCall("*13")
        assert await FeatureCodes(world.acd, lambda name: ()).run(call) is None
        assert call.heard == []
        assert is_code("*13")
        assert not is_code("1001")

    run(main())
