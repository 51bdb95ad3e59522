"""The ledger as a process and as an object: databases that come and go, deaths at bad moments, wrong journals."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import text

from events import ledger as ledger_module
from events.codec import encode
from events.ledger import ForeignJournal, Ledger
from events.segments import segment_path
from events.store import UNAVAILABLE, Projector, open_engine
from events.types import Recorded
from tests.support.histories import hotline
from tests.support.postgres import PostgresServer
from tests.unit.events.test_store import Tables, dump, project

PATIENCE = 30.0
"""Seconds that a real process or server may take; a bound, not an expectation."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("INTERVAL", 0.01), ("BACKOFF_FIRST", 0.01), ("BACKOFF_MOST", 0.1)):
        monkeypatch.setattr(ledger_module, name, seconds)


def put(directory: Path, records: Sequence[Recorded]) -> None:
    """Into one segment, as its writer would."""
    directory.mkdir(exist_ok=True)
    with segment_path(directory, 1).open("ab") as file:
        file.write(b"".join(encode(record) + b"\n" for record in records))


def expected(tmp_path: Path, records: Sequence[Recorded]) -> Tables:
    return asyncio.run(project(f"sqlite:///{tmp_path}/expected.db", [records]))


class Said:
    """Collects what the ledger logs."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.log = structlog.wrap_logger(None, processors=[self._take])

    def _take(self, _logger: Any, _method: str, event: Any) -> Any:
        self.lines.append(dict(event))
        raise structlog.DropEvent

    def words(self) -> str:
        return " ".join(str(line["event"]) for line in self.lines)


async def until(done: Callable[[], bool], task: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(PATIENCE):
        while not done():
            if task.done():
                await task
            await asyncio.sleep(0.005)


async def ledger_to(url: str, journal: Path, seq: int, said: Said) -> None:
    """Run one until its tables are at `seq`, then stop it."""
    projector = Projector(open_engine(url))
    ledger = Ledger(journal, projector, said.log)
    task = asyncio.create_task(ledger.run())
    try:
        await until(lambda: projector.seq >= seq, task)
        ledger.stop()
        await task
    finally:
        await projector.engine.dispose()


def test_tables_follow_the_journal_that_comes_later(url: str, tmp_path: Path) -> None:
    records, journal, said = hotline(1, 10), tmp_path / "journal", Said()

    async def main() -> None:
        projector = Projector(open_engine(url))
        ledger = Ledger(journal, projector, said.log)
        task = asyncio.create_task(ledger.run())
        await asyncio.sleep(0)
        put(journal, records[:50])
        await until(lambda: projector.seq == 50, task)
        put(journal, records[50:])
        ledger.stop()
        await task
        await projector.engine.dispose()

    asyncio.run(main())
    assert asyncio.run(dump(url)) == expected(tmp_path, records)


def test_an_absent_sqlite_folder_is_waited_for(tmp_path: Path) -> None:
    records, journal, said = hotline(1, 5), tmp_path / "journal", Said()
    put(journal, records)
    url = f"sqlite:///{tmp_path}/later/callwright.db"

    async def main() -> None:
        projector = Projector(open_engine(url))
        ledger = Ledger(journal, projector, said.log)
        task = asyncio.create_task(ledger.run())
        await until(lambda: "database unavailable, waiting" in said.words(), task)
        (tmp_path / "later").mkdir()
        await until(lambda: projector.seq == len(records), task)
        ledger.stop()
        await task
        await projector.engine.dispose()

    asyncio.run(main())
    assert asyncio.run(dump(url)) == expected(tmp_path, records)


@pytest.mark.postgres
def test_a_database_that_is_absent_comes_and_crashes_and_comes_back(postgres: PostgresServer, tmp_path: Path) -> None:
    records, journal, said = hotline(5, 40), tmp_path / "journal", Said()
    url = postgres.create("comes_and_goes")
    postgres.stop()
    put(journal, records[:100])

    async def main() -> None:
        projector = Projector(open_engine(url))
        ledger = Ledger(journal, projector, said.log)
        task = asyncio.create_task(ledger.run())
        await until(lambda: "waiting" in said.words(), task)
        await asyncio.to_thread(postgres.start)
        await until(lambda: projector.seq == 100, task)
        for end in (200, 300, len(records)):
            await asyncio.to_thread(postgres.stop)
            said.lines.clear()
            put(journal, records[end - 100 : end] if end < len(records) else records[300:])
            await until(lambda: "waiting" in said.words(), task)
            await asyncio.to_thread(postgres.start)
            await until(lambda end=end: projector.seq == end, task)  # type: ignore[misc]
        ledger.stop()
        await task
        await projector.engine.dispose()

    asyncio.run(main())
    assert asyncio.run(dump(url)) == expected(tmp_path, records)


@pytest.mark.postgres
def test_stopping_while_the_database_is_away_is_quick_and_clean(postgres: PostgresServer, tmp_path: Path) -> None:
    put(tmp_path / "journal", hotline(5, 4))
    said = Said()
    postgres.stop()

    async def main() -> None:
        projector = Projector(open_engine(postgres.url()))
        ledger = Ledger(tmp_path / "journal", projector, said.log)
        task = asyncio.create_task(ledger.run())
        await until(lambda: "waiting" in said.words(), task)
        ledger.stop()
        async with asyncio.timeout(PATIENCE):
            await task
        await projector.engine.dispose()

    try:
        asyncio.run(main())
    finally:
        postgres.start()


def test_a_journal_cut_by_a_power_failure_fills_the_tables_again(url: str, tmp_path: Path) -> None:
    """The tables (on another machine) have records that the journal lost, and then wrote otherwise."""
    records, journal, said = hotline(1, 10), tmp_path / "journal", Said()
    put(journal, records)
    asyncio.run(ledger_to(url, journal, len(records), said))
    shorter = records[:60]
    segment_path(journal, 1).unlink()
    put(journal, shorter)
    others = [Recorded(seq, record.at + 5, record.event) for seq, record in enumerate(records[80:90], 61)]
    put(journal, others)
    asyncio.run(ledger_to(url, journal, 70, said))
    assert "filling them again" in said.words()
    assert asyncio.run(dump(url)) == expected(tmp_path, [*shorter, *others])


def test_another_journals_tables_are_not_touched(url: str, tmp_path: Path) -> None:
    records, said = hotline(1, 5), Said()
    put(tmp_path / "one", records)
    asyncio.run(ledger_to(url, tmp_path / "one", len(records), said))
    put(tmp_path / "two", [Recorded(record.seq, record.at + 1, record.event) for record in records])
    with pytest.raises(ForeignJournal, match="callwright rebuild"):
        asyncio.run(ledger_to(url, tmp_path / "two", 1, said))
    assert asyncio.run(dump(url)) == expected(tmp_path, records)


def test_a_table_that_vanishes_is_waited_for_and_nothing_is_lost(url: str, tmp_path: Path) -> None:
    """Any error of the database: said, and tried again."""
    records, journal, said = hotline(1, 8), tmp_path / "journal", Said()
    put(journal, records[:20])

    async def rename(projector: Projector, old: str, new: str) -> None:
        async with projector.engine.begin() as connection:
            await connection.execute(text(f"alter table {old} rename to {new}"))

    async def main() -> None:
        projector = Projector(open_engine(url))
        ledger = Ledger(journal, projector, said.log)
        task = asyncio.create_task(ledger.run())
        await until(lambda: projector.seq == 20, task)
        await rename(projector, "legs", "away")
        put(journal, records[20:])
        await until(lambda: "waiting" in said.words(), task)
        await rename(projector, "away", "legs")
        await until(lambda: projector.seq == len(records), task)
        ledger.stop()
        await task
        await projector.engine.dispose()

    asyncio.run(main())
    assert asyncio.run(dump(url)) == expected(tmp_path, records)


# --- as a process ---------------------------------------------------------------------------------------------


def start(journal: Path, url: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "events.ledger", "--journal", str(journal), "--database", url]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def reached(url: str) -> int:
    """The checkpoint; -1 while there are no tables."""

    async def ask() -> int:
        engine = open_engine(url, pooled=False)
        try:
            async with engine.connect() as connection:
                return int(await connection.scalar(text("select seq from checkpoint")) or 0)
        except UNAVAILABLE:
            return -1
        finally:
            await engine.dispose()

    return asyncio.run(ask())


def wait_for(url: str, seq: int) -> None:
    patience = time.monotonic() + PATIENCE
    while reached(url) < seq:
        assert time.monotonic() < patience, f"the tables stay at {reached(url)}"


def test_sigterm_writes_the_rest_and_exits_0(url: str, tmp_path: Path) -> None:
    records, journal = hotline(1, 30), tmp_path / "journal"
    put(journal, records[:10])
    with start(journal, url) as process:
        wait_for(url, 10)
        put(journal, records[10:])
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert asyncio.run(dump(url)) == expected(tmp_path, records)


def test_killed_in_the_middle_of_batches_it_goes_on_where_the_tables_are(url: str, tmp_path: Path) -> None:
    records, journal = hotline(7, 900), tmp_path / "journal"
    assert len(records) > 3 * ledger_module.BATCH
    put(journal, records[:-30])
    for seq in (1, ledger_module.BATCH + 1, 2 * ledger_module.BATCH + 1):
        with start(journal, url) as process:
            wait_for(url, seq)
            process.kill()
            process.communicate(timeout=PATIENCE)
    put(journal, records[-30:])
    with start(journal, url) as process:
        wait_for(url, len(records))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert asyncio.run(dump(url)) == expected(tmp_path, records)


KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from events import ledger

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def step(*_):
    global left
    left -= 1
    if left == 0:
        die()

for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
    event.listen(Engine, moment, step)
ledger.Ledger._sleep = die  # all is written
for left in map(int, sys.argv[3:]):
    child = os.fork()
    if not child:
        os._exit(ledger.main(["--journal", sys.argv[1], "--database", sys.argv[2]]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""
"""A ledger for each number given, killed by itself when it has come so far: before or after any statement, or about to
commit; or when it has nothing to do."""


def test_killed_at_any_instant_it_writes_every_row_once(url: str, tmp_path: Path) -> None:
    """kill -9 at random statements, the first within the making of the tables, the last when all is done."""
    chance = random.Random(1)
    records, journal = hotline(1, 150), tmp_path / "journal"
    put(journal, records)
    kills = [chance.randint(1, 20), *(chance.randint(10, 90) for _ in range(6)), 10**9]
    subprocess.run([sys.executable, "-c", KILLED, str(journal), url, *map(str, kills)], check=True)
    assert reached(url) == len(records)
    assert asyncio.run(dump(url)) == expected(tmp_path, records)


def test_a_wrong_database_url_is_a_usage_error(tmp_path: Path) -> None:
    with start(tmp_path, "mysql://x") as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "databases are sqlite and postgresql, not 'mysql'" in errors


def test_a_damaged_journal_ends_it_with_the_place(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    put(journal, hotline(1, 2))
    with segment_path(journal, 1).open("ab") as file:
        file.write(b"garbage\n")
    with start(journal, f"sqlite:///{tmp_path}/x.db") as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "00000000000000000001.jsonl, byte" in errors
