"""Mistakes that no file shows alone: names that point from one to another, addresses that get into each other's way.

Works on drafts: names of a partly broken file count as known, and only of a file that could not be parsed at all is
nothing known, so that references into it are not judged.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app import sections
from app.numbers import e164
from engine.sdp.crypto import SrtpPolicy
from ivr.check import Known, attributes, check_flow, circles
from ivr.load import FlowDraft
from ivr.prompts import PromptBook
from kernel.schema import Draft
from kernel.yamlsrc import Problem, YamlPath, did_you_mean

RESERVED_REASONS = frozenset(("rona", "unreachable"))
"""Not-ready reasons that the ACD gives itself."""
ENCRYPTED = frozenset(("tls", "wss"))
"""Of the transports."""
ANY_HOST = frozenset(("0.0.0.0", "::"))

Names = frozenset[str] | None
"""None: not known, so no name is called unknown."""


class Drafts(NamedTuple):
    """The files of config/."""

    main: Draft[sections.Callwright]
    trunks: Draft[sections.Trunks]
    skills: Draft[sections.Skills]
    agents: Draft[sections.Agents]
    queues: Draft[sections.Queues]
    hours: Draft[sections.Hours]


@dataclass(frozen=True, slots=True)
class Flows:
    """What the flows' folder holds."""

    drafts: Sequence[FlowDraft]
    names: Names
    """Of all files; None when there is no folder."""
    whole: bool
    """Every file could be parsed."""
    prompts: PromptBook


def names_of(draft: Draft[Any], section: str) -> Names:
    """The names that a file defines, in its mapping `section`."""
    return frozenset(getattr(draft.model, section)) if draft.model and draft.good(section) else None


def references(drafts: Drafts, flows: Flows) -> list[Problem]:
    known = Known(
        prompts=flows.prompts,
        flows=flows.names,
        queues=names_of(drafts.queues, "queues"),
        skills=names_of(drafts.skills, "skills"),
        calendars=names_of(drafts.hours, "calendars"),
        attributes=attributes(flows.drafts) if flows.whole else None,
    )
    problems = [problem for draft in flows.drafts for problem in check_flow(draft, known)]
    main = drafts.main
    country = main.model.country if main.model and main.good("country") else None
    return [
        *problems,
        *circles(flows.drafts),
        *_numbers(drafts.main, drafts.agents, flows.names),
        *_addresses(drafts.main),
        *_trunks(drafts.trunks, drafts.agents),
        *_unprovable_names(main, drafts.trunks),
        *_agents(drafts.agents, known, _outbound(drafts.trunks), country),
        *_queues(drafts.queues, known),
    ]


def _unknown(
    kind: str, found: Iterable[tuple[str, YamlPath]], known: Names, draft: Draft[Any], *, key: bool = False
) -> list[Problem]:
    """Names that nothing defines. key: they are keys; a wrong value beside one says nothing about it."""
    return [
        draft.source.problem(path, f"unknown {kind} '{name}'", did_you_mean(name, known or ()), key=key)
        for name, path in found
        if known is not None and name not in known and (path not in draft.keys if key else draft.good(*path))
    ]


def _numbers(main: Draft[sections.Callwright], agents: Draft[sections.Agents], flows: Names) -> list[Problem]:
    numbers = main.model.numbers if main.model else {}
    problems = _unknown("flow", ((flow, ("numbers", number)) for number, flow in numbers.items()), flows, main)
    users: dict[str, str] = {}
    for name, agent in agents.model.agents.items() if agents.model else ():
        if agent.user is not None:
            users.setdefault(agent.user, name)
    for number in numbers:
        path = ("numbers", number)
        if number.startswith("*"):
            message = f"'{number}': numbers with '*' are feature codes"
            problems.append(main.source.problem(path, message, key=True))
        if number in users:
            message = f"number '{number}' is the phone of agent '{users[number]}'"
            problems.append(main.source.problem(path, message, "give the agent another user", key=True))
    return problems


def _meet(one: str, other: str) -> bool:
    """Whether two hosts to listen on may be the same address."""
    return one == other or one in ANY_HOST or other in ANY_HOST


