"""The site as a whole: the example is good, and a bad one is told everything at once, in words."""

import shutil
from io import StringIO
from pathlib import Path

import pytest

from app.check import check
from app.settings import ConfigErrors, Site, load
from app.staffing import agents, queues
from ivr.hours import Opening

ROOT = Path(__file__).parents[3]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The example site, to be broken; prompts are the repository's own."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "ivr_flows").mkdir()
    for path in (ROOT / "ivr_flows").glob("*.yaml"):
        shutil.copy(path, tmp_path / "ivr_flows")
    (tmp_path / "ivr_flows" / "prompts").symlink_to(ROOT / "ivr_flows" / "prompts")
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def problems(site: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        load(site)
    return [str(problem) for problem in raised.value.problems]


def test_the_example_site_is_good_and_its_flow_tests_pass() -> None:
    out = StringIO()
    assert check(ROOT, out) == 0, out.getvalue()
    assert out.getvalue().startswith("Callwright demo hotline: 2 flows, 4 queues, 3 agents, ")


def test_what_the_example_says(site: Path) -> None:
    found = load(site)
    assert found.main.numbers == {"1001": "main"}
    assert [(at.transport, at.host, at.port) for at in found.main.sip.listen] == [
        ("udp", "127.0.0.1", 5060),
        ("tcp", "127.0.0.1", 5060),
    ]
    assert found.not_ready_reasons == {"1": "break", "2": "lunch", "3": "meeting"}
    assert found.database == f"sqlite+aiosqlite:///{site}/var/callwright.db"
    assert found.journal == site / "var/journal"
    assert found.calendars["hotline"].opening(0.0) is Opening.OPEN
    password = found.agents["li.na"].password
    assert password is not None
    assert password.get_secret_value() == "demo-8001"
    assert "demo-8001" not in repr(found)


def test_staffing_for_the_acd(site: Path) -> None:
    change(
        site / "config/queues.yaml",
        "{after: 120, queues: billing}",
        "{after: 9, queues: [billing]}",
    )
    change(site / "config/queues.yaml", "announce: {first: 5, every: 45}", "announce: {first: null}")
    found = load(site)
    by_name = {queue.name: queue for queue in queues(found)}
    assert by_name["sales"].overflow_after == 9  # type: ignore[index]
    assert by_name["sales"].overflow_queues == ("billing",)  # type: ignore[index]
    assert by_name["billing"].announce_first is None  # type: ignore[index]
    assert by_name["billing"].music == str(site / "ivr_flows/prompts/music.wav")  # type: ignore[index]
    assert {agent.aor: agent.skills["zh"] for agent in agents(found)} == {"8001": 10, "8002": 10, "8003": 4}


def test_the_version_follows_every_file(site: Path) -> None:
    before = load(site).version
    assert load(site).version == before
    change(site / "config/skills.yaml", "English", "english")
    assert load(site).version != before


def test_every_mistake_of_every_file_at_once(site: Path) -> None:
    """Syntax, schema and references, over all files; the text that the operator reads is pinned."""
    config = site / "config"
    change(config / "callwright.yaml", "udp:127.0.0.1:5060", "udp:localhost")
    change(config / "callwright.yaml", "processes: 1", "processes: none")
    change(config / "trunks.yaml", "127.0.0.0/8", "127.0.0.1/8")
    change(config / "agents.yaml", 'user: "8002"', 'user: "8001"')
    change(config / "agents.yaml", "password: demo-8003", "pasword: demo-8003")
    change(config / "queues.yaml", "skills: {billing: 1}", "skills: {biling: 1}")
    change(config / "queues.yaml", "queues: billing}", "queues: sales}")
    change(config / "hours.yaml", "timezone: Asia/Shanghai", "timezone: Asia/Shangai")
    change(config / "hours.yaml", "sat: 10:00-16:00", "sat: 10-16\n      sun, sat: closed")
    change(config / "hours.yaml", "2027-05-01", "2027-02-30")
    change(site / "ivr_flows/main.yaml", "choices:", "choises:")
    change(site / "ivr_flows/closed.yaml", "title:", "title: x:")
    assert problems(site) == [
        "config/agents.yaml:16:11: the phone '8001' is already that of agent 'li.na'\n  hint: see config/agents.yaml:9",
        "config/agents.yaml:22:5: unknown key 'pasword'\n  hint: did you mean 'password'?",
        "config/callwright.yaml:7:7: sip.listen: 'udp:localhost' is not transport:host:port, such as "
        "'udp:0.0.0.0:5060' or 'tcp:[::1]:5060'",
        "config/callwright.yaml:13:14: media.processes: 'none' is not a whole number 1…64",
        "config/hours.yaml:5:15: 'Asia/Shangai' is not an IANA time zone\n  hint: did you mean 'Asia/Shanghai'?",
        "config/hours.yaml:12:12: '10-16' is not a time span like '09:00-18:00', nor 'closed'",
        "config/hours.yaml:13:7: the hours of sat are given twice",
        "config/hours.yaml:16:7: '2027-02-30' is not in the calendar",
        "config/queues.yaml:7:14: unknown skill 'biling'\n  hint: did you mean 'billing'?",
        "config/queues.yaml:35:36: queue 'sales' overflows into itself",
        "config/trunks.yaml:4:16: trunks.loopback.networks: '127.0.0.1/8' is not a network such as '192.0.2.0/24' or "
        "'2001:db8::/32'; did you mean '127.0.0.0/8'?",
        "ivr_flows/closed.yaml:2:9: not valid YAML: mapping values are not allowed in this context\n"
        "  hint: text with ': ' in it must be in quotes",
        "ivr_flows/main.yaml:29:5: unknown key 'choises'\n  hint: did you mean 'choices'?",
    ]


def test_what_is_kept_and_mistakes_in_it(site: Path) -> None:
    config = site / "config/callwright.yaml"
    assert (load(site).main.journal.keep_days, load(site).main.disk.low_mb) == (0.0, 512)
    assert load(site).main.journal.segment_mb == 64.0
    change(
        config, "music: music", "journal: {keep_days: 90, keep_mb: 2000}\nrecordings: {keep_days: 1.5}\nmusic: music"
    )
    main = load(site).main
    assert (main.journal.keep_days, main.journal.keep_mb, main.recordings.keep_days) == (90.0, 2000, 1.5)
    change(config, "keep_days: 90, keep_mb: 2000}", "keep_days: -1, keep_md: 2000}")
    change(config, "keep_days: 1.5", "keep_days: long")
    line = next(n for n, text in enumerate(config.read_text().splitlines(), 1) if text.startswith("journal:"))
    assert problems(site) == [
        f"config/callwright.yaml:{line}:22: journal.keep_days: -1 is not 0…36500",
        f"config/callwright.yaml:{line}:26: unknown key 'keep_md'\n  hint: did you mean 'keep_mb'?",
        f"config/callwright.yaml:{line + 1}:25: recordings.keep_days: 'long' is not a number 0…36500",
    ]


def test_references_between_files(site: Path) -> None:
    config = site / "config"
    change(config / "callwright.yaml", '"1001": main', '"1001": mian\n  "8001": main\n  "*11": main')
    change(config / "callwright.yaml", "music: music", "music: jazz")
    change(config / "agents.yaml", 'user: "8002"', 'user: "8003"')
    change(config / "agents.yaml", "2: lunch", "2: rona")
    change(config / "agents.yaml", "skills: {support: 9,", "queues: [suport]\n    skills: {suport: 9,")
    assert problems(site) == [
        "config/agents.yaml:5:6: the reason 'rona' is given by the ACD alone",
        "config/agents.yaml:18:14: unknown queue 'suport'\n  hint: did you mean 'support'?",
        "config/agents.yaml:19:14: unknown skill 'suport'\n  hint: did you mean 'support'?",
        "config/agents.yaml:22:11: the phone '8003' is already that of agent 'wang.wei'\n"
        "  hint: see config/agents.yaml:14",
        "config/callwright.yaml:27:8: music 'jazz' has no prompts/jazz.wav in the flows' folder\n"
        "  hint: put a WAV file there: 8000 Hz, mono, 16 bit",
        "config/callwright.yaml:31:11: unknown flow 'mian'\n  hint: did you mean 'main'?",
        "config/callwright.yaml:32:3: number '8001' is the phone of agent 'li.na'\n  hint: give the agent another user",
        "config/callwright.yaml:33:3: '*11': numbers with '*' are feature codes",
    ]


def test_no_site_at_all(tmp_path: Path) -> None:
    assert problems(tmp_path) == ["config/callwright.yaml:1:1: cannot read the file: No such file or directory"]


def test_optional_files_may_be_absent(site: Path) -> None:
    for name in ("trunks", "skills", "agents", "queues", "hours"):
        (site / "config" / f"{name}.yaml").unlink()
    (site / "ivr_flows" / "main.yaml").write_text("{start: a, nodes: {a: {play: goodbye, next: hangup}}}")
    (site / "ivr_flows" / "closed.yaml").unlink()
    found = load(site)
    assert isinstance(found, Site)
    assert (found.trunks, found.agents, found.queues) == ({}, {}, {})


def test_check_prints_problems_and_fails(site: Path) -> None:
    change(site / "config/callwright.yaml", "music: music", "musik: music")
    out = StringIO()
    assert check(site, out) == 1
    assert out.getvalue() == (
        f"config/callwright.yaml:27:1: unknown key 'musik'\n  hint: did you mean 'music'?\n1 problem in {site}\n"
    )


def test_check_runs_flow_tests_and_shows_what_was_heard(site: Path) -> None:
    (site / "ivr_flows" / "main.test.yaml").unlink()
    change(site / "ivr_flows/closed.test.yaml", "      - play zh/goodbye en/goodbye\n", "")
    out = StringIO()
    assert check(site, out) == 1
    assert "closed.test.yaml:3:11: 'both languages, and the hours' failed\n  expected:\n    answer\n" in out.getvalue()
    assert "play zh/goodbye en/goodbye" in out.getvalue()
    assert out.getvalue().endswith("1 flow test, 1 failed\n")


def test_wrong_flow_tests_are_told(site: Path) -> None:
    (site / "ivr_flows" / "main.test.yaml").write_text("flow: mian\ntests: [{name: x, expect: []}]\n")
    (site / "ivr_flows" / "closed.test.yaml").write_text("flow: closed\ntests: [{name: x, at: noon, expect: []}]\n")
    out = StringIO()
    assert check(site, out) == 1
    assert "main.test.yaml:1:7: unknown flow 'mian'\n  hint: did you mean 'main'?" in out.getvalue()
    assert (
        "closed.test.yaml:2:23: tests.at: 'noon' is not a time like '2026-10-12 10:00 Asia/Shanghai'" in out.getvalue()
    )


def test_a_mistake_in_a_flow_test_is_told_beside_those_of_the_site(site: Path) -> None:
    change(site / "config/callwright.yaml", "music: music", "musik: music")
    change(site / "ivr_flows/main.test.yaml", "flow: main", "flow: mian")
    out = StringIO()
    assert check(site, out) == 1
    assert "config/callwright.yaml:27:1: unknown key 'musik'" in out.getvalue()
    assert "ivr_flows/main.test.yaml:2:7: unknown flow 'mian'\n  hint: did you mean 'main'?" in out.getvalue()
    assert "\n2 problems in " in out.getvalue()


def test_a_section_given_twice_counts_whole(site: Path) -> None:
    """The names of its second half are known, and its mistakes are told."""
    change(site / "config/queues.yaml", "  operator:\n", "queues:\n  operator:\n    colour: red\n")
    assert problems(site) == [
        "config/queues.yaml:36:1: the key 'queues' is given twice\n  hint: first at config/queues.yaml:4",
        "config/queues.yaml:38:5: unknown key 'colour'\n  hint: known: announce, display, exit_keys, max_calls, "
        "max_wait, music, overflow, priority, record, ring_for, service_level, skills and 3 more",
    ]


def test_a_file_of_the_wrong_name_is_told_and_what_points_into_it_is_not(site: Path) -> None:
    (site / "config/queues.yaml").rename(site / "config/queue.yaml")
    assert problems(site) == ["config/queue.yaml:1:1: no such file is read\n  hint: did you mean 'config/queues.yaml'?"]


def test_no_flows_folder(site: Path) -> None:
    change(site / "config/callwright.yaml", "\nnumbers:", "\npaths: {flows: flow}\nnumbers:")
    assert problems(site) == ["config/callwright.yaml:30:16: the flows' folder 'flow' does not exist"]


def test_flows_that_send_each_other_in_a_circle(site: Path) -> None:
    (site / "ivr_flows/a.yaml").write_text("{start: x, nodes: {x: {goto: b}}}")
    (site / "ivr_flows/b.yaml").write_text("{start: y, nodes: {y: {set: {z: z}, next: x}, x: {goto: a}}}")
    assert problems(site) == [
        "ivr_flows/a.yaml:1:20: an endless circle: 'x' comes back to itself without waiting (a/x → b/y → b/x → a/x)\n"
        "  hint: put a node that takes time into it, such as play or menu, or lead out of it"
    ]


def test_addresses_that_meet(site: Path) -> None:
    config = site / "config/callwright.yaml"
    change(config, "    - tcp:127.0.0.1:5060\n", "    - tcp:0.0.0.0:8080\n    - udp:[::]:20000\n    - udp:[::]:20000\n")
    assert problems(site) == [
        "config/callwright.yaml:8:7: sip.listen: port 8080 is the port of HTTP too\n  hint: choose another web.port",
        "config/callwright.yaml:9:7: sip.listen: port 20000 lies within the media ports 20000…29999\n"
        "  hint: choose another SIP port, or move media.first_port and media.last_port",
        "config/callwright.yaml:10:7: sip.listen: port 20000 lies within the media ports 20000…29999\n"
        "  hint: choose another SIP port, or move media.first_port and media.last_port",
        "config/callwright.yaml:10:7: udp port 20000 is listened on twice",
    ]


def test_a_queue_that_no_agent_could_serve_is_a_warning(site: Path) -> None:
    """It stops nothing: the agent may be hired tomorrow, and today's callers should not lose the other queues."""
    change(site / "config/queues.yaml", "skills: {billing: 1}", "skills: {billing: 9}")
    change(site / "config/queues.yaml", "skills: {sales: 1}", "skills: {sales: 10}")
    change(site / "config/queues.yaml", "queues: billing}", "queues: support}")
    warning = (
        "config/queues.yaml:5:3: warning: no agent could ever serve queue 'billing'\n"
        "  hint: lower its skills, give an agent those skills, or let it overflow"
    )
    assert [str(found) for found in load(site).warnings] == [warning]
    out = StringIO()
    assert check(site, out) == 0
    assert out.getvalue().startswith(f"{warning}\nCallwright demo hotline: ")


def test_a_pick_up_group_of_one_is_a_warning(site: Path) -> None:
    """A mistyped group would let nobody pick up anything, and nobody would know why."""
    agents = site / "config/agents.yaml"
    change(agents, "    password: demo-8001", "    password: demo-8001\n    pickup: [office, night]")
    change(agents, "    password: demo-8002", "    password: demo-8002\n    pickup: office")
    change(agents, "    password: demo-8003", "    password: demo-8003\n    pickup: ofice")
    assert [str(found) for found in load(site).warnings] == [
        "config/agents.yaml:13:13: warning: nobody but 'li.na' is in pick-up group 'night'\n  hint: known: office",
        "config/agents.yaml:25:13: warning: nobody but 'mary.jones' is in pick-up group 'ofice'\n"
        "  hint: did you mean 'office'?",
    ]
    change(agents, "pickup: ofice", 'pickup: ["of ice"]')
    assert [found.split(":", 1)[0] for found in problems(site)] == ["config/agents.yaml"]


def test_more_calls_than_ports_is_a_warning(site: Path) -> None:
    """Four ports a call: both legs' RTP and RTCP. Who has named no number of calls is not bothered."""
    main = site / "config/callwright.yaml"
    assert load(site).warnings == ()
    change(main, "sip:\n", "sip:\n  max_calls: 2501\n")
    (warning,) = load(site).warnings
    assert str(warning).startswith(
        "config/callwright.yaml:6:14: warning: ports 20000-29999 carry 2500 calls with an agent, not so many\n"
    )
    change(main, "max_calls: 2501", "max_calls: 2500")
    assert load(site).warnings == ()


def test_srtp_keys_that_anybody_can_read_are_warned_of(site: Path) -> None:
    """RFC 4568 §7: the keys are as secret as the SIP that carries them."""
    change(site / "config/callwright.yaml", "  rtp_timeout: 30", "  srtp: optional\n  rtp_timeout: 30")
    (site / "config/trunks.yaml").write_text("trunks: {t: {networks: [192.0.2.0/24], srtp: required}}\n")
    message = "SRTP keys are sent in SIP, which is not encrypted on udp:127.0.0.1:5060, tcp:127.0.0.1:5060"
    found = [str(warning).split("\n")[0] for warning in load(site).warnings if "SRTP" in str(warning)]
    assert found == [
        f"config/callwright.yaml:17:9: warning: {message}",
        f"config/trunks.yaml:1:46: warning: {message}",
    ]
