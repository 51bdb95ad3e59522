"""Faults that last: one incident each, with a beginning, an end and a duration, in every fold of the log."""

from collections.abc import Iterable

from events.fold import LiveState
from events.projection import Projection
from events.types import (
    DiskEnough,
    DiskLow,
    Event,
    JournalWaited,
    Recorded,
    TrunkDown,
    TrunkRegistered,
    TrunkRegistrationFailed,
    TrunkRemoved,
    TrunkStarted,
    TrunkTargetDown,
    TrunkTargetUp,
    TrunkUp,
)
from metrics.exporter import Exporter

A, B = "udp:192.0.2.1:5060", "udp:192.0.2.2:5060"


def log(*events: Event) -> list[Recorded]:
    """One every ten seconds."""
    return [Recorded(seq, 1000.0 + 10 * seq, event) for seq, event in enumerate(events, 1)]


def incidents(records: Iterable[Recorded]) -> dict[int, dict[str, object]]:
    """Rows of the table, by key, as upserts leave them."""
    projection, rows = Projection(), dict[int, dict[str, object]]()
    for record in records:
        for write in projection.step(record):
            if write.table == "incidents":
                assert isinstance(write.key, int)
                rows.setdefault(write.key, {}).update(write.values)
    return rows


def live(records: Iterable[Recorded]) -> LiveState:
    state = LiveState()
    for record in records:
        state.apply(record)
    return state


STARTED = TrunkStarted(trunk="op", targets=[A, B], registers=True)
FAILED = TrunkRegistrationFailed(trunk="op", registrar=A, sip_status=403, why="Forbidden", failures=1, retry_in=60)


def test_an_outage_is_one_incident_with_a_duration() -> None:
    records = log(
        STARTED,
        TrunkTargetDown(trunk="op", target=A, why="503 to INVITE"),
        TrunkTargetDown(trunk="op", target=B, why="no answer to OPTIONS"),
        TrunkDown(trunk="op", why="no answer to OPTIONS"),
        TrunkTargetUp(trunk="op", target=B, down_for=20.0),
        TrunkUp(trunk="op", down_for=10.0),
    )
    during = live(records[:4])
    assert set(during.open_incidents) == {
        ("trunk_target_down", f"op {A}"),
        ("trunk_target_down", f"op {B}"),
        ("trunk_down", "op"),
    }
    assert during.trunks["op"].down_since == 1040.0
    after = live(records)
    assert set(after.open_incidents) == {("trunk_target_down", f"op {A}")}
    assert after.trunks["op"].down_since is None
    rows = incidents(records)
    assert {(row["kind"], row["subject"], row["at"], row.get("lasted")) for row in rows.values()} == {
        ("trunk_target_down", f"op {A}", 1020.0, None),
        ("trunk_target_down", f"op {B}", 1030.0, 20.0),
        ("trunk_down", "op", 1040.0, 20.0),
    }


def test_every_further_failure_belongs_to_the_same_incident() -> None:
    records = log(STARTED, FAILED, FAILED, FAILED, TrunkRegistered(trunk="op", registrar=B, expires=60, failed_for=30))
    (row,) = incidents(records).values()
    assert (row["kind"], row["what"], row["at"], row["lasted"]) == ("trunk_unregistered", "403 Forbidden", 1020.0, 30.0)
    assert live(records).open_incidents == {}
    assert live(records).trunks["op"].registered


def test_what_is_no_longer_configured_has_no_faults() -> None:
    down = TrunkTargetDown(trunk="op", target=A, why="x")
    records = log(STARTED, down, FAILED, TrunkStarted(trunk="op", targets=[B], registers=False))
    assert live(records).open_incidents == {}
    assert all(row["lasted"] for row in incidents(records).values())
    records = log(STARTED, down, FAILED, TrunkDown(trunk="op", why="x"), TrunkRemoved(trunk="op"))
    assert live(records).open_incidents == {}
    assert live(records).trunks == {}
    assert len([row for row in incidents(records).values() if row["lasted"]]) == 3


def test_a_restart_does_not_forget_that_it_is_down() -> None:
    records = log(STARTED, TrunkTargetDown(trunk="op", target=A, why="x"), TrunkDown(trunk="op", why="x"), STARTED)
    state = live(records)
    assert state.trunks["op"].down_since == 1030.0
    assert state.trunks["op"].targets_down == {A: 1020.0}


def test_a_disk_that_was_full_and_one_that_gets_full() -> None:
    low = DiskLow(folder="recordings", free_bytes=5 << 20, total_bytes=1 << 30, limit_bytes=1 << 29)
    records = log(
        JournalWaited(since=900.0, lasted=110.0, lost=2, why="No space left on device"),
        low,
        low,
        DiskEnough(folder="recordings", free_bytes=1 << 30, low_for=20.0),
    )
    waited, disk = incidents(records).values()
    assert (waited["at"], waited["ended_at"], waited["lasted"]) == (900.0, 1010.0, 110.0)
    assert waited["what"] == "events waited in memory, 2 were lost: No space left on device"
    assert (disk["subject"], disk["at"], disk["ended_at"]) == ("recordings", 1020.0, 1040.0)
    assert live(records[:3]).open_incidents[("disk_low", "recordings")].since == 1020.0
    assert live(records).open_incidents == {}
    assert len(live(records).incidents) == 3

    exporter = Exporter(LiveState())
    exporter.feed(records)
    text = exporter.render(2000.0, 77).decode()
    assert "callwright_journal_waiting_bytes 77.0" in text
    assert "callwright_journal_waited_seconds_total 110.0" in text
    assert "callwright_journal_lost_events_total 2.0" in text


def test_a_trunk_named_as_a_folder_closes_no_fault_of_a_disk() -> None:
    low = DiskLow(folder="journal", free_bytes=1, total_bytes=9, limit_bytes=5)
    records = log(low, TrunkRemoved(trunk="journal"), TrunkStarted(trunk="journal", targets=[A], registers=False))
    (row,) = incidents(records).values()
    assert "ended_at" not in row
    assert len(live(records).open_incidents) == 1


def test_metrics_of_trunks() -> None:
    records = log(STARTED, TrunkTargetDown(trunk="op", target=A, why="x"), FAILED)
    state = LiveState()
    exporter = Exporter(state)
    for record in records:
        state.apply(record)
    exporter.feed(records)
    text = exporter.render(2000.0).decode()
    for line in (
        'callwright_trunk_up{trunk="op"} 1.0',
        f'callwright_trunk_target_up{{target="{A}",trunk="op"}} 0.0',
        f'callwright_trunk_target_up{{target="{B}",trunk="op"}} 1.0',
        'callwright_trunk_registered{trunk="op"} 0.0',
        'callwright_trunk_calls{direction="out",trunk="op"} 0.0',
        'callwright_incidents_open{kind="trunk_target_down"} 1.0',
        'callwright_incidents_open{kind="trunk_down"} 0.0',
        'callwright_trunk_registration_failures_total{trunk="op"} 1.0',
    ):
        assert line in text