def _addresses(main: Draft[sections.Callwright]) -> list[Problem]:
    """Ports that two things want: SIP twice, SIP and RTP (UDP), SIP and HTTP (TCP)."""
    if main.model is None:
        return []
    media, web = main.model.media, main.model.web
    ranged = main.good("media", "first_port") and main.good("media", "last_port") and main.good("media", "host")
    problems = []
    seen: dict[tuple[str, str, int], YamlPath] = {}
    for n, at in enumerate(main.model.sip.listen):
        path: YamlPath = ("sip", "listen", n)
        if not main.sound(*path) or not at.port:
            continue
        kind = "udp" if at.transport == "udp" else "tcp"
        first = seen.setdefault((kind, at.host, at.port), path)
        if first != path:
            problems.append(main.source.problem(path, f"{kind} port {at.port} is listened on twice"))
        inside = ranged and at.transport == "udp" and media.first_port <= at.port <= media.last_port
        if inside and _meet(at.host, media.host):
            message = f"sip.listen: port {at.port} lies within the media ports {media.first_port}…{media.last_port}"
            hint = "choose another SIP port, or move media.first_port and media.last_port"
            problems.append(main.source.problem(path, message, hint))
        if kind == "tcp" and main.sound("web") and at.port == web.port and _meet(at.host, web.host):
            message = f"sip.listen: port {at.port} is the port of HTTP too"
            problems.append(main.source.problem(path, message, "choose another web.port"))
    return problems


def _outbound(trunks: Draft[sections.Trunks]) -> Names:
    """Names of the trunks that calls can go out by."""
    if trunks.model is None or not trunks.good("trunks"):
        return None
    return frozenset(name for name, trunk in trunks.model.trunks.items() if trunk.outbound is not None)


def _telephone(agents: Draft[sections.Agents], at: YamlPath, phone: str, country: str | None) -> list[Problem]:
    path = (*at, "phone")
    if not phone or country is None or not agents.good(*path):
        return []
    try:
        e164(phone, country)
    except ValueError as error:
        return [agents.source.problem(path, str(error))]
    return []


def _trunks(trunks: Draft[sections.Trunks], agents: Draft[sections.Agents]) -> list[Problem]:
    problems = [*_trunk_users(trunks, agents), *_trunk_names(trunks)]
    owners: dict[object, tuple[str, YamlPath]] = {}
    for name, trunk in trunks.model.trunks.items() if trunks.model else ():
        for n, network in enumerate(trunk.networks):
            path: YamlPath = ("trunks", name, "networks", n)
            if not trunks.good(*path):
                continue
            owner, first = owners.setdefault(network, (name, path))
            if first != path:
                message = f"the network '{network}' is already that of trunk '{owner}'"
                line = trunks.source.place(first)[0]
                problems.append(trunks.source.problem(path, message, f"see {trunks.source.file}:{line}"))
    return problems


def _trunk_names(trunks: Draft[sections.Trunks]) -> list[Problem]:
    """A name in certificates is that of one trunk."""
    problems = []
    owners: dict[str, tuple[str, YamlPath]] = {}
    for name, trunk in trunks.model.trunks.items() if trunks.model else ():
        for n, own in enumerate(trunk.trust.tls_names if trunk.trust else ()):
            path: YamlPath = ("trunks", name, "trust", "tls_names", n)
            owner, first = owners.setdefault(own.lower(), (name, path))
            if first != path:
                message = f"the name '{own}' is already that of trunk '{owner}'"
                line = trunks.source.place(first)[0]
                problems.append(trunks.source.problem(path, message, f"see {trunks.source.file}:{line}"))
    return problems


