"""From YAML documents to flows, with every mistake that one file alone can show. Nodes are read one by one: a bad one
hides nothing, and of its own edges and names those that can be read are there to be proved.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
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
from kernel.schema import Draft, Model, draft
from kernel.yamlsrc import SURE, Document, Problem, YamlPath, did_you_mean, nearest

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
MAX_TEXTS = 200
"""Looked at in a node that could not be read."""


class FlowFile(Model):
    """The top of a flow's file; the nodes themselves are read one by one."""

    title: str = ""
    start: str
    languages: list[str] = Field(default=[])
    nodes: dict[str, object] = Field(min_length=1, max_length=MAX_NODES)


@dataclass(frozen=True, slots=True)
class View:
    """One node as far as it can be read; a node with two verbs is seen once as each of them."""

    name: str
    verb: Verb
    draft: Draft[Verb]
    """Paths begin at the top of the file."""
    whole: bool
    """False: what it does not say may be in what could not be read, so nothing is missing."""

    @property
    def at(self) -> YamlPath:
        return ("nodes", self.name)


@dataclass(frozen=True, slots=True)
class FlowDraft:
    """A flow with its mistakes: `flow` holds what could be read, so that the rest can be proved all the same."""

    flow: Flow
    top: Draft[FlowFile]
    views: tuple[View, ...]
    names: frozenset[str]
    """Of all its nodes, those that could not be read too."""
    unread: Mapping[str, frozenset[str]]
    """Node with a mistake → all texts in it: any of them may be a way out or an attribute it sets."""


def draft_flow(document: Document, languages: tuple[str, ...]) -> tuple[FlowDraft | None, list[Problem]]:
    """One file as a flow, node by node, and its mistakes besides those of its YAML. None when it could not be parsed,
    or is nothing like a flow. languages: the site's."""
    if document.value is None and document.problems:
        return None, []
    found = draft(FlowFile, document.value, document.source)
    problems = list(found.problems)
    if found.model is None or len(found.model.nodes) > MAX_NODES:
        return None, problems
    top = found.model
    views: list[View] = []
    unread: dict[str, frozenset[str]] = {}
    for name, value in top.nodes.items():
        seen, mistakes = _views(name, value, document)
        views += seen
        problems += mistakes
        if mistakes:
            unread[name] = frozenset(islice(_texts(value), MAX_TEXTS))
    whole = {view.name: view.verb for view in views}
    flow = _flow(top, whole, document, languages)
    return FlowDraft(flow, found, tuple(views), frozenset((*top.nodes, *flow.nodes)), unread), problems


def load_flow(document: Document, languages: tuple[str, ...]) -> tuple[Flow | None, list[Problem]]:
    """One file as a flow; None when it has any mistake. Those of its YAML are not repeated."""
    found, problems = draft_flow(document, languages)
    return (None if found is None or problems or document.problems else found.flow), problems


def _flow(top: FlowFile, nodes: dict[str, Verb], document: Document, languages: tuple[str, ...]) -> Flow:
    words = {kind: word for word, kind in VERBS.items()}
    verbs = {name: words[type(verb)] for name, verb in nodes.items()}
    targets = {name: {edge.name: edge.target for edge in node.edges()} for name, node in nodes.items()}
    if HANGUP not in top.nodes and any(HANGUP in edges.values() for edges in targets.values()):
        nodes[HANGUP], verbs[HANGUP], targets[HANGUP] = Hangup(), HANGUP, {}
    return Flow(
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


def _views(name: str, value: object, document: Document) -> tuple[list[View], list[Problem]]:
    """The node as its verb; as each when it has two, with nothing said about its options."""
    at: YamlPath = ("nodes", name)
    words, problems = _verbs_of(value, document, at)
    out: list[View] = []
    for word in words:
        kind = VERBS[word]
        node = _with_key(value, word, document, at)
        if len(words) > 1:
            known = {info.alias or field for field, info in kind.model_fields.items()}
            node = {key: item for key, item in node.items() if key in known}
        found = draft(kind, node, document.source, at)
        problems += found.problems if len(words) == 1 else ()
        if found.model is not None:
            out.append(View(name, found.model, found, len(words) == 1 and not _loose(node, kind)))
    return out, problems


def _with_key(value: object, word: str, document: Document, at: YamlPath) -> dict[str, object]:
    """The node's options, its verb spelt right."""
    node = dict(value) if isinstance(value, dict) else {}
    if word in node:
        return node
    wrong = _misspelt(node)
    document.source.respelt[(*at, word)] = (*at, wrong)
    return {word if key == wrong else key: item for key, item in node.items()}


def _loose(node: dict[str, object], kind: type[Verb]) -> bool:
    """Whether a text stands under a key that means nothing: perhaps the way that seems to be missing."""
    known = {info.alias or field for field, info in kind.model_fields.items()}
    return any(
        isinstance(item, str) and key not in known and not nearest(key, known, SURE) for key, item in node.items()
    )


def _texts(value: object) -> Iterator[str]:
    """All keys and texts within a value."""
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _misspelt(node: dict[str, object]) -> str:
    """The key that should be a verb: one near to a verb, else the first that is no verb's option."""
    options = {info.alias or name for kind in VERBS.values() for name, info in kind.model_fields.items()}
    strange = [key for key in node if key not in options]
    return next((key for key in strange if nearest(key, VERBS, SURE)), next(iter(strange or node)))


def _verbs_of(value: object, document: Document, at: YamlPath) -> tuple[list[str], list[Problem]]:
    """The keys of a node that are verbs: one when all is well. One that is surely misspelt is read as what it means."""
    source = document.source
    if not isinstance(value, dict) or not value:
        hint = f"verbs: {', '.join(VERBS)}"
        return [], [source.problem(at, f"node '{at[-1]}' should be a verb and its options", hint)]
    words = [word for word in value if word in VERBS]
    if len(words) > 1:
        hint = f"give '{words[1]}' a node of its own and lead '{words[0]}' to it"
        message = f"node '{at[-1]}' has two verbs, '{words[0]}' and '{words[1]}'"
        return words, [source.problem((*at, words[1]), message, hint, key=True)]
    if words:
        return words, []
    wrong = _misspelt(value)
    meant = nearest(wrong, VERBS, SURE)
    message = f"unknown verb '{wrong}'"
    return [meant] if meant else [], [source.problem((*at, wrong), message, did_you_mean(wrong, VERBS), key=True)]
