"""What the web knows: the journal, followed and folded, and kept in snapshots so that a start is short."""

import asyncio
import threading
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import msgspec
import structlog

from events import codec, fold, live, live_codec, types
from events.fold import LiveState
from events.journal import Tail
from events.segments import begins
from events.snapshots import Snapshots
from events.steps import calls, health, queues, trunks
from metrics import exporter, names, tally
from metrics import fold as metrics_fold
from metrics.exporter import Exporter

POLL_INTERVAL = 0.1
"""Seconds between looks at the end of the journal."""
NAME = "web"
VERSION = 1
"""Of a snapshot's form."""
SAVE_EVERY = 300.0
"""Seconds between snapshots, while there is something new …"""
SAVE_AFTER = 200_000
"""… or events, whichever comes first: a few seconds of reading."""
FOLDS = (
    types,
    codec,
    live,
    fold,
    calls,
    queues,
    trunks,
    health,
    live_codec,
    names,
    tally,
    metrics_fold,
    exporter,
)
"""What decides the numbers. When their code is another than that which a snapshot was made by, and the journal is
there from its beginning, it is read again, so that the numbers are those of the present code."""

log = structlog.get_logger()


class _Kept(msgspec.Struct):
    code: int
    live: bytes
    counters: bytes


class Feed:
    """live and exporter are as far as the journal was read; run() keeps them going.

    queues, agents: names of the configuration, so that they are shown before their first event.
    wall: UTC seconds since 1970.
    """

    def __init__(
        self, journal: Path, wall: Callable[[], float], *, queues: Iterable[str] = (), agents: Iterable[str] = ()
    ) -> None:
        self.live = LiveState()
        self.exporter = Exporter(self.live, queues=queues, agents=agents)
        self.wall = wall
        self.caught_up = False
        """Whether the end of the journal was reached once. Before that, what is shown is the past."""
        self._journal = journal
        self._code = _fingerprint(FOLDS)
        self._snapshots = Snapshots(journal, NAME, VERSION)
        self._saved = self._restore()
        """Event of the last snapshot."""
        self._save_at = wall() + SAVE_EVERY
        self._writing = threading.Lock()  # the last one, at the end, may find one under way
        self._tail = Tail(journal, self._saved)

    def step(self) -> bool:
        """Take in what is there, at most about a megabyte; False when nothing was. Raises JournalDamaged."""
        records = self._tail.poll()
        for record in records:
            self.live.apply(record)
        self.exporter.feed(records)
        self.caught_up = self.caught_up or not records
        return bool(records)

    async def run(self) -> None:
        """For ever. Raises JournalDamaged."""
        while True:
            more = self.step()
            if self.live.seq - self._saved >= SAVE_AFTER or self.wall() >= self._save_at:
                await asyncio.to_thread(self._write, self.live.seq, self.live.at, self._dump())
            await asyncio.sleep(0 if more else POLL_INTERVAL)

    def save(self) -> None:
        """A snapshot now."""
        self._write(self.live.seq, self.live.at, self._dump())

    def _dump(self) -> bytes:
        """b"" when that is not possible."""
        try:
            kept = _Kept(self._code, live_codec.dump(self.live), self.exporter.dump())
        except ValueError as error:
            log.warning("no snapshot can be made", error=str(error))
            return b""
        return msgspec.msgpack.encode(kept)

    def _write(self, seq: int, at: float, payload: bytes) -> None:
        with self._writing:
            self._write_one(seq, at, payload)

    def _write_one(self, seq: int, at: float, payload: bytes) -> None:
        self._save_at = self.wall() + SAVE_EVERY
        if seq <= self._saved:
            return
        self._saved = seq
        if payload:
            self._snapshots.save(seq, at, payload)

    def _restore(self) -> int:
        """From the newest snapshot that fits. Returns the event after which the journal is to be read."""
        first = begins(self._journal)
        found = self._snapshots.load()
        if found is not None and self._take(found[1], whole=first == 1):
            log.info("going on from a snapshot", seq=found[0])
            return found[0]
        if first > 1:
            log.warning("the log's beginning is gone and no snapshot fits: numbers begin anew", first=first)
        return first - 1

    def _take(self, payload: bytes, *, whole: bool) -> bool:
        """Whether it is what we are to go on from. whole: nothing of the journal is gone."""
        try:
            kept = msgspec.msgpack.decode(payload, type=_Kept)
            if kept.code != self._code and whole:
                log.info("the snapshot is another version's: reading the whole log again")
                return False
            live = live_codec.restore(kept.live)
            self.exporter.restore(live, kept.counters)
        except (msgspec.DecodeError, ValueError) as error:
            log.warning("snapshot passed over", reason=str(error))
            return False
        self.live = live
        return True


def _fingerprint(modules: Iterable[ModuleType]) -> int:
    crc = 0
    for module in modules:
        crc = zlib.crc32(Path(str(module.__file__)).read_bytes(), crc)
    return crc
