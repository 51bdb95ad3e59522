"""A picture of a flow: Mermaid (drawn by GitHub and most wikis) or Graphviz dot."""

from ivr.model import HANGUP, Flow, Verb
from ivr.verbs.enqueue import Enqueue
from ivr.verbs.menu import Menu

_MERMAID_SHAPES = {
    "menu": ("{{", "}}"),
    "hours": ("{", "}"),
    "branch": ("{", "}"),
    "enqueue": ("[[", "]]"),
    HANGUP: ("((", "))"),
}
_DOT_SHAPES = {"menu": "hexagon", "hours": "diamond", "branch": "diamond", "enqueue": "box3d", HANGUP: "doublecircle"}


def mermaid(flow: Flow) -> str:
    """Node ids are numbered: names may hold what Mermaid reads as syntax."""
    ids = {name: f"n{number}" for number, name in enumerate(flow.nodes)}
    lines = ["flowchart TD"]
    for name in flow.nodes:
        left, right = _MERMAID_SHAPES.get(flow.verbs[name], ("[", "]"))
        lines.append(f'    {ids[name]}{left}"{_mermaid_text(_label(flow, name))}"{right}')
    for source, label, target in _edges(flow):
        lines.append(f'    {ids[source]} -- "{_mermaid_text(label)}" --> {ids[target]}')
    return "\n".join(lines) + "\n"


def dot(flow: Flow) -> str:
    lines = [f'digraph "{_dot_text(flow.name)}" {{', f'  label="{_dot_text(flow.title)}";', "  node [shape=box];"]
    for name in flow.nodes:
        shape = _DOT_SHAPES.get(flow.verbs[name], "box")
        lines.append(f'  "{_dot_text(name)}" [label="{_dot_text(_label(flow, name))}", shape={shape}];')
    for source, label, target in _edges(flow):
        lines.append(f'  "{_dot_text(source)}" -> "{_dot_text(target)}" [label="{_dot_text(label)}"];')
    return "\n".join([*lines, "}"]) + "\n"


def _label(flow: Flow, name: str) -> str:
    about = _about(flow.nodes[name])
    return f"{name}: {flow.verbs[name]} {about}".rstrip() if about or name != flow.verbs[name] else name


def _about(verb: Verb) -> str:
    if isinstance(verb, Enqueue):
        return verb.enqueue
    return " ".join(use.name for use in verb.uses() if use.path[0] in ("play", "hours", "goto", "say"))


def _edges(flow: Flow) -> list[tuple[str, str, str]]:
    """(from, names of edges, to): edges between the same two nodes become one arrow."""
    joined: dict[tuple[str, str], list[str]] = {}
    for name, verb in flow.nodes.items():
        labels = {key: choice.label for key, choice in verb.choices.items()} if isinstance(verb, Menu) else {}
        for edge, target in flow.targets[name].items():
            text = f"{edge} {labels.get(edge, '')}".rstrip()
            joined.setdefault((name, target), []).append(text)
    return [(source, ", ".join(names), target) for (source, target), names in joined.items()]


def _mermaid_text(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _dot_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
