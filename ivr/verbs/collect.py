from typing import Annotated

from pydantic import Field, model_validator

from engine.call import Why
from ivr.model import Edge, Left, Use, Verb, next_edge
from ivr.step import Step
from ivr.verbs.fields import AttributeName, Prompts, Timeout, Tries, prompt_uses

Count = Annotated[int, Field(ge=1, le=32)]


class Collect(Verb):
    """Speak prompts, take a number of several keys into an attribute. After `tries` misses: `otherwise`."""

    collect: Prompts
    into: AttributeName
    min_digits: Count = 1
    max_digits: Count = 32
    terminator: Annotated[str, Field(pattern=r"^[0-9*#]?$")] = "#"
    timeout: Timeout = 6.0
    inter_digit: Timeout = 3.0
    """Seconds after which a number counts as complete, between keys."""
    tries: Tries = 3
    invalid: Prompts | None = None
    """Spoken after too few keys."""
    silent: Prompts | None = None
    next: str = ""
    otherwise: str = ""

    @model_validator(mode="after")
    def _order(self) -> "Collect":
        if self.min_digits > self.max_digits:
            raise ValueError("min_digits is greater than max_digits")
        return self

    @property
    def answers(self) -> bool:
        return True

    def edges(self) -> list[Edge]:
        return [
            next_edge(self.next),
            *(Edge(why, self.otherwise, ("otherwise",), "'otherwise'") for why in ("timeout", "invalid")),
        ]

    def uses(self) -> list[Use]:
        return [
            *prompt_uses("collect", self.collect),
            *prompt_uses("invalid", self.invalid or []),
            *prompt_uses("silent", self.silent or []),
        ]

    def sets(self) -> dict[str, list[str]]:
        return {self.into: []}

    async def run(self, step: Step) -> Left:
        why = ""
        for attempt in range(1, self.tries + 1):
            await step.play(self.collect)
            got = await step.call.collect(
                max_digits=self.max_digits,
                timeout=self.timeout,
                inter_digit=self.inter_digit,
                terminator=self.terminator,
            )
            if len(got.digits) >= self.min_digits:
                step.set(self.into, got.digits)
                return Left("next")
            why = "timeout" if got.why is Why.TIMEOUT and not got.digits else "invalid"
            step.missed(why, got.digits, attempt)
            sorry = self.silent if why == "timeout" else self.invalid
            if sorry and attempt < self.tries:
                await step.play(sorry)
        return Left(why)
