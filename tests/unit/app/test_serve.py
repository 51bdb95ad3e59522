"""What `callwright serve` finds out before it starts anything."""

import os
import socket
import time
from pathlib import Path

import pytest

from app.adoption import Orphan
from app.serve import shared_clock
from events.journal import Journal
from events.types import ControlStopped
from kernel.clock import Clock


def orphan(*arguments: str) -> Orphan:
    return Orphan("control", arguments, os.getpid(), -1, {}, socket.socket())


def test_the_clock_is_that_of_the_processes_which_live_on(tmp_path: Path) -> None:
    """The machine's was set back by years since they began."""
    living = [orphan("--socket", "x"), orphan("--site", "/s", "--clock", "9000000000.5", "--http-fd", "4")]
    clock = shared_clock(tmp_path, living)
    assert clock.offset == pytest.approx(9000000000.5, abs=1e-3)
    for each in living:
        each.connection.close()


def test_without_any_it_is_the_machines_but_not_before_the_last_event(tmp_path: Path) -> None:
    assert shared_clock(tmp_path, []).wall() == pytest.approx(time.time(), abs=5.0)
    last = time.time() + 3600.0
    journal = Journal.open(tmp_path, Clock(lambda: 0.0, last))
    journal.append(ControlStopped(reason="stop"))
    journal.save("agent/x", b"1")
    journal.commit()
    journal.close()
    clock = shared_clock(tmp_path, [])
    assert clock.wall() == pytest.approx(last, abs=5.0)
    assert clock.civil() == pytest.approx(time.time(), abs=5.0)
