"""A snapshot of control and the rest of the journal are worth the whole journal, wherever it was taken."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.past import NAME, Past
from events import snapshots
from events.journal import Journal, JournalFull
from events.retention import Policy, trim
from events.types import AgentState, AgentStateChanged, ControlStopped
from kernel.clock import Clock
from kernel.ids import AgentName
from tests.support.disks import Valve

KEYS = ("call/a", "call/b", "leg/1", "agent/x")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(KEYS), st.sampled_from([b"", b"1", b'{"a":2}', b'"three"'])),
        st.sampled_from(list(AgentState)).map(lambda state: ("event", state.value.encode())),
        st.sampled_from([("commit", b""), ("snapshot", b"")]),
    ),
    max_size=40,
)


def went(journal: Journal, past: Past, steps: list[tuple[str, bytes]]) -> None:
    journal.subscribe(past.follow)
    was = AgentState.LOGGED_OUT
    for what, value in steps:
        if what == "event":
            state = AgentState(value.decode())
            journal.append(
                AgentStateChanged(
                    agent=AgentName("x"), state=state, previous=was, reason="", via="api", call=None, lasted=0.0
                )
            )
            was = state
        elif what == "commit":
            journal.commit()
        elif what == "snapshot":
            journal.commit()
            past.write()
        else:
            past.savings.put(what, value)
    journal.commit()


def opened(directory: Path, boot: bytes = b'"one"', segment_bytes: int = 300) -> tuple[Journal, Past]:
    journal = Journal.open(directory, Clock(lambda: 1.0, 5000.0), segment_bytes=segment_bytes, sync_interval=0)
    return journal, Past(directory, journal.save, boot)


@settings(max_examples=60, deadline=None)
@given(lives=st.lists(STEPS, min_size=1, max_size=3))
def test_a_start_from_a_snapshot_equals_one_from_all(lives: list[list[tuple[str, bytes]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "journal"
        for steps in lives:
            journal, past = opened(directory)
            went(journal, past, steps)
            journal.close()
        journal, snapped = opened(directory)
        for path in snapshots.folder(directory).glob("*"):
            path.unlink()
        whole = Past(directory, lambda key, state: None, b'"one"')
        journal.close()
        assert dict(snapped.savings.items()) == dict(whole.savings.items()) == dict(past.savings.items())
        assert snapped.live == whole.live
        assert snapped.agents == whole.agents


def test_no_snapshot_is_taken_of_what_the_disk_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the state is ahead of the log: a call that is kept there would have begun in no event."""
    journal, _ = opened(tmp_path)
    past = Past(tmp_path, journal.save, b'"one"', waits=lambda: journal.waiting_bytes > 0)
    journal.append(ControlStopped(reason="a"))
    journal.commit()
    valve = Valve(monkeypatch)
    valve.shut = True
    past.savings.put("call/1", b"1")
    with pytest.raises(JournalFull):
        journal.commit()
    past.write()
    assert not list(snapshots.folder(tmp_path).glob("*"))
    valve.shut = False
    journal.close()
    past.write()


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, more=STEPS)
def test_what_retention_leaves_is_enough(steps: list[tuple[str, bytes]], more: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "journal"
        journal, past = opened(directory, segment_bytes=60)
        went(journal, past, [*steps, ("event", b"ready"), ("snapshot", b""), *more])
        trim(directory, Policy(size=1), (NAME,), 0.0)
        journal.close()
        journal, after = opened(directory)
        journal.close()
        assert dict(after.savings.items()) == dict(past.savings.items())
        assert after.live == past.live
        assert after.agents == past.agents


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, None])
def test_a_damaged_snapshot_is_passed_over(damage: bytes | None, tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal, past = opened(directory)
    went(
        journal,
        past,
        [("call/a", b"1"), ("event", b"ready"), ("snapshot", b""), ("call/a", b""), ("event", b"on_call")],
    )
    journal.close()
    (path,) = snapshots.folder(directory).glob(f"{NAME}*")
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    journal, again = opened(directory)
    journal.close()
    assert dict(again.savings.items()) == dict(past.savings.items())
    assert again.live == past.live


def test_of_another_boot_nothing_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    journal, past = opened(directory)
    went(journal, past, [("call/a", b"1"), ("event", b"ready"), ("snapshot", b""), ("leg/1", b"1")])
    journal.close()
    journal, again = opened(directory, b'"two"')
    journal.commit()
    journal.close()
    assert dict(again.savings.items()) == {"boot/id": b'"two"'}
    journal, third = opened(directory, b'"two"')
    journal.close()
    assert dict(third.savings.items()) == {"boot/id": b'"two"'}
    assert again.agents.keys() == {"x"}
