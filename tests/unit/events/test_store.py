"""The tables: equal on every database, however the log was cut into batches and whoever died in between."""

import asyncio
import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text

from events.codec import Unknown, clean
from events.migrations.upgrade import alembic_config
from events.projection import MAX_TEXT, Projection
from events.store import Moved, Projector, database_url, open_engine
from events.tables import PROJECTED, checkpoint, metadata
from events.types import (
    AgentState,
    CallArrived,
    CallReleased,
    ControlStarted,
    ControlStopped,
    Event,
    LegMediaReported,
    Recorded,
)
from kernel.ids import CallId
from tests.support.histories import any_events, hotline
from tests.support.postgres import PostgresServer

Tables = dict[str, list[dict[str, Any]]]


async def dump(url: str) -> Tables:
    engine = open_engine(url, pooled=False)
    found: Tables = {}
    async with engine.connect() as connection:
        for table in (*PROJECTED, checkpoint):
            rows = [dict(row) for row in (await connection.execute(select(table))).mappings()]
            keys = [column.name for column in table.primary_key.columns]
            found[table.name] = sorted(rows, key=lambda row, keys=keys: [row[key] for key in keys])  # type: ignore[misc]
    await engine.dispose()
    return found


async def project(url: str, batches: Sequence[Sequence[Recorded]]) -> Tables:
    """A new projector for each batch: as if the ledger had died after every commit."""
    for batch in batches:
        projector = Projector(open_engine(url, pooled=False))
        await projector.open()
        await projector.write(batch)
        await projector.engine.dispose()
    return await dump(url)


def cut(records: Sequence[Recorded], *places: int) -> list[Sequence[Recorded]]:
    ends = sorted(min(place, len(records)) for place in places)
    return [records[a:b] for a, b in itertools.pairwise([0, *ends, len(records)])]


def numbered(events: Sequence[Event]) -> list[Recorded]:
    return [Recorded(seq, 1000.0 + seq / 4, clean(event)) for seq, event in enumerate(events, 1)]


def test_a_hotline_day_adds_up(url: str) -> None:
    records = hotline(4, 80)
    rows = asyncio.run(project(url, cut(records, 100, 500)))
    assert len(rows["events"]) == len(records)
    assert len(rows["calls"]) == 80
    assert all(call["ended_at"] is not None for call in rows["calls"])
    assert all(leg["ended_at"] is not None for leg in rows["legs"])
    visits = rows["queue_visits"]
    queued = [row for row in rows["events"] if row["type"] == "CallQueued"]
    assert len([visit for visit in visits if visit["queue"]]) == len(queued)
    assert all(visit["outcome"] for visit in visits)
    assert all(visit["talked"] > 0 for visit in visits if visit["outcome"] == "answered")
    assert all(offer["result"] for offer in rows["offers"])
    for agent in ("anna", "bo"):
        states = [row for row in rows["agent_states"] if row["agent"] == agent]
        ends = [row["ended_at"] for row in states]
        assert ends == [*[row["began_at"] for row in states][1:], None]
    assert rows["checkpoint"] == [{"id": 1, "seq": len(records), "at": records[-1].at, "journal": records[0].at}]


def test_one_call_row_by_row(url: str) -> None:
    """A served call: what a report would read."""
    logs = (hotline(seed, 1) for seed in range(100))
    records = next(log for log in logs if any(isinstance(record.event, CallReleased) for record in log))
    rows = asyncio.run(project(url, [records]))
    (call,) = rows["calls"]
    assert (call["caller"], call["dialled"], call["trunk"]) == ("13900000000", "1001", "loopback")
    assert (call["outcome"], call["sip_status"], call["answered_after"]) == ("served", 200, 0.01)
    first, second = rows["legs"]
    assert (first["leg"], first["direction"], first["codec"]) == ("call-00000-1", "in", "PCMU")
    assert (second["leg"], second["direction"], second["codec"]) == ("call-00000-2", "out", "PCMA")
    (visit,) = rows["queue_visits"]
    (offer,) = rows["offers"]
    assert visit["agent"] == offer["agent"]
    assert visit["left_at"] == offer["ended_at"]
    assert visit["skills"] == {"zh": 1}
    assert visit["waited"] == pytest.approx(visit["left_at"] - visit["entered_at"])
    assert visit["talked"] == pytest.approx(visit["released_at"] - visit["left_at"])
    (recording,) = rows["recordings"]
    assert recording["seconds"] == pytest.approx(visit["talked"])
    (attribute,) = rows["call_attributes"]
    assert (attribute["name"], attribute["value"]) == ("choice", "billing")
    (step,) = rows["flow_steps"]
    assert (step["node"], step["edge"], step["left_to"]) == ("menu", "1", "billing")
    assert [row["state"] for row in rows["agent_states"]] == [AgentState.ON_CALL, AgentState.WRAP_UP]


