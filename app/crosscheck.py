"""Mistakes that no file shows alone: names that point from one to another, and times that must be dates and zones."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo, available_timezones

from app import sections
from ivr.check import Known, attributes, check_flow
from ivr.hours import WEEKDAYS, Calendar, Day, parse_dates, parse_day, parse_weekdays
from ivr.model import Flow
from ivr.prompts import PromptBook, fault
from ivr.speech import vocabulary
from kernel.yamlsrc import Problem, Source, YamlPath, did_you_mean

T = TypeVar("T")

RESERVED_REASONS = frozenset(("rona", "unreachable"))
"""Not-ready reasons that the ACD gives itself."""
PROMPT_PROBLEMS_SHOWN = 10

Parts = tuple[
    sections.Callwright | None,
    sections.Skills | None,
    sections.Agents | None,
    sections.Queues | None,
    sections.Hours | None,
]


def calendars(hours: sections.Hours | None, source: Source) -> tuple[dict[str, Calendar], list[Problem]]:
    """hours.yaml's texts as calendars."""
    out: dict[str, Calendar] = {}
    problems: list[Problem] = []
    zones = available_timezones() if hours and hours.calendars else set()
    for name, text in hours.calendars.items() if hours else ():
        at: YamlPath = ("calendars", name)
        if text.timezone not in zones:
            message = f"'{text.timezone}' is not an IANA time zone"
            problems.append(source.problem((*at, "timezone"), message, did_you_mean(text.timezone, zones)))
            continue
        weekly, found = _weekly(text, source, at)
        problems += found
        exceptions: dict[date, Day] = {}
        for dates, spans in text.exceptions.items():
            path = (*at, "exceptions", dates)
            days = _parsed(parse_dates, dates, source, path, problems, key=True) or []
            hours_of_day = _parsed(parse_day, ", ".join(spans), source, path, problems)
            exceptions |= dict.fromkeys(days, hours_of_day or ())
        out[name] = Calendar(ZoneInfo(text.timezone), weekly, exceptions)
    return out, problems


def _weekly(text: sections.CalendarText, source: Source, at: YamlPath) -> tuple[tuple[Day, ...], list[Problem]]:
    problems: list[Problem] = []
    days: dict[int, Day] = {}
    for names, spans in text.weekly.items():
        path = (*at, "weekly", names)
        hours_of_day = _parsed(parse_day, ", ".join(spans), source, path, problems)
        for day in _parsed(parse_weekdays, names, source, path, problems, key=True) or []:
            if day in days:
                problems.append(source.problem(path, f"the hours of {WEEKDAYS[day]} are given twice", key=True))
            days[day] = hours_of_day or ()
    return tuple(days.get(day, ()) for day in range(7)), problems


def _parsed(
    parse: Callable[[str], T], text: str, source: Source, path: YamlPath, problems: list[Problem], *, key: bool = False
) -> T | None:
    try:
        return parse(text)
    except ValueError as error:
        problems.append(source.problem(path, str(error), key=key))
        return None


def references(
    parts: Parts,
    sources: tuple[Source, Source, Source],
    opening: dict[str, Calendar],
    flows: Sequence[Flow],
    prompts: PromptBook,
    *,
    whole: bool,
) -> list[Problem]:
    """parts: the sections, None where broken; sources: of callwright, agents and queues. whole: all flows are there."""
    main, skills, agents, queues, hours = parts
    names = frozenset(flow.name for flow in flows) if whole else None
    known = Known(
        prompts=prompts,
        flows=names,
        queues=frozenset(queues.queues) if queues else None,
        skills=frozenset(skills.skills) if skills else None,
        calendars=frozenset(hours.calendars) if hours else None,
        attributes=attributes(flows),
    )
    problems = [problem for flow in flows for problem in check_flow(flow, known)] if whole else []
    if main:
        problems += _numbers(main, agents, names, sources[0]) + _sound(main, queues, prompts, sources)
    if agents:
        problems += _agents(agents, skills, queues, sources[1])
    if queues:
        problems += _queues(queues, skills, sources[2])
    return problems


