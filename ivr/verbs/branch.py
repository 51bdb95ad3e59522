from functools import cached_property
from typing import ClassVar

from pydantic import Field

from ivr.expr import Expression, compile_expression
from ivr.model import Edge, Left, Verb
from ivr.step import Step
from kernel.schema import Model
from kernel.yamlsrc import YamlPath


class Case(Model):
    when: str
    """See ivr/expr.py."""
    to: str

    @cached_property
    def condition(self) -> Expression:
        return compile_expression(self.when)


class Branch(Verb):
    """Go to the first case whose condition holds; edges are named 1, 2, 3 … and `otherwise`."""

    WAITS: ClassVar[bool] = False

    branch: list[Case] = Field(min_length=1)
    otherwise: str = ""

    def edges(self) -> list[Edge]:
        out = [Edge(str(n + 1), c.to, ("branch", n, "to"), f"case {n + 1}") for n, c in enumerate(self.branch)]
        return [*out, Edge("otherwise", self.otherwise, ("otherwise",), "'otherwise'")]

    def expressions(self) -> list[tuple[str, YamlPath]]:
        return [(case.when, ("branch", n, "when")) for n, case in enumerate(self.branch)]

    async def run(self, step: Step) -> Left:
        facts = step.facts()
        for number, case in enumerate(self.branch, 1):
            if case.condition.holds(facts):
                return Left(str(number))
        return Left("otherwise")
