"""A call's story out of a real SQLite file."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from events.tables import events, metadata
from web.history import Away, SqlHistory


def test_only_the_calls_own_events_in_order(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/callwright.db"

    async def fill() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(
                insert(events),
                [
                    {"seq": seq, "at": float(seq), "type": "CallEnded", "call": call, "body": {"call": call}}
                    for seq, call in [(3, "a"), (1, "a"), (2, "b")]
                ],
            )
        await engine.dispose()

    asyncio.run(fill())
    found = asyncio.run(SqlHistory(url).call("a"))
    assert [(event.seq, event.fields) for event in found] == [(1, {"call": "a"}), (3, {"call": "a"})]


def test_a_database_without_tables_is_away(tmp_path: Path) -> None:
    """The ledger has not made them yet."""
    with pytest.raises(Away):
        asyncio.run(SqlHistory(f"sqlite+aiosqlite:///{tmp_path}/none.db").call("a"))
