from typing import ClassVar

from pydantic import Field

from ivr.model import Edge, Left, Verb, next_edge
from ivr.step import Step
from ivr.verbs.fields import AttributeName
from kernel.yamlsrc import YamlPath


class Set(Verb):
    """Set attributes of the call; {name} in a value stands for another attribute."""

    WAITS: ClassVar[bool] = False

    set: dict[AttributeName, str] = Field(min_length=1)
    next: str = ""

    def edges(self) -> list[Edge]:
        return [next_edge(self.next)]

    def templates(self) -> list[tuple[str, YamlPath]]:
        return [(value, ("set", name)) for name, value in self.set.items()]

    def sets(self) -> dict[str, list[str]]:
        return {name: [value] for name, value in self.set.items()}

    async def run(self, step: Step) -> Left:
        for name, value in self.set.items():
            step.set(name, value)
        return Left("next")
