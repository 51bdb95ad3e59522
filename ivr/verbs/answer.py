from typing import ClassVar

from ivr.model import Edge, Left, Verb, next_edge
from ivr.step import Step


class Answer(Verb):
    """Answer the call (200). Playing does so too; this is for flows that queue or decide first."""

    WAITS: ClassVar[bool] = False  # the second time round

    answer: None = None
    next: str = ""

    @property
    def answers(self) -> bool:
        return True

    def edges(self) -> list[Edge]:
        return [next_edge(self.next)]

    async def run(self, step: Step) -> Left:
        await step.call.answer()
        return Left("next")
