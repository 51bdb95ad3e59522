"""`callwright events`, `callwright call`, `callwright rebuild`: what they print and what they do to tables."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import text, update

from events import rebuild as rebuild_module
from events.codec import EVENTS, clean, decode, defaults, fields
from events.commands import UnknownEventType, event_line, follow, rebuild, show_call
from events.store import Projector, open_engine
from events.story import _LINES, elapsed, headline, safe, story
from events.tables import events
from events.types import CallArrived, CallOffered, ControlReported, ControlStopped, Event, Recorded
from kernel.ids import CallId
from tests.support.histories import any_events, hotline
from tests.unit.events.test_ledger import put, start, wait_for
from tests.unit.events.test_store import dump, numbered, project

SERVED = next(
    log for log in (hotline(seed, 1) for seed in range(100)) if any(isinstance(r.event, CallOffered) for r in log)
)


def arrived(caller_name: str) -> CallArrived:
    return CallArrived(
        call=CallId("c"),
        sip_call_id="x",
        caller="139",
        caller_name=caller_name,
        dialled="1001",
        source="udp:127.0.0.1:5060",
        trunk="",
    )


def printed(
    journal: Path, after: int = 0, types: Sequence[str] = (), call: str = "", *, json: bool = False
) -> list[str]:
    out: list[str] = []
    asyncio.run(follow(journal, out.append, after=after, types=types, call=call, json=json, stay=False))
    return out


def test_events_are_filtered_by_place_type_and_call(tmp_path: Path) -> None:
    records = hotline(1, 5)
    put(tmp_path, records)
    assert len(printed(tmp_path)) == len(records)
    assert len(printed(tmp_path, after=10)) == len(records) - 10
    assert len(printed(tmp_path, types=["CallArrived", "CallEnded"])) == 10
    assert all("call=call-00002" in line for line in printed(tmp_path, call="call-00002"))
    assert [decode(line.encode()) for line in printed(tmp_path, json=True)] == records


def test_an_unknown_event_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownEventType, match=r"no event is called 'CallArived'; there are: .*CallArrived"):
        printed(tmp_path, types=["CallArived"])


def test_follow_goes_on_as_the_log_grows(tmp_path: Path) -> None:
    records = hotline(1, 3)
    out: list[str] = []

    async def main() -> None:
        task = asyncio.create_task(follow(tmp_path, out.append))
        for end in (10, 20):
            put(tmp_path, records[end - 10 : end])
            async with asyncio.timeout(10):
                while len(out) < end:  # noqa: ASYNC110 - a file has no asyncio.Event
                    await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(main())
    assert out == [event_line(record) for record in records[:20]]


def test_one_event_is_one_printable_line() -> None:
    line = event_line(Recorded(12, 1.5, arrived("\x1b[2J Eve\n\u202e")))
    assert line.startswith(
        "     12  1970-01-01 00:00:01.500 UTC  CallArrived         call=c sip_call_id=x caller=139 caller"
    )
    assert line.isprintable()


def test_the_story_is_the_same_from_journal_and_database(url: str, tmp_path: Path) -> None:
    records = hotline(2, 20)
    put(tmp_path / "journal", records)
    asyncio.run(project(url, [records]))
    for call in ("call-00000", "call-00013"):
        told: list[str] = []
        again: list[str] = []
        assert show_call(tmp_path / "journal", call, told.append)
        assert show_call(url, call, again.append)
        assert told == again
        assert told[0].startswith(f"Call {call}: 2025-10-09 ")
        assert any("the call is over" in line for line in told)
        assert "caller   SIP    udp:" in "\n".join(told[told.index("") :])
    assert not show_call(tmp_path / "journal", "nobody", told.append)
    assert not show_call(url, "nobody", told.append)


def test_a_story_reads_well() -> None:
    lines = [str(line).rstrip() for line in story(record for record in SERVED if hasattr(record.event, "call"))]
    assert lines[0] == (
        "   +0:00.0  caller        13900000000 dials 1001 over trunk loopback, udp:127.0.0.1:5060, Call-ID 0@peer"
    )
    assert lines[1] == "   +0:00.0  caller        is answered after 0.0 s, PCMU"
    assert any("caller        presses 1 (rfc4733)" in line for line in lines)
    assert any("leg 2         rings 8001 for up to 15 s" in line for line in lines)


@settings(max_examples=200, deadline=None)
@given(event=any_events())
def test_every_event_can_be_told_and_stays_on_its_line(event: Event) -> None:
    record = Recorded(1, 1.0, clean(event))
    assert all(str(line).isprintable() for line in story([record]))
    assert event_line(record).isprintable()
    assert headline([record]).isprintable()


def test_every_event_of_a_call_has_words_of_its_own() -> None:
    named = {name for name, kind in EVENTS.items() if "call" in kind.__struct_fields__}
    assert named - set(_LINES) == set()


def test_times_and_texts() -> None:
    assert [elapsed(s) for s in (0, 3.26, 59.96, 3723.4)] == ["+0:00.0", "+0:03.3", "+1:00.0", "+1:02:03.4"]
    assert safe("a\x1b[0m\x00测") == "a\\x1b[0m\\x00测"
    assert headline([]) == "no records"
    assert headline(numbered([ControlStopped(reason="")])) == "Call ?: its beginning is not in these records"


def test_rebuild_of_right_tables_finds_them_equal(url: str, tmp_path: Path) -> None:
    records = hotline(2, 20)
    put(tmp_path / "journal", records)
    asyncio.run(project(url, [records[:200]]))
    out: list[str] = []
    report = rebuild(tmp_path / "journal", url, out=out.append)
    assert (report.equal, report.replaced, report.seq) == (True, False, 200)
    assert out[0] == "compared with the journal up to event 200:"
    assert out[-1] == "all tables are equal"


DAMAGE = (
    "update calls set talked = 99 where call = 'call-00003'",
    "delete from legs where leg = 'call-00004-1'",
    "insert into recordings (path) values ('zz')",
)


def hurt(url: str) -> None:
    async def main() -> None:
        engine = open_engine(url, pooled=False)
        async with engine.begin() as connection:
            for statement in DAMAGE:
                await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(main())


def test_rebuild_names_every_difference_and_puts_it_right(url: str, tmp_path: Path) -> None:
    records = hotline(2, 20)
    put(tmp_path / "journal", records)
    right = asyncio.run(project(url, [records]))
    hurt(url)
    looked = rebuild(tmp_path / "journal", url, verify=True)
    assert (looked.equal, looked.replaced) == (False, False)
    assert looked.differences == [
        "calls call-00003: talked: 99.0 instead of 0.0",
        "legs call-00004-1: is missing",
        "recordings zz: is not in the journal",
    ]
    assert rebuild(tmp_path / "journal", url).replaced
    assert asyncio.run(dump(url)) == right
    assert rebuild(tmp_path / "journal", url).equal


def test_what_an_older_version_wrote_is_not_a_difference(url: str, tmp_path: Path) -> None:
    """It knew nothing of fields that came later; a value that it did write counts."""
    report = ControlReported(
        calls=1, loop_lag_ms=1.0, journal_bytes=1, unsynced_ms_max=1.0, cpu_seconds=1.0, memory_bytes=1
    )
    put(tmp_path / "journal", numbered([report]))
    asyncio.run(project(url, [numbered([report])]))

    later = defaults(ControlReported)
    assert later
    rewrite(url, {name: value for name, value in fields(report).items() if name not in later})
    assert rebuild(tmp_path / "journal", url, verify=True).equal
    rewrite(url, fields(report) | {"tasks": 5})
    assert not rebuild(tmp_path / "journal", url, verify=True).equal


def rewrite(url: str, body: dict[str, Any]) -> None:
    async def main() -> None:
        engine = open_engine(url, pooled=False)
        async with engine.begin() as connection:
            await connection.execute(update(events).values(body=body))
        await engine.dispose()

    asyncio.run(main())


def test_rebuild_replaces_another_journals_tables(url: str, tmp_path: Path) -> None:
    put(tmp_path / "journal", hotline(2, 5))
    asyncio.run(project(url, [hotline(3, 9)]))
    assert rebuild(tmp_path / "journal", url).replaced
    assert asyncio.run(dump(url)) == asyncio.run(project(f"sqlite:///{tmp_path}/x.db", [hotline(2, 5)]))


def test_rebuild_of_an_empty_database_makes_its_tables(url: str, tmp_path: Path) -> None:
    """Nothing was projected yet, so nothing differs; the ledger fills it."""
    put(tmp_path / "journal", hotline(2, 5))
    assert rebuild(tmp_path / "journal", url).equal


def test_rebuild_compares_one_moment_while_the_ledger_goes_on(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger writes right after the checkpoint was read: its new rows are no differences."""
    records = hotline(2, 20)
    put(tmp_path / "journal", records)
    asyncio.run(project(url, [records[:200]]))
    quiet = rebuild_module._project

    async def busy(journal: Path, into: Projector, until: int | None) -> None:
        await quiet(journal, into, until)
        ledger = Projector(open_engine(url, pooled=False))
        await ledger.open()
        await ledger.write(records[200:])
        await ledger.engine.dispose()

    monkeypatch.setattr(rebuild_module, "_project", busy)
    report = rebuild(tmp_path / "journal", url, verify=True)
    assert (report.differences, report.equal, report.seq) == ([], True, 200)


def test_a_running_ledger_goes_on_after_a_rebuild(url: str, tmp_path: Path) -> None:
    records, journal = hotline(2, 20), tmp_path / "journal"
    put(journal, records[:200])
    with start(journal, url) as process:
        wait_for(url, 200)
        hurt(url)
        assert rebuild(journal, url).replaced
        put(journal, records[200:])
        wait_for(url, len(records))
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert asyncio.run(dump(url)) == asyncio.run(project(f"sqlite:///{tmp_path}/x.db", [records]))