_names = itertools.count()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(any_events(), min_size=1, max_size=25), places=st.lists(st.integers(0, 25), max_size=4))
@pytest.mark.postgres
def test_any_events_in_any_portions_give_equal_tables_on_both_databases(
    postgres: PostgresServer, tmp_path: Path, events: list[Event], places: list[int]
) -> None:
    """With hostile texts, numbers beyond 64 bits, events in no sensible order, and a restart after each portion."""
    records = numbered(events)
    number = next(_names)
    whole = asyncio.run(project(f"sqlite:///{tmp_path}/whole{number}.db", [records]))
    pieces = asyncio.run(project(f"sqlite:///{tmp_path}/pieces{number}.db", cut(records, *places)))
    other = asyncio.run(project(_emptied(postgres), cut(records, *places)))
    assert whole == pieces
    assert whole == other


def _emptied(postgres: PostgresServer) -> str:
    """One database for all examples; making one takes 0.1 s."""

    async def empty(url: str) -> None:
        engine = open_engine(url, pooled=False)
        async with engine.begin() as connection:
            await connection.execute(text("drop schema public cascade"))
            await connection.execute(text("create schema public"))
        await engine.dispose()

    asyncio.run(empty(postgres.url()))
    return postgres.url()


def test_the_state_of_open_intervals_is_found_again(url: str) -> None:
    """At every cut of a hotline log: the loaded state is the folded one."""
    records = hotline(9, 6)

    async def main() -> None:
        one = Projector(open_engine(url))
        await one.open()
        for record in records:
            await one.write([record])
            other = Projector(one.engine)
            await other.open()
            assert other._projection == one._projection
            assert (other.seq, other.at, other.journal) == (one.seq, one.at, one.journal)
        await one.engine.dispose()

    asyncio.run(main())


def test_records_that_are_there_already_are_skipped(url: str) -> None:
    records = hotline(2, 5)
    once = asyncio.run(project(url, [records]))
    assert asyncio.run(project(url, [records, records[:3], records[-3:]])) == once


def test_a_gap_is_refused(url: str) -> None:
    records = hotline(2, 5)
    with pytest.raises(ValueError, match="record 4 does not follow 2"):
        asyncio.run(project(url, [records[:2], records[3:]]))


def test_a_batch_is_there_whole_or_not_at_all(url: str) -> None:
    """An error in the middle of a batch leaves the tables where they were; after `open` the same batch goes in."""
    records = hotline(3, 5)

    async def main() -> Tables:
        projector = Projector(open_engine(url))
        await projector.open()
        await projector.write(records[:20])
        async with projector.engine.begin() as connection:
            await connection.execute(text("alter table legs rename to away"))
        before = await _events(projector)
        with pytest.raises(Exception, match="legs"):
            await projector.write(records[20:])
        assert await _events(projector) == before == 20
        async with projector.engine.begin() as connection:
            await connection.execute(text("alter table away rename to legs"))
        await projector.open()
        await projector.write(records[20:])
        await projector.engine.dispose()
        return await dump(url)

    assert asyncio.run(main())["calls"] == _expected(records)["calls"]


async def _events(projector: Projector) -> int:
    async with projector.engine.connect() as connection:
        return int(await connection.scalar(text("select count(*) from events")) or 0)


