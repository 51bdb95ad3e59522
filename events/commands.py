"""What `callwright events`, `callwright call` and `callwright rebuild` do, apart from reading the command line.

`out` takes one line of text without its newline: `print`, or a rich console's `print`.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec
from sqlalchemy import select

from events import tables
from events.codec import EVENTS, decode, encode, event_type, fields
from events.journal import Tail
from events.legs import legs_summary
from events.rebuild import RebuildReport
from events.rebuild import rebuild as rebuild_tables
from events.segments import SAVED, begins, lines, segments
from events.store import open_engine
from events.story import clock_time, headline, safe, story
from events.types import Recorded

Out = Callable[[str], object]

_LOOK_EVERY = 0.1


class UnknownEventType(ValueError):
    """No such event; the message names those that there are."""


async def follow(
    directory: Path,
    out: Out,
    *,
    after: int = 0,
    types: Collection[str] = (),
    call: str = "",
    json: bool = False,
    stay: bool = True,
) -> int:
    """Print the log from after `after`, one line a record; with `stay` go on as it grows, until cancelled.

    types: only these (`CallQueued`); none means all. call: only this call's. Returns how many were printed.
    Raises UnknownEventType, JournalDamaged."""
    unknown = sorted(set(types) - set(EVENTS))
    if unknown:
        raise UnknownEventType(f"no event is called '{unknown[0]}'; there are: {', '.join(sorted(EVENTS))}")
    tail = Tail(directory, max(after, begins(directory) - 1))
    printed = 0
    try:
        while True:
            records = tail.poll()
            for record in records:
                if _wanted(record, types, call):
                    out(encode(record).decode() if json else event_line(record))
                    printed += 1
            if not records:
                if not stay:
                    return printed
                await asyncio.sleep(_LOOK_EVERY)
    finally:
        tail.close()


def _wanted(record: Recorded, types: Collection[str], call: str) -> bool:
    if types and event_type(record.event) not in types:
        return False
    return not call or getattr(record.event, "call", None) == call


def event_line(record: Recorded) -> str:
    """`     12  2026-11-21 21:02:35.250 UTC  CallQueued  call=… queue=billing`"""
    body = " ".join(f"{name}={_value(value)}" for name, value in fields(record.event).items())
    return f"{record.seq:>7}  {clock_time(record.at)}  {event_type(record.event):<18}  {body}"


def _value(value: object) -> str:
    if isinstance(value, str) and value and " " not in value and "=" not in value:
        return safe(value)
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return safe(msgspec.json.encode(value).decode())


def show_call(source: Path | str, call: str, out: Out) -> bool:
    """Tell one call's story, from the journal (a Path) or the database (a URL). False when it knows no such call."""
    records = list(_from_journal(source, call)) if isinstance(source, Path) else asyncio.run(_from_tables(source, call))
    if not records:
        return False
    out(headline(records))
    for line in story(records):
        out(str(line).rstrip())
    for text in ("", *legs_summary(records)):
        out(text)
    return True


def _from_journal(directory: Path, call: str) -> Iterator[Recorded]:
    """Reads every segment, but decodes only lines that hold the call's id: about 1 s for 1 GB."""
    needle = msgspec.json.encode(call)
    for _, path in segments(directory):
        for _, line in lines(path):
            if needle in line and not line.startswith(SAVED) and line.endswith(b"\n"):
                record = decode(line)
                if getattr(record.event, "call", None) == call:
                    yield record


async def _from_tables(url: str, call: str) -> list[Recorded]:
    log = tables.events.c
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            rows = await connection.execute(select(tables.events).where(log.call == call).order_by(log.seq))
            return [_record(row.seq, row.at, row.type, row.body) for row in rows]
    finally:
        await engine.dispose()


def _record(seq: int, at: float, kind: str, body: dict[str, object]) -> Recorded:
    kind, _, version = kind.partition("/")
    line = {"seq": seq, "at": at, "event": {"type": kind, **body}, "v": int(version or _version(kind))}
    return decode(msgspec.json.encode(line))


def _version(kind: str) -> int:
    return EVENTS[kind].VERSION if kind in EVENTS else 1


def rebuild(journal: Path, database_url: str, *, verify: bool = False, out: Out | None = None) -> RebuildReport:
    """Recompute all tables, compare, and (unless `verify`) put right what differs. See events/rebuild.py."""
    report = asyncio.run(rebuild_tables(journal, database_url, verify=verify))
    if out is not None:
        for line in rebuild_lines(report):
            out(line)
    return report


def rebuild_lines(report: RebuildReport) -> list[str]:
    found = [f"compared with the journal up to event {report.seq}:"]
    for table in report.tables:
        differs = f"{table.missing} missing, {table.extra} extra, {table.changed} changed"
        found.append(f"  {table.name:<16} {table.rows:>9} rows  {'equal' if table.equal else differs}")
    found += [f"  {difference}" for difference in report.differences]
    if report.equal:
        found.append("all tables are equal")
    else:
        found.append("tables differ: replaced" if report.replaced else "tables differ: nothing was changed")
    return found
