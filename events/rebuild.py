"""Compute every table again from the journal, compare, and put right what differs.

The journal is projected into a scratch SQLite file, then both databases are read side by side in key order. So the
comparison also proves that two databases hold the same. Differences are replaced in one transaction: readers see the
old tables or the new, and a running ledger notices that the checkpoint moved.
"""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.codec import EVENTS, defaults
from events.journal import read
from events.segments import begins
from events.store import Projector, clear, open_engine
from events.tables import PROJECTED, checkpoint, events
from events.types import Recorded

_BATCH = 1000
_DIFFERENCES_KEPT = 20

Row = dict[str, Any]
Key = tuple[Any, ...]
Keyed = tuple[Key, Row]
Pair = tuple[Key, Row | None, Row | None]


class Trimmed(Exception):
    """The journal no longer has its beginning; the message says from where on it can rebuild."""


@dataclass(slots=True)
class TableReport:
    name: str
    rows: int = 0
    """As the journal gives them."""
    missing: int = 0
    extra: int = 0
    changed: int = 0

    @property
    def equal(self) -> bool:
        return not (self.missing or self.extra or self.changed)


@dataclass(slots=True)
class RebuildReport:
    seq: int
    """Compared up to this record: where the tables were."""
    tables: list[TableReport] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    """The first few, in words."""
    replaced: bool = False

    @property
    def equal(self) -> bool:
        return all(table.equal for table in self.tables)


async def rebuild(journal: Path, database: str, *, verify: bool = False) -> RebuildReport:
    """Compare, and unless `verify` replace the tables when they differ (or were another journal's).

    Raises Trimmed, JournalDamaged, one of store.UNAVAILABLE."""
    target = Projector(open_engine(database))
    if (first := begins(journal)) > 1:
        await target.engine.dispose()
        raise Trimmed(
            f"the journal begins with event {first}: older ones were removed (journal.keep_days, keep_mb), so tables "
            f"can be rebuilt only from event {first} on. Yours hold more, and are left as they are. To fill an empty "
            f"database with what there is from event {first} on, name it in config/callwright.yaml: the ledger does it"
        )
    with tempfile.TemporaryDirectory(prefix="callwright-rebuild-") as folder:
        scratch = Projector(open_engine(f"sqlite:///{folder}/scratch.db"))
        try:
            await target.open()
            await scratch.open()
            report = await _compare_all(journal, scratch, target)
            if not report.equal and not verify:
                await _project(journal, scratch, None)
                await _replace(scratch, target)
                report.replaced = True
        finally:
            await scratch.engine.dispose()
            await target.engine.dispose()
    return report


async def _project(journal: Path, into: Projector, until: int | None) -> None:
    batch: list[Recorded] = []
    for record in read(journal, into.seq):
        if until is not None and record.seq > until:
            break
        batch.append(record)
        if len(batch) == _BATCH:
            await into.write(batch)
            batch.clear()
    await into.write(batch)


async def _compare_all(journal: Path, scratch: Projector, target: Projector) -> RebuildReport:
    """The target is read in one snapshot, whose checkpoint says how far to project."""
    async with target.engine.connect() as theirs:
        if theirs.dialect.name == "postgresql":
            await theirs.execution_options(isolation_level="REPEATABLE READ")
        at = (await theirs.execute(select(checkpoint))).one()
        await _project(journal, scratch, at.seq)
        report = RebuildReport(at.seq)
        async with scratch.engine.connect() as ours:
            for table in (*PROJECTED, checkpoint):
                report.tables.append(await _compare(table, ours, theirs, report.differences))
    return report


async def _compare(table: Table, ours: AsyncConnection, theirs: AsyncConnection, told: list[str]) -> TableReport:
    report = TableReport(table.name)
    async for key, a, b in _pairs(_rows(table, ours), _rows(table, theirs)):
        report.rows += a is not None
        if a == b or (a is not None and b is not None and table is events and a == _with_new_fields(b)):
            continue
        if b is None:
            report.missing += 1
            what = "is missing"
        elif a is None:
            report.extra += 1
            what = "is not in the journal"
        else:
            report.changed += 1
            what = ", ".join(f"{name}: {b[name]!r} instead of {a[name]!r}" for name in a if a[name] != b[name])
        if len(told) < _DIFFERENCES_KEPT:
            told.append(f"{table.name} {'/'.join(map(_text, key))}: {what}")
    return report


def _with_new_fields(row: Row) -> Row:
    """A row of `events` as this version would have written it: an older one knew nothing of fields that came later, and
    their defaults say so."""
    kind = EVENTS.get(row["type"])
    return row | {"body": defaults(kind) | row["body"]} if kind is not None else row


async def _pairs(left: AsyncIterator[Keyed], right: AsyncIterator[Keyed]) -> AsyncIterator[Pair]:
    """Merge two streams in key order; a side that lacks the key gives None."""
    a, b = await anext(left, None), await anext(right, None)
    while a is not None or b is not None:
        key = min(side[0] for side in (a, b) if side is not None)
        mine = a[1] if a is not None and a[0] == key else None
        theirs = b[1] if b is not None and b[0] == key else None
        yield key, mine, theirs
        a = await anext(left, None) if mine is not None else a
        b = await anext(right, None) if theirs is not None else b


def _text(part: object) -> str:
    return part.decode() if isinstance(part, bytes) else str(part)


async def _rows(table: Table, connection: AsyncConnection) -> AsyncIterator[Keyed]:
    """(key, row) in key order. Texts are ordered by their bytes here, whatever the database's collation is."""
    keys = [column.name for column in table.primary_key.columns]
    order = [
        column.collate("C" if connection.dialect.name == "postgresql" else "BINARY") if _is_text(column) else column
        for column in table.primary_key.columns
    ]
    async with connection.stream(select(table).order_by(*order)) as result:
        async for row in result.mappings():
            key = tuple(row[k].encode() if isinstance(row[k], str) else row[k] for k in keys)
            yield key, dict(row)


def _is_text(column: Any) -> bool:
    return bool(column.type.python_type is str)


async def _replace(scratch: Projector, target: Projector) -> None:
    async with scratch.engine.connect() as ours, target.engine.begin() as theirs:
        await clear(theirs)
        for table in (*PROJECTED, checkpoint):
            batch: list[Row] = []
            async for _, row in _rows(table, ours):
                batch.append(row)
                if len(batch) == _BATCH:
                    await theirs.execute(insert(table), batch)
                    batch = []
            if batch:
                await theirs.execute(insert(table), batch)
