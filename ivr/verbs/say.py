from typing import Annotated, Literal

from pydantic import Field

from ivr.model import Edge, Left, Use, Verb, next_edge
from ivr.speech import digit_clips, number_clips, opening_clips
from ivr.step import Step
from kernel.yamlsrc import YamlPath


class Say(Verb):
    """Speak a value: a number, the digits of a number, or the opening hours of a calendar (`as: hours`)."""

    say: str
    kind: Annotated[Literal["number", "digits", "hours"], Field(alias="as")] = "number"
    barge_in: bool = True
    early: bool = False
    """As of play."""
    next: str = ""

    @property
    def answers(self) -> bool:
        return not self.early

    def edges(self) -> list[Edge]:
        return [next_edge(self.next)]

    def uses(self) -> list[Use]:
        return [Use("calendar", self.say, ("say",))] if self.kind == "hours" else []

    def templates(self) -> list[tuple[str, YamlPath]]:
        return [] if self.kind == "hours" else [(self.say, ("say",))]

    async def run(self, step: Step) -> Left:
        clips = [clip for language in step.languages for clip in self._clips(step, language)]
        if clips:
            await step.play_clips(step.ports.prompts.paths(clips), f"say:{self.kind}", self.barge_in, self.early)
        return Left("next")

    def _clips(self, step: Step, language: str) -> list[str]:
        if self.kind == "hours":
            return opening_clips(language, step.ports.calendars[self.say])
        text = step.fill(self.say)
        if self.kind == "number" and text.isascii() and text.isdigit() and len(text) <= 4:
            return number_clips(language, int(text))
        return digit_clips(language, text)
