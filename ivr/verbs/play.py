from ivr.model import Edge, Left, Use, Verb, next_edge
from ivr.step import Step
from ivr.verbs.fields import Prompts, prompt_uses


class Play(Verb):
    """Speak prompts. A key ends them and waits for the next menu, unless barge_in is false."""

    play: Prompts
    barge_in: bool = True
    next: str = ""

    def edges(self) -> list[Edge]:
        return [next_edge(self.next)]

    def uses(self) -> list[Use]:
        return prompt_uses("play", self.play)

    async def run(self, step: Step) -> Left:
        await step.play(self.play, barge_in=self.barge_in)
        return Left("next")
