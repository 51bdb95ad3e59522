"""What is done now and then beside the calls: watch the room on the disks, remove what need not be kept any longer.

All of it asks the disk, which may be slow or gone (a network file system), so it is done in a thread; events are told
from the loop.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from events.fold import LiveState
from events.retention import Policy, Trimmed, trim
from events.types import DiskEnough, DiskLow, Event, JournalTrimmed, RecordingsRemoved
from kernel.clock import Clock

log = structlog.get_logger()

LOOK_EVERY = 10.0
"""Seconds between two looks at the disks."""
TIDY_EVERY = 600.0
"""… and between two removals."""
ENOUGH = 1.25
"""Times the limit: as much must be free again until a fault is over."""
NEEDED = ("control", "ledger", "web")
"""Who must have left a mark before any of the journal goes: each could not start without what it has not seen."""
REMOVED_AT_ONCE = 10_000
"""Recordings, in one pass."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Folders, and how much of them is kept."""

    journal: Path
    recordings: Path
    policy: Policy
    recordings_days: float
    """0: for ever."""
    low_bytes: int
    """0: never low."""


@dataclass(frozen=True, slots=True)
class Room:
    free: int
    total: int


class Housekeeping:
    """emit: appends an event; trimmed: told how many bytes the journal lost."""

    def __init__(
        self, keep: Keep, clock: Clock, live: LiveState, emit: Callable[[Event], None], trimmed: Callable[[int], None]
    ) -> None:
        self._keep = keep
        self._clock = clock
        self._live = live
        self._emit = emit
        self._trimmed = trimmed
        self._blocked_by = ""
        self.room: Mapping[str, Room] = {}
        """By folder, `journal` and `recordings`, at the last look; without those that could not be asked."""

    async def run(self) -> None:
        """For ever."""
        tidy_at = self._clock.monotonic()
        while True:
            self.judge(await asyncio.to_thread(self.look))
            if self._clock.monotonic() >= tidy_at:
                tidy_at = self._clock.monotonic() + TIDY_EVERY
                await self._tidy()
            await asyncio.sleep(LOOK_EVERY)

    def free(self, folder: str) -> int:
        """Bytes at the last look; -1: not known."""
        return self.room[folder].free if folder in self.room else -1

    # --- room -----------------------------------------------------------------------------------------------------

    def look(self) -> dict[str, Room]:
        """Blocks. For the current user: what is reserved for root is not free."""
        found = {}
        for name, path in (("journal", self._keep.journal), ("recordings", self._keep.recordings)):
            try:
                disk = os.statvfs(path)
            except OSError as error:
                log.warning("a disk gives no answer", folder=str(path), error=str(error))
            else:
                found[name] = Room(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
        return found

    def judge(self, room: Mapping[str, Room]) -> None:
        """Tell when a disk gets low, once, and when there is enough again."""
        self.room = room
        limit = self._keep.low_bytes
        for name, one in room.items():
            fault = self._live.open_incidents.get(("disk_low", name))
            if fault is None and one.free < limit:
                log.error("a disk is nearly full", folder=name, free_mb=one.free >> 20)
                self._emit(DiskLow(folder=name, free_bytes=one.free, total_bytes=one.total, limit_bytes=limit))
            elif fault is not None and one.free >= limit * ENOUGH:
                low_for = max(0.0, self._clock.wall() - fault.since)
                self._emit(DiskEnough(folder=name, free_bytes=one.free, low_for=low_for))

    # --- keeping --------------------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        keep = self._keep
        if keep.policy.seconds or keep.policy.size:
            try:
                self._told(await asyncio.to_thread(trim, keep.journal, keep.policy, NEEDED, self._now()))
            except OSError as error:
                log.warning("old events cannot be removed", error=str(error))
        if keep.recordings_days:
            before = self._now() - keep.recordings_days * DAY
            count, size = await asyncio.to_thread(remove_recordings, keep.recordings, before)
            if count:
                self._emit(RecordingsRemoved(count=count, removed_bytes=size, keep_days=keep.recordings_days))

    def _now(self) -> float:
        """The earlier of our clock and the machine's: neither a jump of the clock while we run nor one that was ahead
        when we started and is right by now makes anything old."""
        return min(self._clock.wall(), self._clock.civil())

    def _told(self, trimmed: Trimmed) -> None:
        if trimmed.segments:
            self._trimmed(trimmed.size)
            self._emit(
                JournalTrimmed(first_seq=trimmed.first_seq, segments=trimmed.segments, removed_bytes=trimmed.size)
            )
        if trimmed.blocked_by and trimmed.blocked_by != self._blocked_by:
            log.warning("old events are kept, since they are still needed", by=trimmed.blocked_by)
        self._blocked_by = trimmed.blocked_by


def remove_recordings(folder: Path, before: float) -> tuple[int, int]:
    """Remove recordings last written before that time (UTC seconds), and folders that are empty then.

    Returns how many, and their bytes. What can't be removed stays, and is logged."""
    count = size = 0
    for path in _old(folder, before):
        try:
            size += path.stat().st_size
            path.unlink()
            count += 1
            if path.parent != folder and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            log.warning("an old recording cannot be removed", path=str(path), error=str(error))
            break
        if count >= REMOVED_AT_ONCE:
            break
    return count, size


def _old(folder: Path, before: float) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.wav")):
        if path.is_file() and not path.is_symlink() and path.stat().st_mtime < before:
            yield path
