"""What agents dial on their own phones: the application for calls whose caller is an agent's phone.

    *11 log in   *12 log out   *13 ready   *14 not ready, *14N with reason N
    *8 pick up what rings in one's groups, *8NUMBER at that phone

Answered, confirmed by a prompt, hung up; a call that is picked up is confirmation enough. docs/agents.md is the
agents' side of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from acd.agents import Command
from acd.roster import CommandResult
from acd.routing.model import AgentProfile
from acd.service import AcdService
from engine.call import Call

CODES = {"*11": Command.LOGIN, "*12": Command.LOGOUT, "*13": Command.READY, "*14": Command.NOT_READY}
PROMPTS = {
    Command.LOGIN: "agent_logged_in",
    Command.LOGOUT: "agent_logged_out",
    Command.READY: "agent_ready",
    Command.NOT_READY: "agent_not_ready",
}
REFUSED = "agent_refused"
PICK_UP = "*8"
CODE_MAX = 8


@dataclass(frozen=True, slots=True)
class Dialled:
    command: Command
    reason: str


def is_code(dialled: str) -> bool:
    """Whether this number is for us: anything that begins with a star."""
    return dialled.startswith("*")


def parse(dialled: str, agent: AgentProfile) -> Dialled | None:
    """None for a code that means nothing, or a reason key that the agent does not have."""
    command = CODES.get(dialled[:3])
    key = dialled[3:CODE_MAX]
    if command is None or (key and command is not Command.NOT_READY):
        return None
    if not key:
        return Dialled(command, "")
    reason = agent.not_ready_reasons.get(key)
    return None if reason is None else Dialled(command, reason)


class FeatureCodes:
    """prompts: name of a prompt -> clips, () for none. Names are those of PROMPTS, and REFUSED."""

    def __init__(self, acd: AcdService, prompts: Callable[[str], Sequence[str]]) -> None:
        self._acd = acd
        self._prompts = prompts

    async def run(self, call: Call) -> CommandResult | None:
        """Serve one call of an authenticated phone (`call.caller` is its address). None: no agent's, or no code of
        these."""
        agent = self._acd.roster.of_phone(call.caller)
        if agent is not None and call.dialled.startswith(PICK_UP):
            if not await self._acd.pick_ups.by_phone(call, agent, call.dialled[len(PICK_UP) :]):
                await self._say(call, REFUSED)
            return None
        dialled = parse(call.dialled, agent.profile) if agent is not None else None
        result: CommandResult | None = None
        if agent is not None and dialled is not None:
            result = self._acd.agent_command(agent.profile.name, dialled.command, dialled.reason, "phone")
        done = result is not None and result.ok and dialled is not None
        await self._say(call, PROMPTS[dialled.command] if done and dialled is not None else REFUSED)
        return result

    async def _say(self, call: Call, prompt: str) -> None:
        await call.answer()
        if clips := self._prompts(prompt):
            await call.play(clips, barge_in=False)
