"""A flow: nodes, each one verb with its options, joined by named edges. Read by load.py, proved by check.py, run by
interpreter.py, drawn by graph.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from kernel.schema import Model
from kernel.yamlsrc import Source, YamlPath

if TYPE_CHECKING:
    from ivr.step import Step

HANGUP = "hangup"
"""A target that needs no node of its own."""


class Edge(NamedTuple):
    """One way out of a node."""

    name: str
    """As in events: a digit, `next`, `timeout`, `invalid`, `open` …"""
    target: str
    """A node, or "" when the author forgot it."""
    path: YamlPath
    """Where the target stands, from the node."""
    what: str
    """For messages: `choice '3'`."""


class Use(NamedTuple):
    """A name that must exist elsewhere."""

    kind: str
    """prompt | queue | skill | calendar | flow"""
    name: str
    path: YamlPath


class Left(NamedTuple):
    """What a verb answers when it is done."""

    edge: str
    flow: str = ""
    """Go on in this other flow."""
    hangup: str = ""
    """End the call, for this reason."""
    status: int = 0
    """… by this SIP status, when it was not answered."""


class Verb(Model):
    """Base of all verbs. A verb's options are the model's fields; the one named like the verb is its object."""

    WAITS: ClassVar[bool] = True
    """False: takes no time, so a circle of such nodes would never end."""

    @property
    def answers(self) -> bool:
        """Whether the call is surely answered once this node is done."""
        return False

    def edges(self) -> list[Edge]:
        return []

    def uses(self) -> list[Use]:
        return []

    def expressions(self) -> list[tuple[str, YamlPath]]:
        """Texts for expr.compile_expression."""
        return []

    def templates(self) -> list[tuple[str, YamlPath]]:
        """Texts in which {name} stands for an attribute."""
        return []

    def sets(self) -> dict[str, list[str]]:
        """Attributes that this node may set → the values known beforehand."""
        return {}

    async def run(self, step: "Step") -> Left:
        raise NotImplementedError


def next_edge(target: str) -> Edge:
    return Edge("next", target, ("next",), "'next'")


@dataclass(frozen=True, slots=True)
class Flow:
    name: str
    title: str
    version: str
    """Of its source: 12 hexadecimal digits."""
    start: str
    languages: tuple[str, ...]
    """Its prompts exist in each of these; spoken in this order until attribute `language` is set."""
    nodes: Mapping[str, Verb]
    """In the file's order, the implicit `hangup` last when used."""
    verbs: Mapping[str, str]
    """Node → verb's word."""
    targets: Mapping[str, Mapping[str, str]]
    """Node → edge → node: `edges()`, computed once."""
    source: Source
