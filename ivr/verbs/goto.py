from typing import ClassVar

from ivr.model import Left, Use, Verb
from ivr.step import Step


class Goto(Verb):
    """Leave this flow and go on at the start of another."""

    WAITS: ClassVar[bool] = False

    goto: str

    def uses(self) -> list[Use]:
        return [Use("flow", self.goto, ("goto",))]

    async def run(self, step: Step) -> Left:
        return Left("goto", flow=self.goto)
