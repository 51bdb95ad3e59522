"""Proves a flow against the site: every way leads somewhere, every name exists, nothing turns in a circle for ever."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ivr.expr import ExpressionError, compile_expression
from ivr.model import Flow, Verb
from ivr.prompts import PromptBook
from ivr.step import CALL_FIELDS, CHOICE, LANGUAGE, TEMPLATE
from ivr.verbs.enqueue import Enqueue
from kernel.yamlsrc import Problem, YamlPath, did_you_mean


@dataclass(frozen=True, slots=True)
class Known:
    """Names that flows may use. None: unknown themselves (their file is broken), so nothing is said about them."""

    prompts: PromptBook
    flows: frozenset[str] | None
    queues: frozenset[str] | None
    skills: frozenset[str] | None
    calendars: frozenset[str] | None
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Attribute → values that some flow gives it, as far as they are known."""

    def names(self, kind: str) -> frozenset[str] | None:
        return {"queue": self.queues, "skill": self.skills, "calendar": self.calendars, "flow": self.flows}[kind]


WHERE = {
    "queue": "config/queues.yaml",
    "skill": "config/skills.yaml",
    "calendar": "config/hours.yaml",
    "flow": "the flows' folder",
}


def attributes(flows: Iterable[Flow]) -> dict[str, frozenset[str]]:
    """What all flows together may set: one flow may set what another reads."""
    out: dict[str, set[str]] = {name: set() for name in (*CALL_FIELDS, LANGUAGE, CHOICE)}
    for flow in flows:
        for verb in flow.nodes.values():
            for name, values in verb.sets().items():
                out.setdefault(name, set()).update(value for value in values if "{" not in value)
    return {name: frozenset(values) for name, values in out.items()}


def check_flow(flow: Flow, known: Known) -> list[Problem]:
    """All mistakes of one flow, in no particular order."""
    problems = _start(flow) + _targets(flow) + _unreachable(flow) + _circles(flow)
    for name, verb in flow.nodes.items():
        at: YamlPath = ("nodes", name)
        problems += _uses(flow, verb, at, known) + _texts(flow, verb, at, known)
        if isinstance(verb, Enqueue):
            problems += _skills_by_attribute(flow, verb, at, known)
    problems += [
        flow.source.problem(("languages", n), f"unknown language '{language}': no prompts/{language}/*.wav")
        for n, language in enumerate(flow.languages)
        if not known.prompts.names(language)
    ]
    return problems


def _start(flow: Flow) -> list[Problem]:
    if flow.start in flow.nodes:
        return []
    hint = did_you_mean(flow.start, flow.nodes)
    return [flow.source.problem(("start",), f"the flow starts at '{flow.start}', which no node defines", hint)]


def _targets(flow: Flow) -> list[Problem]:
    out: dict[YamlPath, Problem] = {}
    for name, verb in flow.nodes.items():
        for edge in verb.edges():
            path: YamlPath = ("nodes", name, *edge.path)
            if not edge.target:
                message = f"dead end: node '{name}' does not say where {edge.what} leads"
                hint = f"add '{edge.path[-1]}: NODE', or '{edge.path[-1]}: hangup' to end the call"
                out[path] = flow.source.problem(("nodes", name), message, hint, key=True)
            elif edge.target not in flow.nodes:
                message = f"{edge.what} goes to '{edge.target}', which no node defines"
                out[path] = flow.source.problem(path, message, _node_hint(flow, edge.target))
    return list(out.values())


def _node_hint(flow: Flow, word: str) -> str:
    hint = did_you_mean(word, flow.nodes)
    if not hint.startswith("did you mean"):
        return hint
    return f"{hint.removesuffix('?')} ({flow.source.line(('nodes', hint.split(chr(39))[1]))})?"


def _unreachable(flow: Flow) -> list[Problem]:
    if flow.start not in flow.nodes:
        return []
    seen: set[str] = set()
    todo = [flow.start]
    while todo:
        if (node := todo.pop()) not in seen and node in flow.nodes:
            seen.add(node)
            todo += flow.targets[node].values()
    return [
        flow.source.problem(("nodes", node), f"no way leads to node '{node}'", "remove it, or lead to it", key=True)
        for node in flow.nodes
        if node not in seen
    ]


def _circles(flow: Flow) -> list[Problem]:
    """Nodes that take no time must not lead back to themselves by such nodes alone."""
    quick = {name for name, verb in flow.nodes.items() if not verb.WAITS}
    state: dict[str, int] = {}  # 1: on the way, 2: done
    out: list[Problem] = []
    for root in quick:
        stack = [(root, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                state[node] = 2
            elif node not in state:
                state[node] = 1
                stack.append((node, True))
                for target in flow.targets[node].values():
                    if target in quick and state.get(target) == 1:
                        message = f"an endless circle: '{target}' comes back to itself without waiting"
                        out.append(flow.source.problem(("nodes", target), message, key=True))
                    elif target in quick:
                        stack.append((target, False))
    return out


def _uses(flow: Flow, verb: Verb, at: YamlPath, known: Known) -> list[Problem]:
    out = []
    for use in verb.uses():
        path = at + use.path
        if use.kind == "prompt":
            out += _prompt(flow, use.name, path, known.prompts)
            continue
        names = known.names(use.kind)
        if names is not None and use.name not in names:
            message = f"unknown {use.kind} '{use.name}': {WHERE[use.kind]} has none of that name"
            out.append(flow.source.problem(path, message, did_you_mean(use.name, names)))
    return out


def _prompt(flow: Flow, name: str, path: YamlPath, prompts: PromptBook) -> list[Problem]:
    missing = [language for language in flow.languages if not prompts.has(f"{language}/{name}")]
    if not missing:
        return []
    hint = "record it, or add its text to prompts.yaml and run 'callwright prompts render'"
    if len(missing) == len(flow.languages):
        near = did_you_mean(name, (n for language in flow.languages for n in prompts.names(language)))
        hint = near if near.startswith("did you mean") else hint
    files = " and ".join(f"prompts/{language}/{name}.wav" for language in missing)
    return [flow.source.problem(path, f"prompt '{name}' has no {files}", hint)]


def _texts(flow: Flow, verb: Verb, at: YamlPath, known: Known) -> list[Problem]:
    """Expressions and templates: well formed, and asking for attributes that something sets."""
    out = []
    asked: list[tuple[str, YamlPath]] = []
    for text, path in verb.expressions():
        try:
            asked += [(name, path) for name in sorted(compile_expression(text).names)]
        except ExpressionError as error:
            out.append(flow.source.problem(at + path, f"in '{text}': {error}"))
    for text, path in verb.templates():
        asked += [(name, path) for name in TEMPLATE.findall(text)]
    for name, path in asked:
        if name not in known.attributes:
            message = f"no flow sets the attribute '{name}'"
            out.append(flow.source.problem(at + path, message, did_you_mean(name, known.attributes)))
    return out


def _skills_by_attribute(flow: Flow, verb: Enqueue, at: YamlPath, known: Known) -> list[Problem]:
    """`{language}: 3` asks for each skill that the attribute may name."""
    out = []
    for skill in verb.skills:
        found = TEMPLATE.fullmatch(skill)
        if found is None or known.skills is None:
            continue
        for value in sorted(known.attributes.get(found.group(1), frozenset()) - known.skills - {""}):
            message = f"'{skill}' may be '{value}', which {WHERE['skill']} does not have"
            path = (*at, "skills", skill)
            out.append(flow.source.problem(path, message, did_you_mean(value, known.skills), key=True))
    return out
