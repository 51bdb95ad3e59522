"""The tables of the log in SQLite or PostgreSQL: written in batches, idempotent, restartable.

The seq of the last record projected is a row (`checkpoint`) written in the same transaction as the rows themselves.
So a batch is there whole or not at all, and a ledger that died goes on where the database is.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec
from sqlalchemy import JSON, Connection, Table, bindparam, delete, event, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from events import tables
from events.migrations.upgrade import upgrade
from events.projection import Open, Projection, Values, Write
from events.tables import PROJECTED, checkpoint
from events.types import Recorded

UNAVAILABLE: Final = (SQLAlchemyError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a database that is absent, starting, stopping, full or read-only raises. All of it may pass."""

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_CONNECT_TIMEOUT = 5.0
_COMMAND_TIMEOUT = 60.0
_BUSY_SECONDS = 10.0
"""How long SQLite waits for a reader's or another writer's lock."""


class Moved(Exception):
    """The checkpoint is not where this projector left it: another one writes here, or the tables were rebuilt."""


def database_url(text: str) -> URL:
    """`sqlite:///path` and `postgresql://…` with our drivers. Raises ValueError for any other database."""
    try:
        url = make_url(text)
    except SQLAlchemyError as error:
        raise ValueError(
            f"'{text}' is no database URL; examples: sqlite:///callwright.db, postgresql://host/db"
        ) from error
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise ValueError(f"databases are sqlite and postgresql, not '{url.get_backend_name()}'")
    return url.set(drivername=driver)


def open_engine(text: str, *, pooled: bool = True) -> AsyncEngine:
    """Connects to nothing yet. Close it by `await engine.dispose()`."""
    url = database_url(text)
    options: dict[str, Any] = {
        "json_serializer": lambda value: msgspec.json.encode(value).decode(),
        "json_deserializer": msgspec.json.decode,
    }
    if not pooled:
        options["poolclass"] = NullPool
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, connect_args={"timeout": _BUSY_SECONDS}, **options)
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    options["connect_args"] = {"timeout": _CONNECT_TIMEOUT, "command_timeout": _COMMAND_TIMEOUT}
    return create_async_engine(url, **options)


def _set_up_sqlite(connection: Any, _record: object) -> None:
    """WAL: readers never wait for the ledger, nor it for them. NORMAL: a power cut may take the last batches, whole;
    the ledger then writes them again from the journal."""
    connection.isolation_level = None  # sqlite3 would begin no transaction for CREATE TABLE: see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """So that all of a transaction is in it, the making of tables too: a ledger killed in the middle leaves none."""
    connection.exec_driver_sql("BEGIN")


class Projector:
    """Writes records to one database. After any exception from `write`, call `open` again before the next."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.seq = 0
        """Of the last record that is in the tables."""
        self.at = 0.0
        self.journal = 0.0
        """Time of record 1 of the journal that these tables came from; 0.0 when they are empty."""
        self._projection = Projection()
        self._inode = -1
        self._statements: dict[tuple[str, tuple[str, ...]], _Upsert] = {}

    async def open(self) -> None:
        """Bring the schema up to date, and load where the tables stand. Raises one of UNAVAILABLE."""
        async with self.engine.begin() as connection:
            await connection.run_sync(upgrade)
            await connection.execute(
                self._upsert(checkpoint, ("id", "seq", "at", "journal")).on_conflict_do_nothing(),
                {"id": 1, "seq": 0, "at": 0.0, "journal": 0.0},
            )
            row = (await connection.execute(select(checkpoint))).one()
            self.seq, self.at, self.journal = row.seq, row.at, row.journal
            self._projection = Projection(await load_open(connection))
        self._inode = self._file_inode()

    async def write(self, records: Sequence[Recorded]) -> None:
        """Project records that follow `seq`; those at or below it are there already, and skipped.

        One transaction. Raises Moved, one of UNAVAILABLE, ValueError for a gap."""
        fresh = [record for record in records if record.seq > self.seq]
        if not fresh:
            return
        if fresh[0].seq != self.seq + 1:
            raise ValueError(f"record {fresh[0].seq} does not follow {self.seq}")
        if self._inode != self._file_inode():
            await self.engine.dispose()  # else we would go on writing to a file that has no name
            raise Moved("the database file was removed or replaced")
        last = fresh[-1]
        journal = self.journal or fresh[0].at
        rows = merge(write for record in fresh for write in self._projection.step(record))
        async with self.engine.begin() as connection:
            await self._advance(connection, last, journal)
            for (table, columns), values in rows.items():
                upsert = self._statement(table, columns)
                await connection.exec_driver_sql(upsert.sql, upsert.parameters(values))
        self.seq, self.at, self.journal = last.seq, last.at, journal

    async def _advance(self, connection: AsyncConnection, last: Recorded, journal: float) -> None:
        """Compare and set, first of all: it takes the row's lock, so that two ledgers can't interleave."""
        moved = await connection.execute(
            update(checkpoint)
            .where(checkpoint.c.seq == self.seq, checkpoint.c.journal == self.journal)
            .values(seq=last.seq, at=last.at, journal=journal)
        )
        if moved.rowcount != 1:
            raise Moved(f"the tables are no longer at record {self.seq}")

    async def skip(self, seq: int, journal: float) -> None:
        """Go on after `seq`: the records before it that the tables lack are gone from the journal. journal: time of
        its record 1. Raises Moved, one of UNAVAILABLE."""
        async with self.engine.begin() as connection:
            moved = await connection.execute(
                update(checkpoint).where(checkpoint.c.seq == self.seq).values(seq=seq, at=0.0, journal=journal)
            )
            if moved.rowcount != 1:
                raise Moved(f"the tables are no longer at record {self.seq}")
        self.seq, self.at, self.journal = seq, 0.0, journal

    async def reset(self) -> None:
        """Empty all tables and begin at 0, in one transaction."""
        async with self.engine.begin() as connection:
            await clear(connection)
        await self.open()

    def _file_inode(self) -> int:
        """Of an SQLite file: 0 when it is gone; -1 for other databases and for memory."""
        url = self.engine.url
        if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
            return -1
        try:
            return os.stat(url.database).st_ino
        except FileNotFoundError:
            return 0

    def _statement(self, name: str, columns: tuple[str, ...]) -> "_Upsert":
        statement = self._statements.get((name, columns))
        if statement is None:
            table = tables.metadata.tables[name]
            insert = self._upsert(table, columns)
            keys = table.primary_key.columns.keys()
            changed = {column: insert.excluded[column] for column in columns if column not in keys}
            made = insert.on_conflict_do_update(index_elements=keys, set_=changed).compile(dialect=self.engine.dialect)
            order = made.positiontup or columns
            lists = frozenset(c for c in columns if isinstance(table.c[c].type, JSON) and c != "body")
            statement = self._statements[name, columns] = _Upsert(str(made), tuple(order), lists)
        return statement

    def _upsert(self, table: Table, columns: tuple[str, ...]) -> Any:
        dialect = sqlite if self.engine.url.get_backend_name() == "sqlite" else postgresql
        return dialect.insert(table).values({name: bindparam(name, type_=table.c[name].type) for name in columns})


class _Upsert(NamedTuple):
    """A statement in the driver's own words. SQLAlchemy would look at each value of each row again."""

    sql: str
    order: tuple[str, ...]
    """Columns of its parameters."""
    json: frozenset[str]
    """Columns whose values must be made JSON."""

    def parameters(self, rows: list[Values]) -> list[tuple[Any, ...]]:
        for column in self.json:
            for row in rows:
                if row[column] is not None:
                    row[column] = msgspec.json.encode(row[column]).decode()
        return [tuple([row[column] for column in self.order]) for row in rows]