def _unprovable_names(main: Draft[sections.Callwright], trunks: Draft[sections.Trunks]) -> list[Problem]:
    """Trust in certificates that nobody is asked for. A TLS server that we connect to has shown its own."""
    if main.model is None or trunks.model is None or not main.sound("sip"):
        return []
    sip = main.model.sip
    listens = any(at.transport == "tls" for at in sip.listen)
    if listens and sip.tls is not None and sip.tls.client_ca:
        return []
    lacks = "no 'sip.tls.client_ca'" if listens else "no listener on 'tls'"
    return [
        trunks.source.problem(
            ("trunks", name, "trust", "tls_names"),
            f"nobody can prove these names: callwright.yaml has {lacks}",
            "sip: {listen: [tls:0.0.0.0:5061], tls: {…, client_ca: tls/carriers.pem}}",
        )
        for name, trunk in trunks.model.trunks.items()
        if trunk.trust is not None and not _connects_by_tls(trunk)
    ]


def _connects_by_tls(trunk: sections.Trunk) -> bool:
    return trunk.outbound is not None and any(target.transport == "tls" for target in trunk.outbound.targets)


def _trunk_users(trunks: Draft[sections.Trunks], agents: Draft[sections.Agents]) -> list[Problem]:
    """A digest user is one phone, or one trunk."""
    problems = []
    owners = {agent.user: f"agent '{name}'" for name, agent in agents.model.agents.items()} if agents.model else {}
    for name, trunk in trunks.model.trunks.items() if trunks.model else ():
        path = ("trunks", name, "inbound", "user")
        if trunk.inbound is None or not trunks.good(*path):
            continue
        owner = owners.setdefault(trunk.inbound.user, f"trunk '{name}'")
        if owner != f"trunk '{name}'":
            message = f"the user '{trunk.inbound.user}' is already that of {owner}"
            problems.append(trunks.source.problem(path, message))
    return problems


def _agents(agents: Draft[sections.Agents], known: Known, outbound: Names, country: str | None) -> list[Problem]:
    """outbound: trunks that calls can go out by. country: of the site; None when it is not known."""
    if agents.model is None:
        return []
    problems = []
    users: dict[str, str] = {}
    for name, agent in agents.model.agents.items():
        at: YamlPath = ("agents", name)
        skills = ((skill, (*at, "skills", skill)) for skill in agent.skills)
        problems += _unknown("skill", skills, known.skills, agents, key=True)
        listed = ((queue, (*at, "queues", n)) for n, queue in enumerate(agent.queues or ()))
        problems += _unknown("queue", listed, known.queues, agents)
        through = ((trunk, (*at, "trunks", n)) for n, trunk in enumerate(agent.trunks))
        problems += _unknown("trunk to call out by", through, outbound, agents)
        problems += _telephone(agents, at, agent.phone, country)
        if agent.user is not None and agents.good(*at, "user"):
            problems += _user(agents, name, agent.user, users.setdefault(agent.user, name))
    for key, reason in agents.model.not_ready_reasons.items():
        if reason in RESERVED_REASONS:
            message = f"the reason '{reason}' is given by the ACD alone"
            problems.append(agents.source.problem(("not_ready_reasons", key), message))
    return problems


def _user(agents: Draft[sections.Agents], name: str, user: str, first: str) -> list[Problem]:
    path = ("agents", name, "user")
    out = []
    if first != name:
        message = f"the phone '{user}' is already that of agent '{first}'"
        out.append(agents.source.problem(path, message, f"see {agents.source.line(('agents', first))}"))
    if user.startswith("*"):
        out.append(agents.source.problem(path, f"'{user}': numbers with '*' are feature codes"))
    return out


def _queues(queues: Draft[sections.Queues], known: Known) -> list[Problem]:
    problems = []
    for name, queue in queues.model.queues.items() if queues.model else ():
        at: YamlPath = ("queues", name)
        skills = ((skill, (*at, "skills", skill)) for skill in queue.skills)
        problems += _unknown("skill", skills, known.skills, queues, key=True)
        for n, other in enumerate(queue.overflow.queues if queue.overflow else ()):
            path = (*at, "overflow", "queues", n)
            problems += _unknown("queue", [(other, path)], known.queues, queues)
            if name == other:
                problems.append(queues.source.problem(path, f"queue '{name}' overflows into itself"))
    return problems


def warnings(drafts: Drafts) -> list[Problem]:
    """What is probably not meant, but may be for now."""
    return [*_portless(drafts.main), *_readable_keys(drafts), *_unserved(drafts), *_lonely(drafts.agents)]


