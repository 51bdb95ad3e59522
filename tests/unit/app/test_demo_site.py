"""The demo's copy of a site, its feed and its view."""

import io
import socket
from pathlib import Path

import pytest
from rich.console import Console

from app.demo.feed import Feed
from app.demo.site import RING_FOR, free_ports, prepare
from app.demo.view import Heard, Scene, line, screen, summary
from app.plan import Listen
from app.settings import load
from app.status import site_names
from events.journal import Journal
from events.types import AgentState, AgentStateChanged, CallArrived, CallEnded, CallOutcome, CallQueued, EndedBy
from kernel.clock import Clock
from kernel.ids import AgentName, CallId, QueueName

ROOT = Path(__file__).resolve().parents[3]
BEGAN = 1_800_000_000.0


def test_the_copy_is_a_site_that_serves_at_once_and_keeps_everything_to_itself(tmp_path: Path) -> None:
    made = prepare(ROOT, tmp_path, None)
    copied = load(tmp_path)
    assert [desk.user for desk in made.desks] == ["8001", "8002", "8003"]
    assert made.numbers == ("1001",)
    assert {queue.ring_for for queue in copied.queues.values()} == {RING_FOR}
    assert copied.database == f"sqlite+aiosqlite:///{tmp_path}/var/callwright.db"
    assert tmp_path in copied.recordings.parents
    assert copied.flows.keys() == load(ROOT).flows.keys()


def test_more_agents_are_made_up_and_fewer_leave_one_for_the_visitor(tmp_path: Path) -> None:
    many = prepare(ROOT, tmp_path / "many", 5)
    assert [desk.user for desk in many.desks] == ["8001", "8002", "8003", "8004", "8005"]
    assert load(tmp_path / "many").agents["demo.4"].skills
    few = prepare(ROOT, tmp_path / "few", 1)
    assert [desk.name for desk in few.desks] == ["li.na"]
    assert len(load(tmp_path / "few").agents) == 3


def test_taken_ports_are_left_to_whoever_has_them() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        both = [Listen("udp", "127.0.0.1", port), Listen("tcp", "127.0.0.1", port)]
        udp, tcp = free_ports(both)
    assert udp.port == tcp.port != port


@pytest.fixture
def scene() -> Scene:
    names = site_names(load(ROOT))
    return Scene(names=names, sip="127.0.0.1:5060", http="http://127.0.0.1:8080", visitor="[x]", began=BEGAN - 60)


def feed(tmp_path: Path) -> Feed:
    """After a call that waits, one that gave up, and an agent's feature code."""
    journal = Journal.open(tmp_path, Clock(lambda: 0.0, BEGAN))
    for call, caller, dialled in (("c1", "0105550001", "1001"), ("c2", "0105550002", "1001"), ("c3", "8001", "*13")):
        journal.append(
            CallArrived(
                call=CallId(call),
                sip_call_id="x",
                caller=caller,
                caller_name="张伟\x1b[2J",
                dialled=dialled,
                source="udp:127.0.0.1:5062",
                trunk="loopback",
            )
        )
    journal.append(
        CallQueued(call=CallId("c1"), queue=QueueName("billing"), skills={"billing": 1}, priority=0, position=1)
    )
    journal.append(
        AgentStateChanged(
            agent=AgentName("li.na"),
            state=AgentState.NOT_READY,
            previous=AgentState.READY,
            reason="break",
            via="phone",
            call=None,
            lasted=5.0,
        )
    )
    for call in ("c2", "c3"):
        journal.append(
            CallEnded(
                call=CallId(call),
                outcome=CallOutcome.ABANDONED_IVR,
                ended_by=EndedBy.CALLER,
                sip_status=200,
                reason="bye",
                duration=4.0,
                talked=0.0,
            )
        )
    journal.commit()
    journal.close()
    made = Feed(tmp_path, lambda: BEGAN + 7.0)
    made.step()
    made.close()
    return made


def test_the_feed_tells_what_happened_in_words(tmp_path: Path) -> None:
    said = [words for _, words in feed(tmp_path).recent]
    assert said == [
        "0105550001 张伟\\x1b[2J dials 1001",
        "0105550002 张伟\\x1b[2J dials 1001",
        "8001 张伟\\x1b[2J dials *13",
        "0105550001 waits in billing, position 1",
        "li.na is not ready (break)",
        "0105550002 is gone: gave up in the menus",
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 50)])
def test_the_view_shows_the_hotline_at_any_size(tmp_path: Path, scene: Scene, width: int, height: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height)
    console.print(screen(scene, feed(tmp_path), Heard(4, 1234, 0), width))
    text = out.getvalue()
    for wanted in (
        "http://127.0.0.1:8080/metrics",
        "sip:1001@127.0.0.1:5060",
        "Be an agent [x]",
        "1 waiting",
        "● 1",
        "0:07",
        "not ready (break)",
        "1234 packets",
        "0105550002 is gone",
    ):
        assert wanted in text, wanted
    assert len(text.splitlines()) == height
    assert "\x1b" not in text


def test_a_line_and_the_last_words(tmp_path: Path, scene: Scene) -> None:
    now = feed(tmp_path)
    assert line(scene, now) == (
        "  67 s | calls: 1 waiting | queues: billing 1 (longest 0:07) | agents: 1 not ready | 0 served"
    )
    assert summary(scene, now, Heard(0, 9, 1)) == (
        "In 1:07: 2 gave up in the menus.\n0 recordings, 0 s; the phones heard 9 packets of audio and missed 1."
    )
