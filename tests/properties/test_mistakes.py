"""Every mistake is told at its own line, whatever other mistakes are made beside it, and nothing else is told.

The example site is changed by a random choice from a catalogue of mistakes. Each is an edit of one file: a text that it
has, and its replacement, in which § stands before the place of each problem that must be told. An edit whose text
another edit has changed is left out; all else may come together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.settings import ConfigErrors, load
from kernel.yamlsrc import Problem

ROOT = Path(__file__).parents[2]
MAIN, TRUNKS, SKILLS = "config/callwright.yaml", "config/trunks.yaml", "config/skills.yaml"
AGENTS, QUEUES, HOURS = "config/agents.yaml", "config/queues.yaml", "config/hours.yaml"
FLOW, CLOSED = "ivr_flows/main.yaml", "ivr_flows/closed.yaml"
FILES = (MAIN, TRUNKS, SKILLS, AGENTS, QUEUES, HOURS, FLOW, CLOSED)


@dataclass(frozen=True)
class Mistake:
    file: str
    old: str
    new: str
    told: tuple[str, ...]
    """In the message of the problem at each §."""
    into: tuple[str, ...] = ()
    """Files without which this cannot be judged."""


def mistake(file: str, old: str, new: str, *told: str, into: str | tuple[str, ...] = ()) -> Mistake:
    return Mistake(file, old, new, told, (into,) if isinstance(into, str) else into)


# fmt: off
CATALOGUE = (
    # Unknown and repeated keys
    mistake(MAIN, "name: Callwright", "§nmae: Callwright", "unknown key 'nmae'"),
    mistake(MAIN, "\nnumbers:", "\n§music: jazz\nnumbers:", "the key 'music' is given twice"),
    mistake(MAIN, '"1001": main', '"1001": main\n  §1001: main', "the key '1001' is given twice"),
    mistake(QUEUES, "skills: {billing: 1}", "§skils: {§biling: 1}", "unknown key 'skils'", "unknown skill 'biling'",
            into=SKILLS),
    mistake(FLOW, "title: 1001", "§titel: 1001", "unknown key 'titel'"),
    mistake(FLOW, "tries: 3", "§trys: 3", "unknown key 'trys'"),
    mistake(FLOW, "\n  goodbye:", "\n  goodbye: {hangup: }\n  §goodbye:", "the key 'goodbye' is given twice"),
    # Missing keys
    mistake(AGENTS, "mary.jones:\n    display: Mary Jones\n    user: \"8003\"\n    password: demo-8003",
            "mary.jones:\n    §display: Mary Jones\n    user: \"8003\"", "needs either 'password' or 'ha1'"),
    mistake(QUEUES, "    display: 人工服务 Operator\n    ring", "    §ring", "queues.operator: 'display' is missing"),
    mistake(TRUNKS, "networks: [127.0.0.0/8, \"::1/128\"]\n    max", "§max",
            "a trunk needs 'networks', 'trust', 'inbound' or 'outbound'"),
    # Wrong values
    mistake(MAIN, "udp:127.0.0.1:5060", "§udp:127.0.0.1:99999", "sip.listen: port 99999 is not 0…65535"),
    mistake(MAIN, "udp:127.0.0.1:5060", "§udp:127.0.0.1:20005", "sip.listen: port 20005 lies within the media ports"),
    mistake(MAIN, "tcp:127.0.0.1:5060", "§tpc:127.0.0.1:5060", "is not transport:host:port"),
    mistake(MAIN, "processes: 1", "processes: §two", "media.processes: 'two' is not a whole number 1…64"),
    mistake(MAIN, "codecs: [PCMA, PCMU]", "codecs: [PCMA, §PCNU]", "media.codecs: 'PCNU' is not PCMU or PCMA"),
    mistake(MAIN, "rtp_timeout: 30", "rtp_timeout: §-1", "media.rtp_timeout: -1 is not 0…3600"),
    mistake(MAIN, "port: 8080", "port: §http", "web.port: 'http' is not a whole number 0…65535"),
    mistake(TRUNKS, "127.0.0.0/8", "§127.0.0.1/8", "'127.0.0.1/8' is not a network"),
    mistake(TRUNKS, "max_calls: 5000", "max_calls: §0", "trunks.loopback.max_calls: 0 is not 1…100000"),
    mistake(TRUNKS, "\n  loopback:",
            "\n  other: {networks: [127.0.0.0/9]}\n  third: {networks: [§127.0.0.0/9]}\n  loopback:",
            "the network '127.0.0.0/9' is already that of trunk 'other'"),
    mistake(SKILLS, "  zh: 普通话", "  fr: §[français]\n  zh: 普通话", "skills.fr: should be text, not a list"),
    mistake(AGENTS, "3: meeting", "3: §unreachable", "the reason 'unreachable' is given by the ACD alone"),
    mistake(AGENTS, "{sales: 9, billing: 5", "{sales: §90, billing: 5", "mary.jones.skills.sales: 90 is not 1…10"),
    mistake(QUEUES, "skills: {sales: 1}", "skills: {sales: §11}", "queues.sales.skills.sales: 11 is not 1…10"),
    mistake(QUEUES, "max_wait: 300", "max_wait: §long", "queues.sales.max_wait: 'long' is not a number above 0"),
    mistake(QUEUES, "queues:\n  billing:", "queues:\n  §Night desk: {display: x}\n  billing:", "is not a name"),
    mistake(HOURS, "  hotline: # all day, every day\n    timezone: Asia/Shanghai",
            "  hotline: # all day, every day\n    timezone: §Asia/Shangai", "'Asia/Shangai' is not an IANA time zone"),
    mistake(HOURS, "mon-sun: 00:00-24:00", "mon-sun: §00:00-25:00", "'00:00-25:00' is not within 00:00-24:00"),
    mistake(HOURS, "mon-fri: 09:00-18:00", "§mon-frei: 09:00-18:00", "'mon-frei' names no weekdays"),
    mistake(HOURS, "sat: 10:00-16:00", "sat: §[10:00-16:00, 15:00-17:00]", "overlap"),
    mistake(HOURS, "2027-05-01: closed", "§2027-05-32: closed", "'2027-05-32' is not in the calendar"),
    mistake(FLOW, "set: {language: zh}", "set: {§Language: zh}", "the key 'Language' is not a name"),
    mistake(FLOW, "timeout: 5", "timeout: §500", "nodes.service.timeout: 500 is not above 0 and up to 120"),
    mistake(FLOW, "2: {to: support,", "§22: {to: support,", "the key '22' is not one of 0-9 * #"),
    mistake(FLOW, 'when: language == "zh"', "when: §language ==", "in 'language =='"),
    mistake(FLOW, "say: office\n    as: hours", "say: office\n    as: §hour", "sales_hours.as: 'hour' is not number"),
    # Names that nothing defines
    mistake(MAIN, "music: music\nlang", "music: §jazz\nlang", "music 'jazz' has no prompts/jazz.wav"),
    mistake(MAIN, "languages: [zh, en]", "languages: [zh, §fr, en]", "language 'fr' has no clips"),
    mistake(MAIN, "numbers:\n", 'numbers:\n  "1002": §mian\n', "unknown flow 'mian'"),
    mistake(MAIN, "numbers:\n", 'numbers:\n  §"8001": main\n', "number '8001' is the phone of agent 'li.na'",
            into=AGENTS),
    mistake(AGENTS, "{billing: 8, support: 4", "{§biling: 8, support: 4", "unknown skill 'biling'", into=SKILLS),
    mistake(AGENTS, "{billing: 8, support: 4", "{§biling: §80, support: 4", "unknown skill 'biling'", "is not 1…10",
            into=SKILLS),
    mistake(AGENTS, 'user: "8002"', 'user: §"8001"', "the phone '8001' is already that of agent 'li.na'"),
    mistake(AGENTS, "password: demo-8002", "queues: [§suport]\n    password: demo-8002", "unknown queue 'suport'",
            into=QUEUES),
    mistake(QUEUES, "skills: {support: 1}", "skills: {§suport: 1}", "unknown skill 'suport'", into=SKILLS),
    mistake(QUEUES, "queues: billing}", "queues: §biling}", "unknown queue 'biling'"),
    mistake(FLOW, "start: answer", "start: §anser", "the flow starts at 'anser', which no node defines"),
    mistake(FLOW, "hours: hotline", "hours: §hotlin", "unknown calendar 'hotlin'", into=HOURS),
    mistake(FLOW, "play: welcome", "play: §welcom", "prompt 'welcom' has no", into=MAIN),
    mistake(FLOW, "silent: no_key", "silent: §no_kay", "prompt 'no_kay' has no", into=MAIN),
    mistake(FLOW, "1: {to: billing,", "1: {to: §biling,", "choice '1' goes to 'biling', which no node defines"),
    mistake(FLOW, "9: other_language", "9: §other_langage", "choice '9' goes to 'other_langage'"),
    mistake(FLOW, "enqueue: support", "enqueue: §suport", "unknown queue 'suport'", into=QUEUES),
    mistake(FLOW, 'enqueue: sales\n    skills: {"{language}": 3}', 'enqueue: sales\n    skills: {§"{langage}": 3}',
            "no flow sets the attribute 'langage'", into=CLOSED),
    mistake(FLOW, "goto: closed", "goto: §close", "unknown flow 'close'"),
    mistake(CLOSED, "next: sorry", "next: §sory", "'next' goes to 'sory', which no node defines"),
    mistake(CLOSED, "say: hotline", "say: §hotlines", "unknown calendar 'hotlines'", into=HOURS),
    # Verbs and ways
    mistake(FLOW, "enqueue: billing", "§enque: §biling", "unknown verb 'enque'", "unknown queue 'biling'", into=QUEUES),
    mistake(FLOW, "play: to_a_person", "§plya: to_a_person", "unknown verb 'plya'"),
    mistake(FLOW, "hours: office", "hours: office\n    §play: welcome", "node 'sales_open' has two verbs"),
    mistake(FLOW, "sales_closed:\n    play: department_closed\n    next: sales_hours",
            "§sales_closed:\n    play: department_closed", "dead end: node 'sales_closed'"),
    mistake(FLOW, "play: all_busy\n    next: goodbye", "play: all_busy\n    next: §godbye", "'next' goes to 'godbye'"),
    mistake(FLOW, "\n  closed:\n", "\n  §lonely:\n    hangup:\n  closed:\n", "no way leads to node 'lonely'"),
    mistake(FLOW, "chinese:\n    set: {language: zh}\n    next: service",
            "§chinese:\n    set: {language: zh}\n    next: other_language",
            "'chinese' comes back to itself without waiting (chinese → other_language → chinese)"),
    mistake(CLOSED, "play: goodbye\n    next: hangup", "play: goodbye\n    next: hangup\n    §colour: red",
            "unknown key 'colour'"),
)
# fmt: on

Told = tuple[str, int, str]
"""(file, line, part of the message)."""


def broken(texts: dict[str, str], mistakes: list[Mistake]) -> Iterator[tuple[Mistake, Told]]:
    """Makes the mistakes in the texts, and gives what must be told of each. A private character keeps each place."""
    places: list[tuple[Mistake, str, str]] = []
    for made in mistakes:
        if made.old not in texts[made.file]:
            continue
        new = made.new
        for message in made.told:
            mark = chr(0xE000 + len(places))
            new = new.replace("§", mark, 1)
            places.append((made, mark, message))
        texts[made.file] = texts[made.file].replace(made.old, new, 1)
    lines = {mark: texts[made.file].split(mark)[0].count("\n") + 1 for made, mark, _ in places}
    for file, text in texts.items():
        texts[file] = "".join(letter for letter in text if not "\ue000" <= letter <= "\uf8ff")
    for made, mark, message in places:
        yield made, (made.file, lines[mark], message)


def told_of(texts: dict[str, str]) -> list[Problem]:
    with TemporaryDirectory() as folder:
        site = Path(folder)
        for name in ("config", "ivr_flows"):
            (site / name).mkdir()
        (site / "ivr_flows" / "prompts").symlink_to(ROOT / "ivr_flows" / "prompts")
        for file, text in texts.items():
            (site / file).write_text(text)
        try:
            load(site)
        except ConfigErrors as errors:
            return errors.problems
    return []


def originals() -> dict[str, str]:
    return {file: (ROOT / file).read_text() for file in FILES}


def unexplained(problems: list[Problem], expected: list[Told]) -> list[str]:
    """What should have been told, and what should not."""
    rest = list(problems)
    out = []
    for file, line, message in expected:
        found = next((p for p in rest if p.file == file and p.line == line and message in p.message), None)
        if found is None:
            out.append(f"not told: {file}:{line}: {message}")
        else:
            rest.remove(found)
    return out + [f"told without reason: {problem}" for problem in rest]


@pytest.mark.parametrize("made", CATALOGUE, ids=lambda made: made.told[0])
def test_each_mistake_alone(made: Mistake) -> None:
    texts = originals()
    expected = [told for _, told in broken(texts, [made])]
    assert len(expected) == len(made.told)
    assert unexplained(told_of(texts), expected) == []


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(CATALOGUE), unique=True, min_size=2, max_size=12))
def test_mistakes_beside_each_other(mistakes: list[Mistake]) -> None:
    texts = originals()
    expected = [told for _, told in broken(texts, mistakes)]
    assert unexplained(told_of(texts), expected) == []


def test_all_mistakes_together() -> None:
    texts = originals()
    expected = [told for _, told in broken(texts, list(CATALOGUE))]
    assert len(expected) > 50
    assert unexplained(told_of(texts), expected) == []


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(FILES), st.lists(st.sampled_from(CATALOGUE), unique=True, min_size=1, max_size=12))
def test_a_file_that_cannot_be_parsed_hides_only_itself_and_what_points_into_it(
    file: str, mistakes: list[Mistake]
) -> None:
    texts = originals()
    made = list(broken(texts, mistakes))
    texts[file] = "]\n" + texts[file]
    expected = [told for one, told in made if file not in (one.file, *one.into)]
    may_be_told = [told for one, told in made if file in one.into]
    problems = told_of(texts)
    for where, line, message in may_be_told:
        problems = [p for p in problems if (p.file, p.line) != (where, line) or message not in p.message]
    assert unexplained(problems, [*expected, (file, 1, "not valid YAML")]) == []
