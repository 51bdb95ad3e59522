"""From YAML documents to flows, with every mistake that one file alone can show."""

import hashlib
from collections.abc import Iterable
from pathlib import PurePath

from pydantic import Field

from ivr.model import HANGUP, Flow, Verb
from ivr.verbs.answer import Answer
from ivr.verbs.branch import Branch
from ivr.verbs.collect import Collect
from ivr.verbs.enqueue import Enqueue
from ivr.verbs.goto import Goto
from ivr.verbs.hangup import Hangup
from ivr.verbs.hours import Hours
from ivr.verbs.menu import Menu
from ivr.verbs.play import Play
from ivr.verbs.say import Say
from ivr.verbs.set import Set
from kernel.schema import Model, validate
from kernel.yamlsrc import Document, Problem, YamlPath, did_you_mean

VERBS: dict[str, type[Verb]] = {
    "answer": Answer,
    "branch": Branch,
    "collect": Collect,
    "enqueue": Enqueue,
    "goto": Goto,
    "hangup": Hangup,
    "hours": Hours,
    "menu": Menu,
    "play": Play,
    "say": Say,
    "set": Set,
}
MAX_NODES = 500


class FlowFile(Model):
    """The top of a flow's file; the nodes themselves are read one by one."""

    title: str = ""
    start: str
    languages: list[str] = Field(default=[])
    nodes: dict[str, object] = Field(min_length=1, max_length=MAX_NODES)


def load_flows(documents: Iterable[Document], languages: tuple[str, ...]) -> tuple[list[Flow], list[Problem]]:
    """Flows of the good files, and the mistakes of the others. `languages`: the site's."""
    flows: list[Flow] = []
    problems: list[Problem] = []
    for document in documents:
        if document.problems:
            continue  # told by who read it
        flow, found = load_flow(document, languages)
        problems += found
        if flow is not None:
            flows.append(flow)
    return flows, problems


def load_flow(document: Document, languages: tuple[str, ...]) -> tuple[Flow | None, list[Problem]]:
    """One file as a flow; None when any of its nodes has a mistake."""
    top, problems = validate(FlowFile, document.value, document.source)
    nodes: dict[str, Verb] = {}
    verbs: dict[str, str] = {}
    raw = document.value.get("nodes") if isinstance(document.value, dict) else None
    for name, value in raw.items() if isinstance(raw, dict) else ():
        word, found = _verb_of(value, document, ("nodes", name))
        problems += found
        if word is None:
            continue
        node, found = validate(VERBS[word], value, document.source, ("nodes", name))
        problems += found
        if node is not None:
            nodes[name], verbs[name] = node, word
    if top is None or problems:
        return None, problems
    targets = {name: {edge.name: edge.target for edge in node.edges()} for name, node in nodes.items()}
    if HANGUP not in nodes and any(HANGUP in edges.values() for edges in targets.values()):
        nodes[HANGUP], verbs[HANGUP], targets[HANGUP] = Hangup(), HANGUP, {}
    flow = Flow(
        name=PurePath(document.source.file).stem,
        title=top.title,
        version=hashlib.sha256(repr(document.value).encode()).hexdigest()[:12],
        start=top.start,
        languages=tuple(top.languages) or languages,
        nodes=nodes,
        verbs=verbs,
        targets=targets,
        source=document.source,
    )
    return flow, []


def _verb_of(value: object, document: Document, at: YamlPath) -> tuple[str | None, list[Problem]]:
    """The one key of a node that is a verb."""
    source = document.source
    if not isinstance(value, dict) or not value:
        return None, [source.problem(at, f"node '{at[-1]}' should be a verb and its options", f"verbs: {_verbs()}")]
    words = [word for word in value if word in VERBS]
    if len(words) > 1:
        hint = f"give '{words[1]}' a node of its own and lead '{words[0]}' to it"
        message = f"node '{at[-1]}' has two verbs, '{words[0]}' and '{words[1]}'"
        return None, [source.problem((*at, words[1]), message, hint, key=True)]
    if words:
        return words[0], []
    first = next(iter(value))
    return None, [source.problem((*at, first), f"unknown verb '{first}'", did_you_mean(first, VERBS), key=True)]


def _verbs() -> str:
    return ", ".join(VERBS)
