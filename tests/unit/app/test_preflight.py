"""A trial of what is on the disk, before an upgrade touches anything."""

import selectors
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from acd.service import AcdService
from app.plan import Listen, bind
from app.preflight import Preflight, fault
from app.wiring import Control
from engine.restoring import Restored
from events.journal import Journal
from kernel.clock import system_clock
from tests.support.peers.remote import ROOT

ITSELF = "import sys; sys.stdout.write('no '); sys.stdout.flush(); "


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The example site, with a journal in which something was saved."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "ivr_flows").symlink_to(ROOT / "ivr_flows")
    journal = Journal.open(tmp_path / "var" / "journal", system_clock())
    journal.save("agent/li.na", b"{}")
    journal.commit()
    journal.close()
    return tmp_path


def test_what_is_here_would_run_and_the_trial_leaves_no_trace(site: Path) -> None:
    before = {path: path.read_bytes() for path in (site / "var").rglob("*") if path.is_file()}
    assert fault(site) == ""
    assert {path: path.read_bytes() for path in (site / "var").rglob("*") if path.is_file()} == before


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("not what it was")


@pytest.mark.parametrize(("part", "method"), [(Control, "__init__"), (Restored, "read"), (AcdService, "resume")])
def test_a_control_that_could_not_start_is_found_out(
    site: Path, part: type, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its making, and what it makes of what the one before has saved."""
    monkeypatch.setattr(part, method, broken)
    found = fault(site)
    assert found.startswith("the code on the disk cannot be started:\n")
    assert found.endswith("RuntimeError: not what it was")


def test_calls_that_are_not_understood_are_counted(site: Path) -> None:
    journal = Journal.open(site / "var" / "journal", system_clock())
    journal.save("call/1", b'{"of": "another version"}')
    journal.commit()
    journal.close()
    assert fault(site) == "the code on the disk cannot go on with 1 of the calls"


def test_an_address_that_somebody_else_has_is_named(site: Path) -> None:
    """But not one on which the running hotline listens itself."""
    with bind(Listen("udp", "127.0.0.1", 0)) as other:
        taken = f"udp:127.0.0.1:{other.getsockname()[1]}"
        main = site / "config" / "callwright.yaml"
        config = yaml.safe_load(main.read_text())
        config["sip"]["listen"] = [taken]
        main.write_text(yaml.safe_dump(config))
        run = site / "var" / "run"
        run.mkdir()
        (run / "listening.json").write_text('{"sip": ["udp:127.0.0.1:5060"], "http": "http://127.0.0.1:8080"}')
        assert fault(site) == f"cannot listen on {taken}: Address already in use"
        (run / "listening.json").write_text(f'{{"sip": ["{taken}"], "http": "http://127.0.0.1:8080"}}')
        assert fault(site) == ""


def tried(code: str, late: bool = False) -> str:
    """What a trial says that runs this code. late: its time is over when it has begun to speak."""
    found: list[str] = []
    with selectors.DefaultSelector() as selector:
        trial = Preflight([sys.executable, "-c", code], selector, found.append, due=9.0)
        while not found:
            for key, _ in selector.select():
                handler: Callable[[], None] = key.data
                handler()
                trial.tick(10.0 if late else 0.0)
    return found[0]


def test_what_the_trial_says_is_heard_unless_it_went_well() -> None:
    assert tried(ITSELF + "sys.exit(0)") == ""
    assert tried(ITSELF + "sys.exit(1)") == "no"
    assert tried("import os; os.abort()") == "exit status -6"


def test_a_trial_that_hangs_is_ended() -> None:
    hangs = ITSELF + "import signal; signal.pause()"
    assert tried(hangs, late=True) == "the code on the disk was not ready within 60 s"