def _lonely(agents: Draft[sections.Agents]) -> list[Problem]:
    """Pick-up groups of one agent: there is nobody whose calls he could take. Mostly a name that is misspelt."""
    if not agents.model or not agents.good("agents"):
        return []
    groups = {
        name: agent.pickup for name, agent in agents.model.agents.items() if agents.good("agents", name, "pickup")
    }
    sizes = Counter(group for mine in groups.values() for group in set(mine))
    others = sorted(group for group, size in sizes.items() if size > 1)
    return [
        agents.source.problem(
            ("agents", name, "pickup"),
            f"warning: nobody but '{name}' is in pick-up group '{group}'",
            did_you_mean(group, others),
        )
        for name, mine in groups.items()
        for group in mine
        if sizes[group] == 1
    ]


def _portless(main: Draft[sections.Callwright]) -> list[Problem]:
    """More calls than the RTP ports can carry, when somebody has asked for so many: each leg takes two of them (RTP and
    RTCP), and a call that talks has two legs."""
    if main.model is None or "max_calls" not in main.model.sip.model_fields_set or not main.sound("media"):
        return []
    media = main.model.media
    carried = (media.last_port - media.first_port + 1) // 4
    if main.model.sip.max_calls <= carried:
        return []
    message = f"warning: ports {media.first_port}-{media.last_port} carry {carried} calls with an agent, not so many"
    hint = "widen media.first_port … media.last_port; calls beyond that get 503"
    return [main.source.problem(("sip", "max_calls"), message, hint)]


def _readable_keys(drafts: Drafts) -> list[Problem]:
    """SRTP whose keys (RFC 4568) pass in SIP that anybody on the way can read."""
    main, trunks = drafts.main, drafts.trunks
    if main.model is None or not main.sound("sip", "listen"):
        return []
    open_ones = [f"{at.transport}:{at.host}:{at.port}" for at in main.model.sip.listen if at.transport not in ENCRYPTED]
    wanted: list[tuple[Draft[Any], YamlPath, SrtpPolicy | None]] = [
        (trunks, ("trunks", name, "srtp"), trunk.srtp)
        for name, trunk in (trunks.model.trunks.items() if trunks.model else ())
    ]
    return [
        draft.source.problem(
            path,
            f"warning: SRTP keys are sent in SIP, which is not encrypted on {', '.join(open_ones)}",
            "listen on tls: only, or let phones and trunks that use SRTP register and call over TLS",
        )
        for draft, path, policy in [(main, ("media", "srtp"), main.model.media.srtp), *wanted]
        if open_ones and draft.good(*path) and policy not in (None, SrtpPolicy.FORBIDDEN)
    ]


def _unserved(drafts: Drafts) -> list[Problem]:
    """Queues that no agent could ever serve. Nothing is said when an agent has a mistake, which may be the very
    reason."""
    agents, queues = drafts.agents, drafts.queues
    skills, names = names_of(drafts.skills, "skills"), names_of(queues, "queues")
    if not agents.model or not agents.model.agents or not queues.model or skills is None or names is None:
        return []
    staff = agents.model.agents
    if agents.broken or any(set(agent.skills) - skills or set(agent.queues or ()) - names for agent in staff.values()):
        return []
    served = {
        name
        for name, queue in queues.model.queues.items()
        if not queues.sound("queues", name)
        or set(queue.skills) - skills
        or any(_may_serve(agent, name, queue) for agent in staff.values())
    }
    return [
        queues.source.problem(
            ("queues", name),
            f"warning: no agent could ever serve queue '{name}'",
            "lower its skills, give an agent those skills, or let it overflow",
            key=True,
        )
        for name, queue in queues.model.queues.items()
        if name not in served and not (queue.overflow and served.intersection(queue.overflow.queues))
    ]


def _may_serve(agent: sections.Agent, name: str, queue: sections.Queue) -> bool:
    listed = agent.queues is None or name in agent.queues
    return listed and all(agent.skills.get(skill, 0) >= level for skill, level in queue.skills.items())