def _expected(records: Sequence[Recorded]) -> Tables:
    """By a database of the plainest kind."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(project(f"sqlite:///{folder}/x.db", [records]))


def test_two_ledgers_cannot_interleave(url: str) -> None:
    records = hotline(3, 5)

    async def main() -> Tables:
        one, two = Projector(open_engine(url)), Projector(open_engine(url))
        await one.open()
        await two.open()
        await one.write(records[:10])
        with pytest.raises(Moved):
            await two.write(records[:12])
        await two.open()
        assert two.seq == 10
        await two.write(records[10:])
        with pytest.raises(Moved):
            await one.write(records[10:12])
        for projector in (one, two):
            await projector.engine.dispose()
        return await dump(url)

    assert asyncio.run(main()) == _expected(records)


def test_reset_begins_again(url: str) -> None:
    records = hotline(3, 5)

    async def main() -> Tables:
        projector = Projector(open_engine(url))
        await projector.open()
        await projector.write(hotline(99, 3))
        await projector.reset()
        assert (projector.seq, projector.journal) == (0, 0.0)
        await projector.write(records)
        await projector.engine.dispose()
        return await dump(url)

    assert asyncio.run(main()) == _expected(records)


def test_a_removed_sqlite_file_is_noticed(tmp_path: Path) -> None:
    records = hotline(3, 5)
    url = f"sqlite:///{tmp_path}/gone.db"

    async def main() -> None:
        projector = Projector(open_engine(url))
        await projector.open()
        await projector.write(records[:5])
        for file in ("gone.db", "gone.db-wal", "gone.db-shm"):
            (tmp_path / file).unlink(missing_ok=True)
        with pytest.raises(Moved, match="removed"):
            await projector.write(records[5:])
        await projector.open()
        assert projector.seq == 0
        await projector.write(records)
        await projector.engine.dispose()

    asyncio.run(main())
    assert asyncio.run(dump(url)) == _expected(records)


def test_hostile_texts_go_in_whole_and_their_columns_are_cut(url: str) -> None:
    name = "\0x" + "测" * 9000
    arrived = CallArrived(
        call=CallId("c"),
        sip_call_id=name,
        caller=name,
        caller_name=name,
        dialled="'; drop table calls; --",
        source="",
        trunk="",
    )
    rows = asyncio.run(project(url, [numbered([arrived])]))
    (call,) = rows["calls"]
    assert call["caller"] == ("\ufffdx" + "测" * 9000)[:MAX_TEXT]
    assert call["dialled"] == "'; drop table calls; --"
    assert rows["events"][0]["body"]["caller"] == "\ufffdx" + "测" * 9000


def test_a_newer_versions_event_is_kept_and_moves_nothing(url: str) -> None:
    newer = Unknown(kind="ControlStarted", version=7, fields={"version": "9", "call": 5})
    plain = [ControlStarted(version="1", config="", recovered_calls=0), ControlStopped(reason="")]
    rows = asyncio.run(project(url, cut(numbered([*plain, newer, plain[0]]), 3)))
    assert [row["type"] for row in rows["events"]][2] == "ControlStarted/7"
    assert rows["events"][2]["body"] == {"version": "9", "call": 5}
    assert rows["incidents"] == []


def test_a_control_that_died_is_an_incident(url: str) -> None:
    start = ControlStarted(version="1", config="", recovered_calls=3)
    rows = asyncio.run(project(url, cut(numbered([start, ControlStopped(reason=""), start, start]), 3)))
    (incident,) = rows["incidents"]
    assert (incident["incident"], incident["kind"]) == (4, "control_died")


def test_migrations_lead_to_the_tables(url: str) -> None:
    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async def main() -> list[Any]:
        projector = Projector(open_engine(url))
        await projector.open()
        async with projector.engine.connect() as connection:
            found = await connection.run_sync(differences)
        await projector.engine.dispose()
        return found

    assert asyncio.run(main()) == []


def test_legs_of_before_get_what_their_events_say(url: str) -> None:
    """An old database, brought here, is what a rebuild makes of its journal: also of events without today's fields."""
    counts: dict[str, Any] = {
        "codec": "PCMA",
        "packets_sent": 9,
        "jitter_ms": 1.0,
        "jitter_max_ms": 2.0,
        "strangers": 0,
    }
    told: list[dict[str, Any]] = [
        {"leg": "c-1", "packets_received": 90, "packets_lost": 10, "remote_lost": -1, "mos": 4.1, "kind": "caller"},
        {"leg": "c-2", "packets_received": 0, "packets_lost": 0, "remote_lost": 3, "remote_mos": 3.9, "srtp": "S",
         "remote_jitter_ms": 5.0, "round_trip_ms": 12.5, "stun": 2, "unauthenticated": 1},
    ]  # fmt: skip
    records = numbered([LegMediaReported(call=CallId("c"), **{**counts, **one}) for one in told])

    async def old_and_new() -> None:
        engine = open_engine(url, pooled=False)
        async with engine.begin() as connection:
            await connection.run_sync(lambda it: command.upgrade(alembic_config(it), "0002"))
            for record, one in zip(records, told, strict=True):
                body = json.dumps({"call": "c", **counts, **one})
                values = {"seq": record.seq, "at": record.at, "body": body, "leg": one["leg"]}
                kind = ":body" if engine.dialect.name == "sqlite" else "CAST(:body AS jsonb)"
                for statement in (
                    f"INSERT INTO events (seq, at, type, body) VALUES (:seq, :at, 'LegMediaReported', {kind})",
                    "INSERT INTO legs (leg, call) VALUES (:leg, 'c')",
                ):
                    await connection.execute(text(statement), values)
        await engine.dispose()
        projector = Projector(open_engine(url, pooled=False))
        await projector.open()
        await projector.engine.dispose()

    asyncio.run(old_and_new())
    names = ("leg", "kind", "loss", "mos", "remote_mos", "remote_jitter_ms", "round_trip_ms", "srtp", "stun")
    upgraded = [[row[name] for name in names] for row in asyncio.run(dump(url))["legs"]]
    assert upgraded == [
        ["c-1", "caller", 0.1, 4.1, None, None, None, "", 0],
        ["c-2", "", None, None, 3.9, 5.0, 12.5, "S", 2],
    ]
    made = [write.values for record in records for write in Projection().step(record) if write.table == "legs"]
    assert [[row[name] for name in names[1:]] for row in made] == [row[1:] for row in upgraded]


@pytest.mark.parametrize("wrong", ["", "calls.db", "mysql://x/y", "sqlite"])
def test_a_wrong_url_is_one_sentence(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"databases are|no database URL"):
        database_url(wrong)