def _unknown(
    kind: str, found: Iterable[tuple[str, YamlPath]], known: Iterable[str], source: Source, *, key: bool = False
) -> list[Problem]:
    names = set(known)
    return [
        source.problem(path, f"unknown {kind} '{name}'", did_you_mean(name, names), key=key)
        for name, path in found
        if name not in names
    ]


def _numbers(
    main: sections.Callwright, agents: sections.Agents | None, flows: frozenset[str] | None, source: Source
) -> list[Problem]:
    problems = []
    if flows is not None:
        problems += _unknown("flow", ((f, ("numbers", n)) for n, f in main.numbers.items()), flows, source)
    users = {agent.user: name for name, agent in agents.agents.items()} if agents else {}
    for number in main.numbers:
        path = ("numbers", number)
        if number.startswith("*"):
            problems.append(source.problem(path, f"'{number}': numbers with '*' are feature codes", key=True))
        if number in users:
            message = f"number '{number}' is the phone of agent '{users[number]}'"
            problems.append(source.problem(path, message, "give the agent another user", key=True))
    return problems


def _agents(
    agents: sections.Agents, skills: sections.Skills | None, queues: sections.Queues | None, source: Source
) -> list[Problem]:
    problems = []
    users: dict[str, str] = {}
    for name, agent in agents.agents.items():
        at: YamlPath = ("agents", name)
        if skills:
            problems += _unknown(
                "skill", ((s, (*at, "skills", s)) for s in agent.skills), skills.skills, source, key=True
            )
        if queues:
            listed = ((queue, (*at, "queues", n)) for n, queue in enumerate(agent.queues or ()))
            problems += _unknown("queue", listed, queues.queues, source)
        if (first := users.setdefault(agent.user, name)) != name:
            message = f"the phone '{agent.user}' is already that of agent '{first}'"
            hint = f"see {source.line(('agents', first))}"
            problems.append(source.problem((*at, "user"), message, hint))
    for key, reason in agents.not_ready_reasons.items():
        if reason in RESERVED_REASONS:
            problems.append(
                source.problem(("not_ready_reasons", key), f"the reason '{reason}' is given by the ACD alone")
            )
    return problems


def _queues(queues: sections.Queues, skills: sections.Skills | None, source: Source) -> list[Problem]:
    problems = []
    for name, queue in queues.queues.items():
        at: YamlPath = ("queues", name)
        if skills:
            problems += _unknown(
                "skill", ((s, (*at, "skills", s)) for s in queue.skills), skills.skills, source, key=True
            )
        if queue.overflow:
            path = (*at, "overflow", "queues")
            problems += _unknown("queue", ((q, path) for q in queue.overflow.queues), queues.queues, source)
            if name in queue.overflow.queues:
                problems.append(source.problem(path, f"queue '{name}' overflows into itself"))
    return problems


def _sound(
    main: sections.Callwright,
    queues: sections.Queues | None,
    prompts: PromptBook,
    sources: tuple[Source, Source, Source],
) -> list[Problem]:
    """Clips that no flow names: music, what queues say, and that every file is as the media plane wants it."""
    source, _, queue_source = sources
    problems = []
    wanted: list[tuple[str, Source, YamlPath]] = [(main.music, source, ("music",))]
    for name, queue in queues.queues.items() if queues else ():
        wanted += [(queue.music, queue_source, ("queues", name, "music"))] if queue.music else []
    for music, where, path in wanted:
        if not prompts.has(music):
            message = f"music '{music}' has no {prompts.folder.name}/{music}.wav in the flows' folder"
            problems.append(where.problem(path, message))
    for n, language in enumerate(main.languages):
        missing = [clip for clip in vocabulary(language) if not prompts.has(clip)]
        if missing and queues and queues.queues:
            shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
            message = f"language '{language}' lacks {len(missing)} clip(s) for numbers and queues: {shown}"
            hint = "run 'callwright prompts render'"
            problems.append(source.problem(("languages", n), message, hint))
    faults = [(clip, fault(Path(prompts.path(clip)))) for clip in sorted(prompts.clips)]
    bad = [Problem(f"{prompts.folder.name}/{clip}.wav", 1, 1, what) for clip, what in faults if what]
    return problems + bad[:PROMPT_PROBLEMS_SHOWN]
