from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from engine.call import Why
from ivr.model import Edge, Left, Use, Verb
from ivr.step import CHOICE, Step
from ivr.verbs.fields import AttributeName, Prompts, Timeout, Tries, prompt_uses
from kernel.schema import Model
from kernel.yamlsrc import YamlPath


class Choice(Model):
    """`1: billing`, or with more to say about it."""

    to: str
    label: str = ""
    """For the agent's phone, as attribute `choice`."""
    set: dict[AttributeName, str] = Field(default={})


def _choice(value: Any) -> Any:
    return {"to": value} if isinstance(value, str) else value


class Menu(Verb):
    """Speak prompts, take one key, go where it leads. After `tries` misses: `otherwise`."""

    menu: Prompts
    choices: dict[Annotated[str, Field(pattern=r"^[0-9*#]$")], Annotated[Choice, BeforeValidator(_choice)]] = Field(
        min_length=1
    )
    timeout: Timeout = 5.0
    """Seconds of silence after the prompt."""
    tries: Tries = 3
    invalid: Prompts | None = None
    """Spoken after a key that is no choice."""
    silent: Prompts | None = None
    """Spoken after no key."""
    otherwise: str = ""

    @property
    def answers(self) -> bool:
        return True

    def edges(self) -> list[Edge]:
        out = [Edge(key, c.to, ("choices", key, "to"), f"choice '{key}'") for key, c in self.choices.items()]
        return out + [Edge(why, self.otherwise, ("otherwise",), "'otherwise'") for why in ("timeout", "invalid")]

    def uses(self) -> list[Use]:
        return [
            *prompt_uses("menu", self.menu),
            *prompt_uses("invalid", self.invalid or []),
            *prompt_uses("silent", self.silent or []),
        ]

    def templates(self) -> list[tuple[str, YamlPath]]:
        out: list[tuple[str, YamlPath]] = []
        for key, choice in self.choices.items():
            out.append((choice.label, ("choices", key, "label")))
            out += [(value, ("choices", key, "set", name)) for name, value in choice.set.items()]
        return out

    def sets(self) -> dict[str, list[str]]:
        out: dict[str, list[str]] = {CHOICE: []}
        for choice in self.choices.values():
            for name, value in choice.set.items():
                out.setdefault(name, []).append(value)
        return out

    async def run(self, step: Step) -> Left:
        why = ""
        for attempt in range(1, self.tries + 1):
            await step.play(self.menu)
            got = await step.call.collect(max_digits=1, timeout=self.timeout, terminator="")
            if choice := self.choices.get(got.digits):
                return self._chosen(step, got.digits, choice)
            why = "timeout" if got.why is Why.TIMEOUT and not got.digits else "invalid"
            step.missed(why, got.digits, attempt)
            sorry = self.silent if why == "timeout" else self.invalid
            if sorry and attempt < self.tries:
                await step.play(sorry)
        return Left(why)

    def _chosen(self, step: Step, key: str, choice: Choice) -> Left:
        if choice.label:
            step.set(CHOICE, choice.label)
        for name, value in choice.set.items():
            step.set(name, value)
        return Left(key)