def merge(writes: Iterable[Write]) -> dict[tuple[str, tuple[str, ...]], list[Values]]:
    """Writes in order -> one row for each key, grouped by (table, columns) for executemany. Order within does not
    matter any more: no two rows have the same key."""
    rows: dict[tuple[str, Any], Values] = {}
    for table, key, values in writes:
        known = rows.get((table, key))
        if known is None:
            rows[table, key] = dict(values)
        else:
            known.update(values)
    groups: dict[tuple[str, tuple[str, ...]], list[Values]] = {}
    for (table, key), values in rows.items():
        names = _KEYS[table]
        if len(names) == 1:
            values[names[0]] = key
        else:
            values.update(zip(names, key, strict=True))
        groups.setdefault((table, _ordered(tuple(values))), []).append(values)
    return groups


_KEYS: Final[Mapping[str, list[str]]] = MappingProxyType(
    {name: table.primary_key.columns.keys() for name, table in tables.metadata.tables.items()}
)


@cache
def _ordered(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Of as many combinations as there are kinds of writes."""
    return tuple(sorted(columns))


async def clear(connection: AsyncConnection) -> None:
    """Empty everything. The checkpoint goes first: a ledger that writes just now is waited for, the next one waits."""
    for table in (checkpoint, *PROJECTED):
        await connection.execute(delete(table))


async def load_open(connection: AsyncConnection) -> Open:
    """The intervals that have begun and not ended, as the fold of the same records would hold them."""
    found = Open()
    visits, steps, states = tables.queue_visits.c, tables.flow_steps.c, tables.agent_states.c
    phones = tables.registrations.c
    waiting = select(visits.call, visits.visit, visits.outcome).where(tables.visit_open)
    found.visits = {row.call: (row.visit, row.outcome is not None) for row in await connection.execute(waiting)}
    stepping = select(steps.call, steps.step).where(steps.left_at.is_(None))
    found.steps = {row.call: row.step for row in await connection.execute(stepping)}
    working = select(states.agent, states.interval).where(states.ended_at.is_(None))
    found.agents = {row.agent: row.interval for row in await connection.execute(working)}
    bound = select(phones.aor, phones.contact, phones.registration).where(phones.ended_at.is_(None))
    found.phones = {(row.aor, row.contact): row.registration for row in await connection.execute(bound)}
    faults = tables.incidents.c
    lasting = select(faults.kind, faults.subject, faults.incident, faults.at).where(tables.incident_open)
    found.incidents = {(row.kind, row.subject): (row.incident, row.at) for row in await connection.execute(lasting)}
    log = tables.events.c
    last = select(func.max(log.seq)).where(log.type.in_(["ControlStarted", "ControlStopped"])).scalar_subquery()
    found.control_up = await connection.scalar(select(log.type).where(log.seq == last)) == "ControlStarted"
    return found
