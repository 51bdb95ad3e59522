"""What a verb works with while its node runs: the call, the ports, and the few things that all verbs do."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.call import Call, Played, Why
from events.types import InputMissed, PromptPlayed
from ivr.model import Flow
from ivr.ports import Ports

TEMPLATE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
CALL_FIELDS = ("caller", "caller_name", "dialled", "trunk")
"""What expressions and templates know of every call, besides its attributes."""
LANGUAGE = "language"
CHOICE = "choice"
"""Attribute with the label of the last menu choice: shown at the agent's phone."""
MAX_VALUE = 200
"""Characters of an attribute's value; the rest is cut."""


@dataclass(frozen=True, slots=True)
class Step:
    call: Call
    flow: Flow
    node: str
    ports: Ports

    @property
    def languages(self) -> tuple[str, ...]:
        """The caller's, or all of the flow's while the caller has not chosen."""
        chosen = self.call.attributes.get(LANGUAGE, "")
        return (chosen,) if chosen in self.flow.languages else self.flow.languages

    def facts(self) -> dict[str, str]:
        """Attributes and call fields, for expressions and templates."""
        call = self.call
        fields = {"caller": call.caller, "caller_name": call.caller_name, "dialled": call.dialled, "trunk": call.trunk}
        return fields | call.attributes

    def fill(self, template: str) -> str:
        """The template with every {attribute} in place."""
        if "{" not in template:
            return template
        facts = self.facts()
        return TEMPLATE.sub(lambda found: facts.get(found.group(1), ""), template)

    def set(self, name: str, template: str) -> None:
        self.call.set_attribute(name, self.fill(template)[:MAX_VALUE])

    async def play(self, prompts: Sequence[str], *, barge_in: bool = True, early: bool = False) -> Played:
        """Prompts, in the caller's language or in all."""
        clips = self.ports.prompts.spoken(prompts, self.languages)
        return await self.play_clips(clips, " ".join(prompts), barge_in, early)

    async def play_clips(self, clips: Sequence[str], name: str, barge_in: bool, early: bool) -> Played:
        """Clips by file; journals PromptPlayed, also when the caller hangs up during it."""
        begun = self.ports.clock.monotonic()
        try:
            played = await self.call.play(clips, barge_in=barge_in, early=early)
        except asyncio.CancelledError:
            self._played(name, self.ports.clock.monotonic() - begun, False)
            raise
        self._played(name, played.seconds, played.why is Why.FINISHED)
        return played

    def _played(self, name: str, seconds: float, completed: bool) -> None:
        self.ports.emit(
            PromptPlayed(call=self.call.id, node=self.node, prompt=name, seconds=seconds, completed=completed)
        )

    def missed(self, why: str, digits: str, attempt: int) -> None:
        """No input, or one that nothing expects."""
        self.ports.emit(InputMissed(call=self.call.id, node=self.node, why=why, digits=digits, attempt=attempt))
