"""Proves a flow against the site: every way leads somewhere, every name exists, nothing turns in a circle for ever.

Works on drafts: of a flow with mistakes all that could be read is proved, and nothing is said that another mistake of
the same flow would explain.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ivr.expr import ExpressionError, compile_expression
from ivr.load import FlowDraft, View
from ivr.model import HANGUP, Edge, Flow
from ivr.prompts import PromptBook
from ivr.step import CALL_FIELDS, CHOICE, LANGUAGE, TEMPLATE
from ivr.verbs.enqueue import Enqueue
from ivr.verbs.goto import Goto
from kernel.yamlsrc import Problem, YamlPath, did_you_mean, nearest


@dataclass(frozen=True, slots=True)
class Known:
    """Names that flows may use. None: unknown themselves (their file cannot be read), so nothing is said about them."""

    prompts: PromptBook
    flows: frozenset[str] | None
    queues: frozenset[str] | None
    skills: frozenset[str] | None
    calendars: frozenset[str] | None
    attributes: Mapping[str, frozenset[str]] | None = field(default_factory=dict)
    """Attribute → values that some flow gives it, as far as they are known."""

    def names(self, kind: str) -> frozenset[str] | None:
        return {"queue": self.queues, "skill": self.skills, "calendar": self.calendars, "flow": self.flows}[kind]


WHERE = {
    "queue": "config/queues.yaml",
    "skill": "config/skills.yaml",
    "calendar": "config/hours.yaml",
    "flow": "the flows' folder",
}


def attributes(flows: Iterable[FlowDraft]) -> dict[str, frozenset[str]]:
    """What all flows together may set: one flow may set what another reads."""
    out: dict[str, set[str]] = {name: set() for name in (*CALL_FIELDS, LANGUAGE, CHOICE)}
    for draft in flows:
        for view in draft.views:
            for name, values in view.verb.sets().items():
                out.setdefault(name, set()).update(value for value in values if "{" not in value)
        for texts in draft.unread.values():
            for name in texts:
                out.setdefault(name, set())
    return {name: frozenset(values) for name, values in out.items()}


def check_flow(draft: FlowDraft, known: Known) -> list[Problem]:
    """All that is wrong in a flow besides what its draft tells, in no particular order."""
    flow = draft.flow
    problems = _start(draft) + _targets(draft) + _unreachable(draft) + _too_late(draft)
    for view in draft.views:
        problems += _uses(flow, view, known) + _texts(flow, view, known)
        if isinstance(view.verb, Enqueue):
            problems += _skills_by_attribute(flow, view, view.verb, known)
    own = draft.top.model.languages if draft.top.model else []
    problems += [
        flow.source.problem(("languages", n), f"unknown language '{language}': no prompts/{language}/*.wav")
        for n, language in enumerate(own)
        if draft.top.good("languages", n) and not known.prompts.names(language)
    ]
    return problems


def _start(draft: FlowDraft) -> list[Problem]:
    start = draft.flow.start
    if start in draft.names or not draft.top.good("start") or not draft.names:
        return []
    message = f"the flow starts at '{start}', which no node defines"
    return [draft.flow.source.problem(("start",), message, _node_hint(draft, start))]


def _open(view: View, edge: Edge) -> bool:
    """Whether something may be said about an edge: neither its target nor what holds it is wrong itself."""
    return view.draft.good(*view.at, *edge.path)


def _targets(draft: FlowDraft) -> list[Problem]:
    out: dict[YamlPath, Problem] = {}
    source = draft.flow.source
    for view in draft.views:
        for edge in view.verb.edges():
            path = (*view.at, *edge.path)
            if not _open(view, edge):
                continue
            if not edge.target and view.whole:
                message = f"dead end: node '{view.name}' does not say where {edge.what} leads"
                hint = f"add '{edge.path[-1]}: NODE', or '{edge.path[-1]}: hangup' to end the call"
                out[path] = source.problem(view.at, message, hint, key=True)
            elif edge.target and edge.target not in (*draft.names, HANGUP):
                message = f"{edge.what} goes to '{edge.target}', which no node defines"
                out[path] = source.problem(path, message, _node_hint(draft, edge.target))
    return list(out.values())


def _node_hint(draft: FlowDraft, word: str) -> str:
    if not (near := nearest(word, draft.names)):
        return did_you_mean(word, draft.names)
    return f"did you mean '{near}' ({draft.flow.source.line(('nodes', near))})?"


def _ways(draft: FlowDraft) -> dict[str, set[str]]:
    """Node → nodes that it leads to, or that its author most likely meant it to lead to."""
    order = list(draft.top.model.nodes) if draft.top.model else []
    following = dict(pairwise(order))
    out: dict[str, set[str]] = {name: set() for name in draft.names}
    for view in draft.views:
        for edge in view.verb.edges():
            meant = edge.target if edge.target in draft.names else nearest(edge.target, draft.names)
            out[view.name].add(meant if edge.target else following.get(view.name, ""))
    for name, texts in draft.unread.items():
        out[name] |= {text if text in draft.names else nearest(text, draft.names) for text in texts}
        out[name].add(following.get(name, ""))
    return out


def _reached(draft: FlowDraft, through: Callable[[str], bool]) -> set[str]:
    """Nodes to which a way leads from the start, by nodes that may be gone `through`; misspelt and forgotten ways put
    right."""
    order = list(draft.top.model.nodes) if draft.top.model else []
    start = draft.flow.start
    meant = start if start in draft.names else nearest(start, draft.names)
    ways = _ways(draft)
    seen: set[str] = {""}
    todo = [meant or next(iter(order), "")]
    while todo:
        if (node := todo.pop()) not in seen:
            seen.add(node)
            todo += ways[node] if through(node) else ()
    return seen


def _too_late(draft: FlowDraft) -> list[Problem]:
    """Nodes that mean to speak before the answer, behind nodes that answer."""
    answering = {view.name for view in draft.views if view.verb.answers}
    before, ever = _reached(draft, lambda node: node not in answering), _reached(draft, lambda node: True)
    return [
        draft.flow.source.problem(
            (*view.at, "early"),
            f"node '{view.name}' can't be early: every way to it answers the call",
            "remove it; or let the nodes before be early too",
        )
        for view in draft.views
        if getattr(view.verb, "early", False) and view.name in ever - before
    ]


def _unreachable(draft: FlowDraft) -> list[Problem]:
    """Nodes to which no way leads, those left out that are reached once misspelt and forgotten ways are put right."""
    order = list(draft.top.model.nodes) if draft.top.model else []
    seen = _reached(draft, lambda node: True)
    return [
        draft.flow.source.problem(
            ("nodes", node), f"no way leads to node '{node}'", "remove it, or lead to it", key=True
        )
        for node in order
        if node not in seen
    ]


Place = tuple[str, str]
"""(flow, node)."""


def circles(drafts: Sequence[FlowDraft]) -> list[Problem]:
    """Nodes that take no time must not lead back to themselves by such nodes alone, nor flows by `goto`."""
    by_name = {draft.flow.name: draft.flow for draft in drafts}
    ways = {
        (flow.name, name): _quick_ways(by_name, flow, name)
        for flow in by_name.values()
        for name, verb in flow.nodes.items()
        if not verb.WAITS
    }
    found: dict[frozenset[Place], list[Place]] = {}
    done: set[Place] = set()
    for root in ways:
        _search(root, ways, done, found)
    order = {place: n for n, place in enumerate(ways)}
    return [_circle(by_name, circle, order) for circle in found.values()]


def _quick_ways(flows: Mapping[str, Flow], flow: Flow, name: str) -> list[Place]:
    verb = flow.nodes[name]
    if isinstance(verb, Goto):
        return [(verb.goto, flows[verb.goto].start)] if verb.goto in flows else []
    return [(flow.name, target) for target in flow.targets[name].values()]


def _search(
    root: Place, ways: Mapping[Place, Sequence[Place]], done: set[Place], found: dict[frozenset[Place], list[Place]]
) -> None:
    """Depth first from a root, without recursion: flows may be long. A way back to where we are is a circle."""
    trail: list[Place] = []
    on_trail: set[Place] = set()
    stack = [(root, False)]
    while stack:
        place, leaving = stack.pop()
        if leaving:
            trail.pop()
            on_trail.discard(place)
            done.add(place)
        elif place not in done and place not in on_trail:
            trail.append(place)
            on_trail.add(place)
            stack.append((place, True))
            for target in ways[place]:
                if target in on_trail:
                    circle = trail[trail.index(target) :]
                    found.setdefault(frozenset(circle), circle)
                elif target in ways:
                    stack.append((target, False))


def _circle(flows: Mapping[str, Flow], circle: list[Place], order: Mapping[Place, int]) -> Problem:
    """Told at the node that stands first."""
    first = circle.index(min(circle, key=order.__getitem__))
    turned = [*circle[first:], *circle[:first], circle[first]]
    one = len({flow for flow, _ in circle}) == 1
    shown = " → ".join(node if one else f"{flow}/{node}" for flow, node in turned)
    flow, node = turned[0]
    message = f"an endless circle: '{node}' comes back to itself without waiting ({shown})"
    hint = "put a node that takes time into it, such as play or menu, or lead out of it"
    return flows[flow].source.problem(("nodes", node), message, hint, key=True)


def _uses(flow: Flow, view: View, known: Known) -> list[Problem]:
    out = []
    for use in view.verb.uses():
        path = view.at + use.path
        if not view.draft.good(*path) and not (use.kind == "skill" and path not in view.draft.keys):
            continue
        if use.kind == "prompt":
            out += _prompt(flow, use.name, path, known.prompts)
            continue
        names = known.names(use.kind)
        if names is not None and use.name not in names:
            message = f"unknown {use.kind} '{use.name}': {WHERE[use.kind]} has none of that name"
            hint = did_you_mean(use.name, names)
            out.append(flow.source.problem(path, message, hint, key=use.kind == "skill"))
    return out


def _prompt(flow: Flow, name: str, path: YamlPath, prompts: PromptBook) -> list[Problem]:
    """Languages that have no clip at all are told where they are named."""
    spoken = [language for language in flow.languages if prompts.names(language)]
    missing = [language for language in spoken if not prompts.has(f"{language}/{name}")]
    if not missing:
        return []
    hint = "record it, or add its text to prompts.yaml and run 'callwright prompts render'"
    if len(missing) == len(spoken):
        near = nearest(name, (n for language in spoken for n in prompts.names(language)))
        hint = f"did you mean '{near}'?" if near else hint
    files = " and ".join(f"prompts/{language}/{name}.wav" for language in missing)
    return [flow.source.problem(path, f"prompt '{name}' has no {files}", hint)]


def _texts(flow: Flow, view: View, known: Known) -> list[Problem]:
    """Expressions and templates: well formed, and asking for attributes that something sets."""
    out = []
    asked: list[tuple[str, YamlPath]] = []
    for text, path in view.verb.expressions():
        if not view.draft.good(*view.at, *path):
            continue
        try:
            asked += [(name, path) for name in sorted(compile_expression(text).names)]
        except ExpressionError as error:
            out.append(flow.source.problem(view.at + path, f"in '{text}': {error}"))
    for text, path in view.verb.templates():
        asked += [(name, path) for name in TEMPLATE.findall(text)]
    for name, path in asked:
        if known.attributes is not None and name not in known.attributes:
            message = f"no flow sets the attribute '{name}'"
            out.append(flow.source.problem(view.at + path, message, did_you_mean(name, known.attributes)))
    return out


def _skills_by_attribute(flow: Flow, view: View, verb: Enqueue, known: Known) -> list[Problem]:
    """`{language}: 3` asks for each skill that the attribute may name."""
    out = []
    for skill in verb.skills:
        found = TEMPLATE.fullmatch(skill)
        if found is None or known.skills is None or known.attributes is None:
            continue
        for value in sorted(known.attributes.get(found.group(1), frozenset()) - known.skills - {""}):
            message = f"'{skill}' may be '{value}', which {WHERE['skill']} does not have"
            path = (*view.at, "skills", skill)
            out.append(flow.source.problem(path, message, did_you_mean(value, known.skills), key=True))
    return out
