"""Old events go only when nobody needs them; what is left is a journal like any other."""

import asyncio
import os
from pathlib import Path

import pytest

from events.commands import follow
from events.journal import Journal, read
from events.ledger import ForeignJournal
from events.rebuild import Trimmed, rebuild
from events.retention import Policy, origin, trim
from events.segments import begins, segments
from events.snapshots import folder, save
from events.store import Projector, open_engine
from events.types import ControlStopped
from kernel.clock import Clock
from tests.support.histories import hotline
from tests.unit.events.test_ledger import Said, ledger_to

NOW = 2_000_000.0
DAY = 86_400.0


def fill(directory: Path, days: int = 10) -> Journal:
    """One segment a day, the last of today."""
    time = [NOW - days * DAY]
    journal = Journal.open(directory, Clock(lambda: time[0], time[0]), segment_bytes=1, sync_interval=0)
    for day in range(days):
        time[0] = NOW - (days - 1 - day) * DAY
        for _ in range(3):
            journal.append(ControlStopped(reason=str(day)))
        journal.commit()
        os.utime(segments(directory)[-1][1], (time[0], time[0]))
    return journal


def mark(directory: Path, **seqs: int) -> None:
    for name, seq in seqs.items():
        save(folder(directory), name, seq, 1, b"")


def test_what_is_older_goes_when_all_are_past_it(tmp_path: Path) -> None:
    journal = fill(tmp_path)
    mark(tmp_path, ledger=30, web=29, control=30)
    first = origin(tmp_path)
    trimmed = trim(tmp_path, Policy(seconds=3.5 * DAY), ("control", "ledger", "web"), NOW)
    assert (trimmed.segments, trimmed.first_seq, trimmed.blocked_by) == (6, 19, "")
    assert begins(tmp_path) == 19
    assert origin(tmp_path) == first
    assert [record.seq for record in read(tmp_path, 18)] == list(range(19, 31))
    journal.trimmed(trimmed.size)
    assert journal.bytes == sum(path.stat().st_size for _, path in segments(tmp_path))
    journal.close()
    assert fill_one(tmp_path) == 31


def fill_one(directory: Path) -> int:
    journal = Journal.open(directory, Clock(lambda: 0.0, NOW), sync_interval=0)
    seq = journal.append(ControlStopped(reason="next")).seq
    journal.close()
    return seq


def test_what_somebody_still_needs_stays(tmp_path: Path) -> None:
    fill(tmp_path).close()
    policy = Policy(seconds=3.5 * DAY)
    mark(tmp_path, web=30, control=30)
    assert trim(tmp_path, policy, ("control", "ledger", "web"), NOW).blocked_by == "ledger"
    mark(tmp_path, ledger=7)
    trimmed = trim(tmp_path, policy, ("control", "ledger", "web"), NOW)
    assert (trimmed.segments, trimmed.first_seq, trimmed.blocked_by) == (2, 7, "ledger")
    mark(tmp_path, other=8)
    assert trim(tmp_path, policy, ("ledger",), NOW).segments == 0
    mark(tmp_path, ledger=30)
    assert trim(tmp_path, policy, ("control", "ledger", "web"), NOW).segments == 0, "its older mark counts"


def test_the_record_of_a_mark_stays(tmp_path: Path) -> None:
    """At the very end of a segment too: without it a snapshot could not be told from one of another history."""
    fill(tmp_path).close()
    mark(tmp_path, control=12)
    trimmed = trim(tmp_path, Policy(size=1), ("control",), NOW)
    assert (trimmed.first_seq, trimmed.blocked_by) == (10, "control")


def test_size_alone_and_never_the_last(tmp_path: Path) -> None:
    fill(tmp_path).close()
    mark(tmp_path, ledger=30)
    one = segments(tmp_path)[-1][1].stat().st_size
    assert trim(tmp_path, Policy(size=4 * one + 10), ("ledger",), NOW).first_seq == 19
    assert trim(tmp_path, Policy(size=1), ("ledger",), NOW).first_seq == 28
    assert trim(tmp_path, Policy(), ("ledger",), NOW).segments == 0
    assert trim(tmp_path / "none", Policy(size=1), ("ledger",), NOW).segments == 0


def test_rebuild_says_from_where_and_people_read_what_is_there(tmp_path: Path) -> None:
    fill(tmp_path).close()
    mark(tmp_path, ledger=30)
    trim(tmp_path, Policy(size=1), ("ledger",), NOW)
    with pytest.raises(Trimmed, match="only from event 28 on"):
        asyncio.run(rebuild(tmp_path, f"sqlite:///{tmp_path}/x.db"))
    lines: list[str] = []
    assert asyncio.run(follow(tmp_path, lines.append, stay=False)) == 3


def put(directory: Path, seed: int, chosen: slice) -> int:
    time = [0.0]
    journal = Journal.open(directory, Clock(lambda: time[0], 0.0), segment_bytes=3000, sync_interval=0)
    for record in hotline(seed, 20)[chosen]:
        time[0] = record.at
        journal.append(record.event)
        journal.commit()
    journal.close()
    return journal.seq


def test_tables_go_on_from_a_journal_without_beginning(url: str, tmp_path: Path) -> None:
    """The ledger that made them, a new database, one restored from an old backup, and another journal's."""
    directory, said = tmp_path / "journal", Said()
    seq = put(directory, 1, slice(0, 200))
    asyncio.run(ledger_to(url, directory, seq, said))
    for place in (seq - 1, seq):  # as a minute later
        mark(directory, ledger=place)
    trim(directory, Policy(size=1), (), NOW)
    first = begins(directory)
    assert first > 100
    seq = put(directory, 1, slice(200, 240))
    asyncio.run(ledger_to(url, directory, seq, said))
    assert "gone from the journal" not in said.words()

    fresh = f"sqlite:///{tmp_path}/fresh.db"
    asyncio.run(ledger_to(fresh, directory, seq, said))
    assert "gone from the journal" in said.words()
    asyncio.run(ledger_to(fresh, directory, put(directory, 1, slice(240, 260)), said))

    put(tmp_path / "other", 2, slice(60, 90))
    with pytest.raises(ForeignJournal):
        asyncio.run(ledger_to(fresh, tmp_path / "other", 1, said))


def test_a_ledger_leaves_a_mark(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    seq = put(directory, 1, slice(0, 50))
    asyncio.run(ledger_to(f"sqlite:///{tmp_path}/x.db", directory, seq, Said()))
    assert list(folder(directory).glob("ledger.*.snap"))


def test_a_projector_that_was_overtaken_skips_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        one, two = (Projector(open_engine(f"sqlite:///{tmp_path}/x.db")) for _ in range(2))
        await one.open()
        await two.open()
        await one.skip(10, 5.0)
        with pytest.raises(Exception, match="no longer at record 0"):
            await two.skip(20, 5.0)
        await two.open()
        assert (two.seq, two.journal) == (10, 5.0)
        await one.engine.dispose()
        await two.engine.dispose()

    asyncio.run(main())
