"""The machine's wall clock may jump; nothing that we time may notice."""

import re
import time
from pathlib import Path

import pytest

from kernel.clock import system_clock

ROOT = Path(__file__).resolve().parents[3]
HOUR, DECADE = 3600.0, 10 * 365.25 * 86_400
PACKAGES = ("kernel", "events", "engine", "ivr", "acd", "metrics", "web", "app")
ASK_THE_MACHINE = re.compile(r"\btime\.time\(|\btime\.time\b(?!_)|datetime\.now|\.civil\(\)|date\.today")
MAY_ASK = {"kernel/clock.py", "ivr/verbs/hours.py", "app/housekeeping.py"}
"""The last compares with the times of files, which are the machine's own."""


@pytest.mark.parametrize("jump", [HOUR, -HOUR, DECADE, -DECADE])
def test_a_jump_of_the_machines_clock_moves_only_what_people_see_on_the_wall(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, shown = [100.0], [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: shown[0])
    clock = system_clock(lambda: now[0])
    now[0], shown[0] = 105.0, shown[0] + 5.0 + jump
    assert clock.monotonic() == 105.0
    assert clock.wall() == 1_800_000_005.0
    assert clock.civil() == 1_800_000_005.0 + jump


@pytest.mark.parametrize("jump", [HOUR, -HOUR, DECADE, -DECADE])
def test_a_process_that_starts_after_a_jump_goes_on_with_the_clock_of_the_one_before(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, shown = [100.0], [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: shown[0])
    before = system_clock(lambda: now[0])
    now[0], shown[0] = 105.0, shown[0] + 5.0 + jump
    after = system_clock(lambda: now[0], before.offset)
    assert after.wall() == before.wall() == 1_800_000_005.0
    assert after.civil() == 1_800_000_005.0 + jump


def test_nobody_else_asks_the_machine_for_the_time() -> None:
    """Registrations, nonces, wrap-up, session timers, retransmissions: all are given a Clock, or `now`."""
    asking = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if ASK_THE_MACHINE.search(path.read_text(encoding="utf-8"))
    }
    assert asking == MAY_ASK
