"""The ledger process: tails the journal into SQL. `python -m events.ledger --journal DIR --database URL`

It may be killed at any moment and started again: what it had not committed it reads again. It waits out a database
that is absent, and a journal that is not there yet. SIGTERM or SIGINT: write what the journal holds, exit 0.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from events.journal import JournalDamaged, Tail
from events.retention import origin
from events.segments import begins, segments
from events.snapshots import folder, save
from events.store import UNAVAILABLE, Moved, Projector, database_url, open_engine
from events.types import Recorded
from kernel import collector
from kernel.heartbeat import beat

BATCH: Final = 4000
"""Records in one transaction, when as many are there; with the last look's rest, up to 10 000. The rows of a call are
written once a transaction, so few large ones cost less: 24 µs a record at 4 000, 36 at 1 000, 42 at 300."""
INTERVAL: Final = 0.25
"""Seconds between looks at the journal: how far the tables are behind, when there is little to do."""
MANY: Final = 250
"""Records of one look, from which on the next waits for BUSY_INTERVAL: so many are worth gathering."""
BUSY_INTERVAL: Final = 1.0
BACKOFF_FIRST: Final = 0.5
BACKOFF_MOST: Final = 15.0
MARK: Final = "ledger"
MARK_EVERY: Final = 60.0
"""Seconds."""
FLUSH_SECONDS: Final = 5.0
"""How long the last write may take after SIGTERM."""


class ForeignJournal(Exception):
    """The tables were made from another journal; writing on would mix two histories."""


class Ledger:
    """One run of it. `stop()` ends `run()` after a last write."""

    def __init__(self, directory: Path, projector: Projector, log: structlog.typing.FilteringBoundLogger) -> None:
        self.projector = projector
        self._directory = directory
        self._log = log
        self._stopping = asyncio.Event()
        self._marked = 0
        self._mark_at = 0.0

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Raises ForeignJournal, JournalDamaged."""
        backoff = BACKOFF_FIRST
        while not self._stopping.is_set():
            before = self.projector.seq
            try:
                await self._project()
            except Moved as moved:
                self._log.warning("tables moved, reading them again", reason=str(moved))
            except UNAVAILABLE as error:
                self._log.warning("database unavailable, waiting", error=_one_line(error), seconds=backoff)
            if self.projector.seq > before:
                backoff = BACKOFF_FIRST
            await self._sleep(backoff)
            backoff = min(BACKOFF_MOST, backoff * 2)

    async def _project(self) -> None:
        """From where the tables are, until `stop` or an exception."""
        await self.projector.open()
        tail = await self._tail()
        if tail is None:
            return
        self._log.info("projecting", journal=str(self._directory), after=self.projector.seq)
        try:
            while not self._stopping.is_set():
                found = await self._catch_up(tail)
                if found < BATCH:
                    await self._sleep(BUSY_INTERVAL if found >= MANY else INTERVAL)
            async with asyncio.timeout(FLUSH_SECONDS):
                while await self._catch_up(tail):
                    pass
            self._mark_at = 0.0
            self._mark()
        finally:
            tail.close()

    async def _catch_up(self, tail: Tail) -> int:
        """One transaction; how many records were new."""
        records: list[Recorded] = []
        while len(records) < BATCH and (more := tail.poll()):
            records += more
        await self.projector.write(records)
        self._mark()
        return len(records)

    def _mark(self) -> None:
        """Say to the journal's keeper (events/retention.py) how far the tables are; now and then, for it costs two
        fsyncs. Without it nothing is removed."""
        now, place = asyncio.get_running_loop().time(), self.projector
        if place.seq == self._marked or now < self._mark_at:
            return
        self._mark_at = now + MARK_EVERY
        try:
            save(folder(self._directory), MARK, place.seq, 1, b"", at=place.at)
            self._marked = place.seq
        except OSError as error:
            self._log.warning("no mark can be written; old events are kept", error=_one_line(error))

    async def _tail(self) -> Tail | None:
        """A tail after the tables' checkpoint, when the journal still has that very record; None when stopped.

        A power cut may take the journal's last 200 ms, which the tables (on another machine) have already: the
        journal is the truth, so they are emptied and filled again."""
        place = self.projector
        while not segments(self._directory):
            if self._stopping.is_set():
                return None
            await self._sleep(INTERVAL)
        first, kept = origin(self._directory), begins(self._directory)
        if place.seq and first is not None and first != place.journal:
            raise ForeignJournal(
                f"the database was filled from another journal than {self._directory}; "
                "give a database of its own, or run `callwright rebuild` to replace its tables"
            )
        if place.seq + 1 < kept:
            self._log.error("events that the tables lack are gone from the journal", after=place.seq, next=kept)
            await place.skip(kept - 1, place.journal or first or 0.0)
        if place.seq < kept:
            return Tail(self._directory, place.seq)
        here = _at(self._directory, place.seq)
        if here is None or here.at != place.at:
            self._log.warning("the journal lost records that the tables have: filling them again", at=place.seq)
            await place.reset()
        return Tail(self._directory, place.seq)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def _at(directory: Path, seq: int) -> Recorded | None:
    """The record of that number, when the journal has it."""
    tail = Tail(directory, seq - 1)
    try:
        return next(iter(tail.poll()), None)
    finally:
        tail.close()


def _one_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''}".rstrip(": ")


async def serve(directory: Path, url: str, beat_fd: int = -1) -> int:
    """The process's main: exit status. beat_fd: of the pipe for signs of life."""
    log = structlog.get_logger(process="ledger")
    engine = open_engine(url)
    ledger = Ledger(directory, Projector(engine), log)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ledger.stop)
    beating = asyncio.create_task(beat(beat_fd))
    try:
        await ledger.run()
    except (ForeignJournal, JournalDamaged) as error:
        log.error("ledger cannot go on", error=str(error))
        return 1
    finally:
        beating.cancel()
        await engine.dispose()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m events.ledger", description=__doc__)
    parser.add_argument("--journal", type=Path, required=True, metavar="DIR")
    parser.add_argument("--database", required=True, metavar="URL", help="sqlite:///path or postgresql://…")
    parser.add_argument("--beat-fd", type=int, default=-1, metavar="FD", help="pipe for signs of life")
    given = parser.parse_args(arguments)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        database_url(given.database)
    except ValueError as error:
        parser.error(str(error))
    collector.settle(old=collector.SOMETIMES)
    return asyncio.run(serve(given.journal, given.database, given.beat_fd))


if __name__ == "__main__":
    sys.exit(main())
