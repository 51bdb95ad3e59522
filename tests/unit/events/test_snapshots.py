"""events.snapshots: a short cut that is whole or not there."""

import os
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from events.journal import Journal, holds
from events.snapshots import Snapshots, floors, folder, load, save
from events.types import ControlStopped
from kernel.clock import Clock


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "none", "live", 1) is None
    assert floors(tmp_path / "none") == {}


def test_the_newest_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    for seq in (5, 70, 800):
        save(tmp_path, "live", seq, 1, f"state {seq}\n".encode())
    save(tmp_path, "other", 3, 1, b"")

    assert load(tmp_path, "live", 1) == (800, b"state 800\n")
    assert load(tmp_path, "other", 1) == (3, b"")
    assert len(list(tmp_path.glob("live.*"))) == 2
    assert floors(tmp_path) == {"live": 70, "other": 3}


@pytest.mark.parametrize("cut", [0, 1, 20, -3, -1])
def test_a_cut_one_gives_way_to_the_one_before(tmp_path: Path, cut: int) -> None:
    save(tmp_path, "live", 5, 1, b"old")
    path = save(tmp_path, "live", 9, 1, b"newer")
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])

    assert load(tmp_path, "live", 1) == (5, b"old")


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    save(tmp_path, "live", 5, 1, b"old")
    path = save(tmp_path, "live", 9, 1, b"newer", at=2.5)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        assert load(tmp_path, "live", 1, stands=lambda _seq, at: at in (0.0, 2.5)) in ((5, b"old"), (9, b"newer"))
    path.write_bytes(whole)
    assert load(tmp_path, "live", 1) == (9, b"newer")


def test_another_version_and_another_journal_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path, "live", 5, 1, b"old", at=1.0)
    save(tmp_path, "live", 9, 2, b"newer", at=2.0)

    assert load(tmp_path, "live", 1) == (5, b"old")
    assert load(tmp_path, "live", 2) == (9, b"newer")
    assert load(tmp_path, "live", 2, stands=lambda seq, at: (seq, at) == (9, 2.0)) == (9, b"newer")
    assert load(tmp_path, "live", 2, stands=lambda _seq, _at: False) is None


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, "live", 5, 1, b"old")

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, "live", 9, 1, b"newer")

    assert load(tmp_path, "live", 1) == (5, b"old")
    assert [path.suffix for path in tmp_path.iterdir()] == [".snap"]


def test_a_journal_holds_only_the_record_it_has(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, Clock(lambda: 0.0, 1000.0), sync_interval=0)
    for _ in range(3):
        journal.append(ControlStopped(reason="x"))
    journal.close()

    assert holds(tmp_path, 3, 1000.0)
    assert not holds(tmp_path, 3, 1001.0)
    assert not holds(tmp_path, 4, 1000.0)
    assert not holds(tmp_path / "none", 1, 1000.0)


def test_one_that_stands_for_less_takes_the_place_of_those_that_stood_for_more(tmp_path: Path) -> None:
    """The journal lost its end, or the tables were filled anew: what was known beyond is no more."""
    for seq in (100, 200):
        save(tmp_path, "live", seq, 1, b"")
    save(tmp_path, "live", 150, 1, b"now")
    assert load(tmp_path, "live", 1) == (150, b"now")
    assert floors(tmp_path) == {"live": 100}


def test_that_none_can_be_written_is_said_once_until_one_could(tmp_path: Path) -> None:
    of_fold = Snapshots(tmp_path, "live", 1)
    folder(tmp_path).write_bytes(b"")  # in the way
    with capture_logs() as logs:
        of_fold.save(1, 0.5, b"a")
        of_fold.save(2, 0.5, b"b")
        assert [entry["log_level"] for entry in logs] == ["warning"]

        folder(tmp_path).unlink()
        of_fold.save(3, 0.5, b"c")
        assert load(folder(tmp_path), "live", 1) == (3, b"c")
        shutil.rmtree(folder(tmp_path))
        folder(tmp_path).write_bytes(b"")
        of_fold.save(4, 0.5, b"d")
        assert [entry["log_level"] for entry in logs] == ["warning", "warning"]


def test_one_that_knows_more_than_the_journal_is_passed_over(tmp_path: Path) -> None:
    of_fold = Snapshots(tmp_path, "live", 1)
    with capture_logs() as logs:
        of_fold.save(9, 1.0, b"of a journal that is gone")
        assert of_fold.load() is None
    assert [entry["event"] for entry in logs] == ["snapshot passed over"]
