"""A disk that is full: calls go on, nothing is lost or reordered, it is said, and it mends itself."""

import random
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.writing import Writing
from events.journal import Journal, read
from events.segments import segments
from events.types import ControlStopped, Event, JournalWaited, Recorded
from kernel.clock import Clock
from tests.support.disks import Valve, files_end_at, fill_up, needs_root, small_disk


class Hotline:
    """What control does with the journal, and nothing else."""

    def __init__(self, folder: Path, segment_bytes: int = 1 << 20) -> None:
        self.time = 0.0
        clock = Clock(lambda: self.time, 1000.0)
        self.folder = folder
        self.closed: list[bool] = []
        self.heard: list[Recorded] = []
        self.journal = Journal.open(folder, clock, segment_bytes=segment_bytes, sync_interval=0)
        self.journal.subscribe(self.heard.append)
        self.writing = Writing(self.journal, clock, self.closed.append)
        self.said = 0

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            self.said += 1
            self.writing.emit(ControlStopped(reason=str(self.said)))
            self.writing.commit()
            self.time += 0.1

    def told(self) -> list[str]:
        """Reasons in order, and where it is told that the disk was full."""
        return [_word(record.event) for record in read(self.folder)]


def _word(event: Event) -> str:
    return event.reason if isinstance(event, ControlStopped) else type(event).__name__


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last + 1)]


def test_what_waited_is_written_in_order_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hotline, valve = Hotline(tmp_path), Valve(monkeypatch)
    hotline.say(3)
    valve.shut = True
    with capture_logs() as logs:
        hotline.say(4)
        assert hotline.told() == numbers(1, 3)
        assert hotline.writing.health["waiting_since"] == pytest.approx(1000.3)
        assert hotline.writing.health["waiting_bytes"] > 100
        valve.shut = False
        hotline.say(1)
    assert hotline.told() == [*numbers(1, 8), "JournalWaited"]
    assert [record.seq for record in hotline.heard] == list(range(1, 10))
    waited = hotline.heard[-1].event
    assert isinstance(waited, JournalWaited)
    assert (waited.since, waited.lasted) == pytest.approx((1000.3, 0.4))
    assert waited.lost == 0
    assert "No space left" in waited.why
    assert [log["log_level"] for log in logs] == ["critical", "warning"]
    assert hotline.writing.health["waiting_since"] is None
    assert hotline.closed == []


def test_it_is_said_again_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hotline, valve = Hotline(tmp_path), Valve(monkeypatch)
    valve.shut = True
    with capture_logs() as logs:
        hotline.say(1000)
    assert [log["event"] for log in logs] == [
        "the journal cannot be written; calls go on, events wait in memory",
        *["the journal still cannot be written"] * 3,
    ]


def test_new_calls_are_refused_near_the_bound_and_what_is_lost_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.journal.MAX_BUFFER", 4000)
    monkeypatch.setattr("app.writing.MAX_BUFFER", 4000)
    hotline, valve = Hotline(tmp_path), Valve(monkeypatch)
    valve.shut = True
    while not hotline.closed:
        hotline.say()
    kept = hotline.said
    assert 0.75 <= hotline.writing.health["waiting_bytes"] / 4000 < 0.8
    while not hotline.writing.health["lost"]:
        hotline.say()
    hotline.say(4)
    lost = hotline.writing.health["lost"]
    assert lost == 5
    valve.shut = False
    hotline.writing.commit()
    assert hotline.closed == [True, False]
    waited = hotline.heard[-1].event
    assert isinstance(waited, JournalWaited)
    assert waited.lost == 5
    assert hotline.told() == [*numbers(1, hotline.said - 5), "JournalWaited"]
    assert kept < hotline.said - 5


def test_any_sequence_of_full_and_free_keeps_all_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut within lines and at segments' ends, again and again."""
    chance = random.Random(4)
    valve = Valve(monkeypatch)
    hotline = Hotline(tmp_path, segment_bytes=400)
    for _ in range(300):
        valve.room = chance.choice([None, 0, chance.randrange(200)])
        hotline.say(chance.randrange(4))
    valve.room = None
    hotline.say()
    assert [word for word in hotline.told() if word != "JournalWaited"] == numbers(1, hotline.said)
    assert [record.seq for record in hotline.heard] == list(range(1, len(hotline.heard) + 1))
    assert list(read(tmp_path)) == hotline.heard
    assert len(segments(tmp_path)) > 20


def test_the_kernel_cuts_a_write_in_the_middle_of_a_line(tmp_path: Path) -> None:
    hotline = Hotline(tmp_path)
    with files_end_at(1000):
        hotline.say(30)
        assert hotline.writing.health["waiting_since"] is not None
    hotline.say(1)
    assert hotline.told() == [*numbers(1, 31), "JournalWaited"]


@needs_root
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        hotline = Hotline(disk / "journal", segment_bytes=8192)
        hotline.say(50)
        ballast = fill_up(disk)
        hotline.say(500)
        assert "No space left" in hotline.writing.health["why"]
        ballast.unlink()
        hotline.say(1)
        assert hotline.told() == [*numbers(1, 551), "JournalWaited"]
        hotline.journal.close()


@needs_root
def test_a_disk_that_is_full_when_control_starts(tmp_path: Path) -> None:
    """After a power cut, with whole lines behind a hole: they can't be set aside, and that stops nobody."""
    with small_disk(tmp_path / "disk", 256) as disk:
        hotline = Hotline(disk / "journal")
        hotline.say(200)
        hotline.journal.close()
        ((_, path),) = segments(disk / "journal")
        whole = path.read_bytes()
        with path.open("r+b") as file:
            file.seek(whole.index(b"\n", 3000) + 1)
            file.write(b"\0" * 10)
        ballast = fill_up(disk)
        again = Hotline(disk / "journal")
        assert 0 < again.journal.seq < 200
        assert again.journal.recovery.cut_bytes > 0
        ballast.unlink()
        again.journal.close()
