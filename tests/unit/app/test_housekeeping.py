"""Disks that get full are told before they are; what is kept long enough goes."""

import asyncio
import os
from pathlib import Path

import pytest

from app.housekeeping import Housekeeping, Keep, Room, remove_recordings
from events.fold import LiveState
from events.retention import Policy, Trimmed
from events.types import DiskEnough, DiskLow, Event, JournalTrimmed, Recorded
from kernel.clock import Clock
from tests.support.disks import fill_up, needs_root, small_disk

MB = 1 << 20


class House:
    def __init__(self, folder: Path, low_mb: int = 100, live: LiveState | None = None) -> None:
        self.time = 0.0
        self.live = live or LiveState()
        self.told: list[Event] = []
        self.removed: list[int] = []
        keep = Keep(
            journal=folder, recordings=folder, policy=Policy(seconds=1.0), recordings_days=0.0, low_bytes=low_mb * MB
        )
        clock = Clock(lambda: self.time, 1000.0)
        self.keeping = Housekeeping(keep, clock, self.live, self.emit, self.removed.append)

    def emit(self, event: Event) -> None:
        self.told.append(event)
        self.live.apply(Recorded(self.live.seq + 1, 1000.0 + self.time, event))

    def free(self, **folders: int) -> None:
        self.time += 10.0
        self.keeping.judge({name: Room(free * MB, 1000 * MB) for name, free in folders.items()})


def test_a_disk_is_low_once_and_enough_once(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.free(journal=101, recordings=100)
    assert house.keeping.free("journal") == 101 * MB
    for free in (99, 5, 100, 120):
        house.free(journal=free, recordings=200)
    house.free(journal=125, recordings=200)
    house.free(journal=300, recordings=200)
    low, enough = house.told
    assert low == DiskLow(folder="journal", free_bytes=99 * MB, total_bytes=1000 * MB, limit_bytes=100 * MB)
    assert enough == DiskEnough(folder="journal", free_bytes=125 * MB, low_for=40.0)


def test_a_fault_from_before_the_start_is_known(tmp_path: Path) -> None:
    before = House(tmp_path)
    before.free(recordings=1)
    again = House(tmp_path, live=before.live)
    again.free(recordings=1)
    assert again.told == []
    again.free(recordings=500)
    assert [type(event) for event in again.told] == [DiskEnough]


def test_a_folder_that_gives_no_answer_is_neither_low_nor_enough(tmp_path: Path) -> None:
    house = House(tmp_path / "none")
    assert house.keeping.look() == {}
    house.keeping.judge({})
    assert house.told == []
    assert house.keeping.free("journal") == -1


@needs_root
def test_a_real_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        house = House(disk, low_mb=1)
        house.keeping.judge(house.keeping.look())
        assert house.told == []
        ballast = fill_up(disk)
        house.keeping.judge(house.keeping.look())
        ballast.unlink()
        house.keeping.judge(house.keeping.look())
        assert [type(event) for event in house.told] == [DiskLow, DiskLow, DiskEnough, DiskEnough]


def test_old_recordings_go_with_their_folders(tmp_path: Path) -> None:
    for name, age in (("2026-01-01/a.wav", 50.0), ("2026-01-01/b.wav", 50.0), ("2026-03-01/c.wav", 5.0)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
        os.utime(path, (1000.0 - age, 1000.0 - age))
    (tmp_path / "2026-01-01" / "note.txt").write_text("somebody's own")
    assert remove_recordings(tmp_path, 1000.0 - 10.0) == (2, 10)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["c.wav", "note.txt"]
    (tmp_path / "2026-01-01" / "note.txt").unlink()
    assert remove_recordings(tmp_path, 1000.0) == (1, 5)
    assert not (tmp_path / "2026-03-01").exists()


@pytest.mark.parametrize("machine", [11_000.0, 300_000_000.0, -5.0])
def test_a_jump_of_the_clock_makes_nothing_old(tmp_path: Path, machine: float) -> None:
    """Ten years ahead while we run, or behind: what is a minute old stays."""
    path = tmp_path / "2026-01-01" / "a.wav"
    path.parent.mkdir()
    path.write_bytes(b"12345")
    os.utime(path, (10_000.0, 10_000.0))
    keep = Keep(journal=tmp_path, recordings=tmp_path, policy=Policy(), recordings_days=1.0, low_bytes=0)
    clock = Clock(lambda: 0.0, 10_060.0, lambda: machine)

    async def story() -> None:
        tidying = asyncio.create_task(Housekeeping(keep, clock, LiveState(), print, print).run())
        done, _ = await asyncio.wait([tidying], timeout=0.3)
        assert not done
        tidying.cancel()

    asyncio.run(story())
    assert path.exists()


def test_what_went_of_the_journal_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the real loop: the disk is asked in a thread."""
    house = House(tmp_path)
    answers = [Trimmed(first_seq=9, segments=2, size=500), Trimmed(first_seq=9, segments=0, size=0, blocked_by="web")]
    monkeypatch.setattr("app.housekeeping.trim", lambda *_: answers.pop(0))

    async def main() -> None:
        await house.keeping._tidy()
        await house.keeping._tidy()

    asyncio.run(main())
    assert house.told == [JournalTrimmed(first_seq=9, segments=2, removed_bytes=500)]
    assert house.removed == [500]
