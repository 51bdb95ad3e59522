"""How rounds are told."""

import io
import json

from rich.console import Console

from bench.faults import verdict
from bench.faults.verdict import Round


def good(number: int = 0) -> Round:
    return Round("control", number, gaps=[1.0, 3.0], answered_after=0.8, bridged=1)


def bad() -> Round:
    found = Round("control", 1, gaps=[500.0], lost=7, answered_after=None, bridged=1)
    found.wrong("leaks", "media0 holds 2 UDP sockets")
    return found


def test_one_bad_round_is_the_verdict() -> None:
    told = json.loads(verdict.tell([good(), bad()]))
    assert not told["ok"]
    assert told["gap_ms"] == {"p50": 3.0, "max": 500.0}
    assert told["lost_packets"] == 7
    assert told["answered_after_s"] is None
    assert told["problems"] == [[1, "leaks", "media0 holds 2 UDP sockets"]]


def test_good_rounds_are_ok() -> None:
    told = json.loads(verdict.tell([good(), good(1)]))
    assert told["ok"]
    assert told["rounds"] == 2
    assert told["answered_after_s"] == 0.8


def test_what_was_not_run_is_not_ok() -> None:
    skipped = Round("disk_full", 0, skipped="mounts of its own need root")
    assert not skipped.ok
    assert json.loads(verdict.tell([skipped]))["rounds"] == 0


def test_the_table_says_what_failed() -> None:
    out = io.StringIO()
    verdict.table([[good(), bad()], [Round("disk_full", 0, skipped="no root")]], Console(file=out, width=200))
    text = out.getvalue()
    assert "FAILED: leaks" in text
    assert "not run: no root" in text
    assert "control 1, leaks: media0 holds 2 UDP sockets" in text
