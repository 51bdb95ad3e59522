"""What a control process saves in the journal for the one after it."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.journal import Journal, JournalFull, Tail, read
from events.savings import Savings
from events.segments import MAX_LINE, segments
from events.types import ControlStopped
from kernel.clock import Clock
from tests.support.disks import Valve


def clock() -> Clock:
    return Clock(lambda: 0.0, 1000.0)


def opened(directory: Path, segment_bytes: int = 1 << 20) -> Journal:
    return Journal.open(directory, clock(), segment_bytes=segment_bytes, sync_interval=0)


def restored(directory: Path, after: int = 0) -> tuple[list[str], dict[str, bytes]]:
    """Reasons of the events, and what is saved."""
    kept: dict[str, bytes] = {}
    reasons = []
    for record in read(directory, after, kept.__setitem__):
        assert isinstance(record.event, ControlStopped)
        reasons.append(record.event.reason)
    return reasons, {key: state for key, state in kept.items() if state}


def test_the_last_of_each_key_counts_and_events_do_not_see_it(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(ControlStopped(reason="a"))
    journal.save("call/1", b'{"n":1}')
    journal.save("call/2", b'{"n":2}')
    journal.commit()
    journal.save("call/1", b'{"n":3}')
    journal.save("call/2", b"")
    journal.commit()
    journal.append(ControlStopped(reason="b"))
    journal.close()
    assert restored(tmp_path) == (["a", "b"], {"call/1": b'{"n":3}'})
    assert [record.seq for record in Tail(tmp_path, 1).poll()] == [2]


def test_a_segment_that_ends_with_much_that_is_saved_is_whole(tmp_path: Path) -> None:
    journal = opened(tmp_path, segment_bytes=1)
    journal.append(ControlStopped(reason="a"))
    for number in range(5):
        journal.save(f"call/{number}", b'"%s"' % (b"x" * (MAX_LINE - 2000)))
    journal.commit()
    journal.append(ControlStopped(reason="b"))
    journal.close()
    assert len(segments(tmp_path)) == 2
    again = opened(tmp_path)
    assert (again.seq, again.recovery.set_aside) == (2, ())
    again.close()
    reasons, kept = restored(tmp_path)
    assert (reasons, len(kept)) == (["a", "b"], 5)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=20), st.data())
@settings(max_examples=60, deadline=None)
def test_cut_anywhere_what_is_saved_fits_the_events(
    tmp_path_factory: object, steps: list[tuple[bool, int]], data: st.DataObject
) -> None:
    """Each commit tells an event and saves its number: after a cut at any byte both stand at the same commit, or the
    saved one is one behind, where the cut went through the commit itself."""
    directory: Path = tmp_path_factory.mktemp("cut")  # type: ignore[attr-defined]
    journal = opened(directory, segment_bytes=200)
    for number, (drops, key) in enumerate(steps, 1):
        journal.append(ControlStopped(reason=str(number)))
        journal.save("at", b"%d" % number)
        journal.save(f"k{key}", b"" if drops else b"%d" % number)
        journal.commit()
    journal.close()
    last = segments(directory)[-1][1]
    size = data.draw(st.integers(0, last.stat().st_size))
    with last.open("r+b") as file:
        file.truncate(size)
    opened(directory).close()
    reasons, kept = restored(directory)
    assert reasons == [str(n + 1) for n in range(len(reasons))]
    assert int(kept.get("at", b"0")) in (len(reasons), len(reasons) - 1)


def test_a_reader_from_the_middle_ends_with_the_same(tmp_path: Path) -> None:
    journal = opened(tmp_path, segment_bytes=300)
    for number in range(1, 60):
        journal.append(ControlStopped(reason=str(number)))
        journal.save(f"k{number % 5}", b"%d" % number)
        journal.commit()
    journal.close()
    whole = restored(tmp_path)[1]
    for after in range(55):
        assert restored(tmp_path, after)[1] == whole


def step(journal: Journal, reason: str = "") -> None:
    """A turn of control's loop, whatever the disk does."""
    with suppress(JournalFull):
        if reason:
            journal.append(ControlStopped(reason=reason))
    with suppress(JournalFull):
        journal.commit()


def test_after_a_full_disk_a_successor_has_the_latest_of_each_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of calls that ended, or began, when there was no memory left for more to wait."""
    monkeypatch.setattr("events.journal.MAX_BUFFER", 300)
    journal, valve = opened(tmp_path), Valve(monkeypatch)
    savings = Savings(journal.save)
    for key in ("ended", "changed", "same"):
        savings.put(key, b"1")
    step(journal, "a")
    valve.shut = True
    for reason in "bcdef":
        step(journal, reason)
    assert journal.waiting_bytes > 300
    savings.put("ended", b"")
    for state in (b"2", b"3"):
        savings.put("changed", state)
        savings.put("new", state)
        step(journal)
    assert restored(tmp_path) == (["a"], {"ended": b"1", "changed": b"1", "same": b"1"}), "as when the disk was full"
    valve.shut = False
    journal.commit()
    assert restored(tmp_path)[1] == dict(savings.items()) == {"changed": b"3", "same": b"1", "new": b"3"}
    savings.put("changed", b"4")
    journal.close()
    assert restored(tmp_path)[1]["changed"] == b"4"


def test_a_state_that_no_line_can_hold_takes_the_one_before_it_back(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.save("call/1", b"1")
    journal.save("call/2", b"2")
    journal.commit()
    journal.save("call/1", b"x" * MAX_LINE)
    journal.close()
    assert restored(tmp_path)[1] == {"call/2": b"2"}


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 0, 7, 60, 120]), st.integers(0, 3), st.booleans(), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=100, deadline=None)
def test_whatever_the_disk_takes_the_last_of_each_key_counts_when_nothing_waits(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int | None, int, bool, bool]]
) -> None:
    """(bytes that the disk takes, None for all; key; whether it is taken back; whether there is an event), turn by
    turn."""
    directory = tmp_path_factory.mktemp("disk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("events.journal.MAX_BUFFER", 200)
        journal, valve = opened(directory, segment_bytes=500), Valve(patch)
        savings = Savings(journal.save)
        for number, (valve.room, key, drops, tells) in enumerate(steps, 1):
            savings.put(f"k{key}", b"" if drops else b"%d" % number)
            step(journal, str(number) if tells else "")
            if not journal.waiting_bytes:
                assert restored(directory)[1] == dict(savings.items())
        valve.room = None
        journal.close()
        assert restored(directory)[1] == dict(savings.items())
