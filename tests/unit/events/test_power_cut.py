"""A power cut costs at most the last 200 ms of events (and the time that the disk takes), never an older one."""

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from events.fold import fold
from events.journal import Journal, read
from events.snapshots import load, save
from events.types import Recorded
from kernel.clock import Clock
from tests.support.histories import hotline
from tests.support.powercut import PowerCut

INTERVAL = 0.2
"""Of the journal's sync thread (journal.py, `sync_interval`)."""
DISK = 0.03
"""Seconds that one fsync takes at most here."""


class PowerIsGone(Exception):
    pass


class Machine:
    """A hotline that writes every few milliseconds, and a sync every 200 ms after the one before has ended, as the
    journal's thread does; all by a clock of its own."""

    def __init__(self, folder: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = self.step = 0.0
        self.dies = False
        """In the middle of this sync, perhaps."""
        self.chance = chance
        self.events = [record.event for record in hotline(chance.randrange(1 << 30), 40)]
        self.records: list[Recorded] = []
        self.rounds = [0.0]
        """Seconds that each sync took."""
        self.power = PowerCut(folder, monkeypatch)
        self.power.during = self.sync_takes
        clock = Clock(lambda: self.time, 1000.0)
        self.journal = Journal.open(
            folder, clock, segment_bytes=chance.choice([600, 2000, 20_000, 1 << 20]), sync_interval=0
        )

    def write_until(self, time: float) -> None:
        while self.time < time and self.events:
            passes = self.chance.uniform(0, 0.02)
            self.step = max(self.step, passes)
            self.time += passes
            told = [self.events.pop(0) for _ in range(min(self.chance.randint(1, 3), len(self.events)))]
            batch = [self.journal.append(event) for event in told]
            self.journal.commit()
            self.records += batch

    def sync_takes(self) -> None:
        if not self.records:
            return  # the journal's first name, synced when it is made
        self.write_until(self.time + self.chance.uniform(0, DISK))
        if self.dies and self.chance.random() < 0.4:
            raise PowerIsGone

    def run(self, until: float) -> None:
        """Up to a cut, which may come in the middle of a sync: then nothing more is safe than before it."""
        while self.time < until and self.events:
            self.write_until(min(until, self.time + INTERVAL))
            began = self.time
            if began < until:
                self.dies = self.time + INTERVAL >= until and self.chance.random() < 0.5
                with suppress(PowerIsGone):
                    self.journal.sync()
                self.rounds.append(self.time - began)
                if self.dies:
                    return

    @property
    def longest_loss(self) -> float:
        """What was written when a sync had just begun waits for the end of the next one."""
        return INTERVAL + sum(self.rounds[-2:]) + self.step


@pytest.mark.parametrize("seed", range(40))
def test_only_the_last_moments_are_lost(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    machine = Machine(tmp_path / "disk", chance, monkeypatch)
    machine.run(chance.uniform(0.05, 2.5))
    machine.power.leave(tmp_path / "after", chance)
    monkeypatch.undo()

    journal = Journal.open(tmp_path / "after", Clock(lambda: 0.0, 5000.0), sync_interval=0)
    kept = list(read(tmp_path / "after"))
    assert kept == machine.records[: len(kept)], "a gapless prefix of what was told"
    assert journal.seq == len(kept)
    assert fold(kept) == fold(machine.records[: len(kept)])
    for lost in machine.records[len(kept) :]:
        age = 1000.0 + machine.time - lost.at
        assert age <= machine.longest_loss, f"an event of {age:.3f} s ago is lost"
    journal.close()


def test_a_snapshot_is_whole_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then name, then folder: whenever the power goes, either the old one is there or the new one."""
    steps: list[str] = []

    real_sync, real_rename = os.fsync, Path.rename

    def fsync(fd: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")
        real_sync(fd)

    def rename(path: Path, to: Path) -> Path:
        steps.append("name")
        return real_rename(path, to)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    save(tmp_path, "live", 5, 1, b"state")
    assert steps == ["file", "name", "folder"]
    assert load(tmp_path, "live", 1) == (5, b"state")
