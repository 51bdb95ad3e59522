from ivr.model import Edge, Left, Use, Verb, next_edge
from ivr.step import Step
from ivr.verbs.fields import Prompts, prompt_uses


class Play(Verb):
    """Speak prompts. A key ends them and waits for the next menu, unless barge_in is false."""

    play: Prompts
    barge_in: bool = True
    early: bool = False
    """Before the call is answered, and without answering it."""
    next: str = ""

    @property
    def answers(self) -> bool:
        return not self.early

    def edges(self) -> list[Edge]:
        return [next_edge(self.next)]

    def uses(self) -> list[Use]:
        return prompt_uses("play", self.play)

    async def run(self, step: Step) -> Left:
        await step.play(self.play, barge_in=self.barge_in, early=self.early)
        return Left("next")
