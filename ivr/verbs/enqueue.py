from typing import Annotated

from pydantic import Field

from ivr.model import HANGUP, Edge, Left, Use, Verb
from ivr.step import TEMPLATE, Step
from kernel.yamlsrc import YamlPath


class Enqueue(Verb):
    """Wait in a queue and talk to an agent. `served` follows the talk when the agent hung up first.

    Calls that leave the queue unserved go to the edge of that name, or `otherwise`."""

    enqueue: str
    skills: dict[str, Annotated[int, Field(ge=1, le=10)]] = Field(default={})
    """Besides the queue's: skill → lowest level. {language} stands for the attribute; an empty one asks for nothing."""
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    served: str = HANGUP
    timeout: str = ""
    full: str = ""
    no_agents: str = ""
    key: str = ""
    lost: str = ""
    otherwise: str = ""

    def edges(self) -> list[Edge]:
        own = {name: getattr(self, name) for name in ("timeout", "full", "no_agents", "key", "lost")}
        out = [Edge("served", self.served, ("served",), "'served'")]
        for name, target in own.items():
            field = name if target else "otherwise"
            out.append(Edge(name, target or self.otherwise, (field,), f"'{field}'"))
        return out

    def uses(self) -> list[Use]:
        fixed = [skill for skill in self.skills if not TEMPLATE.search(skill)]
        return [Use("queue", self.enqueue, ("enqueue",)), *(Use("skill", s, ("skills", s)) for s in fixed)]

    def templates(self) -> list[tuple[str, YamlPath]]:
        return [(skill, ("skills", skill)) for skill in self.skills]

    async def run(self, step: Step) -> Left:
        filled = {step.fill(skill): level for skill, level in self.skills.items()}
        skills = {skill: level for skill, level in filled.items() if skill}
        result = await step.ports.queue.enqueue(step.call, self.enqueue, skills=skills, priority=self.priority)
        return Left(result.outcome)
