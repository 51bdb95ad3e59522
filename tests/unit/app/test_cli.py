"""The command line over a site of its own: the example configuration, a journal with one call, no process running."""

import asyncio
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.__main__ import app
from app.ask import show_status
from app.control_socket import ControlServer
from app.plan import only_one
from app.settings import load
from app.siteplan import plan_site
from app.status import site_names, snapshot
from events import types as e
from events.fold import LiveState
from events.journal import Journal, read
from events.store import Projector, open_engine
from kernel.clock import Clock
from kernel.ids import CallId

ROOT = Path(__file__).resolve().parents[3]
CALL = CallId("01jd3k5t9-7zq40x2m")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Links to the example configuration; its own var/ and recordings/."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "ivr_flows").symlink_to(ROOT / "ivr_flows")
    (tmp_path / "recordings").mkdir()
    (tmp_path / "var").mkdir()
    journal = Journal.open(tmp_path / "var" / "journal", Clock(lambda: 0.0, 1_800_000_000.0))
    journal.append(
        e.CallArrived(
            call=CALL,
            sip_call_id="x",
            caller="13800000000",
            caller_name="",
            dialled="1001",
            source="udp:127.0.0.1:5062",
            trunk="loopback",
        )
    )
    journal.append(
        e.CallEnded(
            call=CALL,
            outcome=e.CallOutcome.CANCELLED,
            ended_by=e.EndedBy.CALLER,
            sip_status=487,
            reason="cancel",
            duration=1.0,
            talked=0.0,
        )
    )
    journal.commit()
    journal.close()
    return tmp_path


def callwright(site: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--site", str(site)])


def test_help_teaches() -> None:
    """Every command has a sentence, and the first steps are named."""
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "callwright check" in shown
    for command in ("serve", "check", "events", "call", "rebuild", "status", "agent", "prompts", "recordings", "db"):
        assert f" {command} " in shown


def test_events_are_printed_and_filtered(site: Path) -> None:
    lines = callwright(site, "events", "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]
    assert len(callwright(site, "events", "--type", "CallEnded").stdout.splitlines()) == 1
    assert callwright(site, "events", "--after", "2").stdout == ""


def test_an_unknown_event_is_named(site: Path) -> None:
    done = callwright(site, "events", "--type", "CallEndet")
    assert done.exit_code == 1
    assert "callwright: no event is called 'CallEndet'" in done.stderr


async def project(site: Path) -> None:
    """What the ledger does."""
    engine = open_engine(load(site).database)
    projector = Projector(engine)
    await projector.open()
    await projector.write(list(read(site / "var" / "journal")))
    await engine.dispose()


def test_a_call_is_told(site: Path) -> None:
    """From the journal; from the tables when the ledger was there; an unknown one is status 1."""
    assert "13800000000" in callwright(site, "call", CALL).stdout
    asyncio.run(project(site))
    assert callwright(site, "rebuild").exit_code == 0
    assert "all tables are equal" in callwright(site, "rebuild", "--verify").stdout
    assert "13800000000" in callwright(site, "call", CALL, "--tables").stdout
    assert callwright(site, "call", "nobody").exit_code == 1


def test_tables_are_made_by_upgrade(site: Path) -> None:
    assert callwright(site, "db", "upgrade").exit_code == 0
    assert (site / "var" / "callwright.db").exists()


def test_recordings_are_not_repaired_under_a_running_hotline(site: Path) -> None:
    assert callwright(site, "recordings", "repair").stdout == "0 repaired\n"
    with only_one(site / "var" / "run"):
        done = callwright(site, "recordings", "repair")
    assert done.exit_code == 1
    assert "being served already" in done.stderr


def test_asking_without_a_hotline_says_so(site: Path) -> None:
    for words in (["status"], ["agent", "ready", "li.na"]):
        done = callwright(site, *words)
        assert done.exit_code == 1
        assert "no hotline runs here" in done.stdout


def test_every_command_refuses_a_broken_configuration(tmp_path: Path) -> None:
    """With the place of each mistake, and no traceback."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "ivr_flows").symlink_to(ROOT / "ivr_flows")
    (tmp_path / "config" / "queues.yaml").write_text("queues:\n  billing: {display: Billing, ring_for: -1}\n")
    for words in (["events"], ["call", CALL], ["rebuild"], ["status"], ["db", "upgrade"], ["recordings", "repair"]):
        done = callwright(tmp_path, *words)
        assert done.exit_code == 1
        assert "config/queues.yaml:2:" in done.output


def test_the_plan_is_what_the_configuration_says(site: Path) -> None:
    plan, found = plan_site(site), load(site)
    assert [str(listen) for listen in plan.sip] == ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
    assert plan.numbers == ("1001",)
    assert plan.agents == ("8001", "8002", "8003")
    assert plan.database == found.database
    assert plan.control_socket == site / "var" / "run" / "control.sock"


def test_status_shows_calls_queues_and_agents(site: Path) -> None:
    """What control answers, made by app.status, comes out as tables; control characters do not."""
    live = LiveState()
    live.apply(
        e.Recorded(
            1,
            100.0,
            e.CallArrived(
                call=CALL,
                sip_call_id="x",
                caller="+86\x1b[31m138",
                caller_name="",
                dialled="1001",
                source="udp:127.0.0.1:5062",
                trunk="loopback",
            ),
        )
    )

    live.apply(e.Recorded(2, 100.0, e.ProcessStarted(process="control", pid=9)))
    live.apply(e.Recorded(3, 100.0, e.DrainBegan(calls=1, within=300.0)))

    async def status(_: Mapping[str, Any]) -> Any:
        return snapshot(live, site_names(load(site)), 105.0)

    async def ask() -> str:
        run = site / "var" / "run"
        run.mkdir()
        server = ControlServer(run / "control.sock", {"status": status}, lambda effect: effect())
        await server.start()
        out = io.StringIO()
        assert await asyncio.to_thread(show_status, site, out) == 0
        await server.close()
        return out.getvalue()

    shown = asyncio.run(ask())
    assert shown.startswith("Draining: no new calls; the hotline ends with its last one.\n")
    assert "1 calls" in shown
    assert "+86?[31m138" in shown
    assert "0:05" in shown
    assert "billing" in shown
    assert "李娜 Li Na" in shown
    assert [line.split() for line in shown.splitlines() if line.startswith(" loopback")] == [
        ["loopback", "incoming", "1", "0", "5000"]
    ]
