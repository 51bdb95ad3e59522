"""The journal under ordinary use and under everything that goes wrong with disks and processes."""

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from events.codec import BadEvent
from events.journal import Journal, JournalDamaged, JournalFull, JournalLocked, Tail, read
from events.segments import MAX_LINE, segment_path, segments
from events.types import ControlStopped, Event, ProcessStarted, Recorded
from kernel.clock import Clock
from tests.support.virtual import run

LONG = 3600.0
"""Seconds between syncs: never, within a test."""


class HandClock(Clock):
    """A clock that a test moves."""

    def __init__(self, epoch: float = 1000.0) -> None:
        self.time = 0.0
        super().__init__(lambda: self.time, epoch)


def event(text: str = "x") -> Event:
    return ControlStopped(reason=text)


def fill(directory: Path, count: int, *, segment_bytes: int = 1 << 20, clock: Clock | None = None) -> None:
    journal = Journal.open(directory, clock or HandClock(), segment_bytes=segment_bytes, sync_interval=0)
    for _ in range(count):
        journal.append(event(str(journal.seq + 1)))
        journal.commit()
    journal.close()


def reasons(records: list[Recorded]) -> list[str]:
    return [record.event.reason for record in records if isinstance(record.event, ControlStopped)]


def test_records_come_back_in_order_with_seq_and_time(tmp_path: Path) -> None:
    clock = HandClock()
    journal = Journal.open(tmp_path, clock, sync_interval=0)
    first = journal.append(event("a"))
    clock.time = 2.5
    second = journal.append(event("b"))
    assert list(read(tmp_path)) == []
    journal.commit()
    assert [first, second] == [Recorded(1, 1000.0, event("a")), Recorded(2, 1002.5, event("b"))]
    assert list(read(tmp_path)) == [first, second]
    assert list(read(tmp_path, after=1)) == [second]
    assert journal.seq == 2
    assert journal.bytes == sum(path.stat().st_size for _, path in segments(tmp_path))
    journal.close()


def test_a_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    fill(tmp_path, 2)
    assert [record.seq for record in read(tmp_path)] == [1, 2, 3, 4, 5]


def test_time_goes_on_at_its_pace_when_the_machines_clock_was_set_back(tmp_path: Path) -> None:
    fill(tmp_path, 1, clock=HandClock(epoch=5000.0))
    clock = HandClock(epoch=1000.0)
    journal = Journal.open(tmp_path, clock, sync_interval=0)
    clock.time = 7.0
    assert journal.append(event()).at == 5007.0
    journal.close()


def test_segments_roll_between_commits_and_are_named_by_their_first_seq(tmp_path: Path) -> None:
    fill(tmp_path, 9, segment_bytes=150)
    names = [first for first, _ in segments(tmp_path)]
    assert names == [1, 4, 7]
    assert reasons(list(read(tmp_path))) == [str(n) for n in range(1, 10)]
    assert reasons(list(read(tmp_path, after=5))) == ["6", "7", "8", "9"]


def test_subscribers_hear_only_what_is_written_in_order(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    heard: list[Recorded] = []
    journal.subscribe(heard.append)
    journal.append(event("a"))
    journal.append(event("b"))
    assert heard == []
    journal.commit()
    journal.commit()
    assert heard == list(read(tmp_path))
    journal.close()


def test_a_subscriber_that_appends_does_not_overtake(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    heard: list[int] = []

    def echo(record: Recorded) -> None:
        if record.seq < 3:
            journal.append(event())
            journal.commit()

    journal.subscribe(echo)
    journal.subscribe(lambda record: heard.append(record.seq))
    journal.append(event())
    journal.commit()
    assert heard == [1, 2, 3]
    journal.close()


def test_a_failing_subscriber_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    heard: list[int] = []

    def fail(record: Recorded) -> None:
        raise RuntimeError(f"at {record.seq}")

    journal.subscribe(fail)
    journal.subscribe(lambda record: heard.append(record.seq))
    journal.append(event())
    journal.append(event())
    with pytest.raises(RuntimeError, match="at 1"):
        journal.commit()
    assert heard == [1, 2]
    journal.close()


@pytest.mark.parametrize(
    "wrong",
    [
        ControlStopped(reason=None),  # type: ignore[arg-type]
        ProcessStarted(process="x", pid=1.5),  # type: ignore[arg-type]
        ProcessStarted(process="x", pid=object()),  # type: ignore[arg-type]
        ControlStopped(reason="x" * MAX_LINE),
    ],
)
def test_an_event_that_replay_could_not_read_is_refused_at_the_door(tmp_path: Path, wrong: Event) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    with pytest.raises(BadEvent):
        journal.append(wrong)
    assert journal.append(event()).seq == 1
    journal.close()
    assert reasons(list(read(tmp_path))) == ["x"]


def test_bytes_of_a_peer_that_are_no_text_do_not_stop_the_journal(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    record = journal.append(event("a\udcff\nb"))
    journal.close()
    assert list(read(tmp_path)) == [record]
    assert reasons([record]) == ["a\ufffd\nb"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    with pytest.raises(JournalLocked, match=f"written by process {os.getpid()}"):
        Journal.open(tmp_path, HandClock())
    journal.close()
    journal.close()
    Journal.open(tmp_path, HandClock(), sync_interval=0).close()


WRITER = """
import os, signal, sys
from pathlib import Path
from events.journal import Journal
from events.types import ControlStopped
from kernel.clock import system_clock
journal = Journal.open(Path(sys.argv[1]), system_clock(), segment_bytes=20_000, sync_interval=3600)
for n in range(int(sys.argv[2])):
    journal.append(ControlStopped(reason=str(journal.seq + 1)))
    journal.commit()
    print(journal.seq, flush=True)
journal.append(ControlStopped(reason="never committed"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def writer(directory: Path, count: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", WRITER, str(directory), str(count)], stdout=subprocess.PIPE)


def test_a_second_process_cannot_write(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    other = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), "1"], capture_output=True, text=True, check=False
    )
    assert "JournalLocked" in other.stderr
    journal.close()


def test_kill_between_write_and_sync_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    with writer(tmp_path, 50) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    fill(tmp_path, 1)
    assert reasons(list(read(tmp_path))) == [str(n) for n in range(1, 52)]


def test_kill_at_any_moment_keeps_every_acknowledged_event(tmp_path: Path) -> None:
    acknowledged = 0
    for lines in (1, 40, 700):
        with writer(tmp_path, 10**9) as process:
            assert process.stdout is not None
            for _ in range(lines):
                acknowledged = int(process.stdout.readline())
            process.kill()
    fill(tmp_path, 1)
    found = reasons(list(read(tmp_path)))
    assert len(found) > acknowledged
    assert found == [str(n) for n in range(1, len(found) + 1)]


def test_a_full_disk_is_said_and_loses_neither_events_nor_order(tmp_path: Path) -> None:
    """The kernel itself cuts the write short (RLIMIT_FSIZE), in the middle of a line."""
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    heard: list[Recorded] = []
    journal.subscribe(heard.append)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (130, hard))
    try:
        for text in "abc":
            journal.append(event(text))
        with pytest.raises(JournalFull):
            journal.commit()
        journal.append(event("d"))
        with pytest.raises(JournalFull):
            journal.commit()
        assert heard == []
        written = segment_path(tmp_path, 1).read_bytes()
        assert len(written) == 130
        assert not written.endswith(b"\n")
        assert reasons(list(read(tmp_path))) == ["a"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.commit()
    assert reasons(heard) == list("abcd")
    assert list(read(tmp_path)) == heard
    journal.close()


def test_a_full_disk_at_a_segments_end_does_not_misname_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short write may end exactly at a line's end, past the segment's size."""
    real = os.write
    room = [1]

    def write(fd: int, data: Any) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        room.pop()
        return real(fd, bytes(data[: bytes(data).index(b"\n") + 1]))

    journal = Journal.open(tmp_path, HandClock(), segment_bytes=10, sync_interval=0)
    monkeypatch.setattr(os, "write", write)
    journal.append(event("a"))
    journal.append(event("b"))
    for _ in range(2):
        with pytest.raises(JournalFull, match="No space left"):
            journal.commit()
    monkeypatch.setattr(os, "write", real)
    journal.commit()
    journal.append(event("c"))
    journal.close()
    assert reasons(list(read(tmp_path))) == ["a", "b", "c"]
    assert [first for first, _ in segments(tmp_path)] == [1, 3]


def test_a_disk_without_room_for_a_new_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path, HandClock(), segment_bytes=10, sync_interval=0)
    journal.append(event("a"))
    journal.commit()
    real = os.open

    def no_room(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", no_room)
    journal.append(event("b"))
    with pytest.raises(JournalFull):
        journal.commit()
    monkeypatch.setattr(os, "open", real)
    journal.close()
    assert reasons(list(read(tmp_path))) == ["a", "b"]


def test_what_waits_for_the_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.journal.MAX_BUFFER", 100)
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    journal.append(event("a"))
    journal.append(event("b"))
    with pytest.raises(JournalFull, match="wait for the disk"):
        journal.append(event("c"))
    journal.commit()
    journal.append(event("d"))
    journal.close()
    assert reasons(list(read(tmp_path))) == ["a", "b", "d"]


def test_unsynced_age_grows_until_the_sync(tmp_path: Path) -> None:
    clock = HandClock()
    journal = Journal.open(tmp_path, clock, sync_interval=LONG)
    assert journal.unsynced_ms == 0.0
    journal.append(event())
    journal.commit()
    clock.time = 0.25
    assert journal.unsynced_ms == 250.0
    journal.sync()
    assert journal.unsynced_ms == 0.0
    assert journal.take_unsynced_ms_max() == 250.0
    assert journal.take_unsynced_ms_max() == 0.0
    journal.close()


def test_a_failing_sync_is_said_and_goes_on_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    journal = Journal.open(tmp_path, clock, sync_interval=LONG)
    journal.append(event())
    journal.commit()

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        with pytest.raises(JournalFull, match="Input/output"):
            journal.sync()
    clock.time = 3.0
    assert journal.unsynced_ms == 3000.0
    journal.close()
    assert journal.unsynced_ms == 0.0


def test_the_thread_syncs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, real = threading.Event(), os.fdatasync

    def noticed(fd: int) -> None:
        real(fd)
        done.set()

    monkeypatch.setattr(os, "fdatasync", noticed)
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0.001, segment_bytes=10)
    for _ in range(3):
        journal.append(event())
        journal.commit()
    assert done.wait(10)
    journal.close()


# --- repair ---------------------------------------------------------------------------------------------------


def test_half_a_line_is_cut_off_and_said(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    with segment_path(tmp_path, 1).open("ab") as file:
        file.write(b'{"seq":3,"at')
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    assert (journal.recovery.cut_bytes, journal.recovery.set_aside, journal.seq) == (12, (), 2)
    assert journal.append(event("3")).seq == 3
    journal.close()
    assert reasons(list(read(tmp_path))) == ["1", "2", "3"]


def test_whole_lines_behind_a_hole_are_set_aside(tmp_path: Path) -> None:
    """A power cut may lose a page in the middle of what was not synced."""
    fill(tmp_path, 6)
    path = segment_path(tmp_path, 1)
    data = bytearray(path.read_bytes())
    lines = bytes(data).splitlines(keepends=True)
    hole = len(b"".join(lines[:3]))
    data[hole : hole + 5] = b"\0" * 5
    path.write_bytes(data)
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    assert journal.seq == 3
    (aside,) = journal.recovery.set_aside
    assert aside.read_bytes() == bytes(data[hole:])
    journal.append(event("new"))
    journal.close()
    assert reasons(list(read(tmp_path))) == ["1", "2", "3", "new"]


def test_a_segment_whose_predecessor_lost_its_end_is_set_aside(tmp_path: Path) -> None:
    fill(tmp_path, 9, segment_bytes=150)
    middle = segment_path(tmp_path, 4)
    os.truncate(middle, middle.stat().st_size - 10)
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    assert journal.seq == 5
    assert [path.name for path in journal.recovery.set_aside] == ["00000000000000000007.jsonl.torn-0"]
    journal.append(event("new"))
    journal.close()
    assert reasons(list(read(tmp_path))) == ["1", "2", "3", "4", "5", "new"]


def test_an_empty_last_segment_continues_the_one_before(tmp_path: Path) -> None:
    fill(tmp_path, 3, segment_bytes=150, clock=HandClock(7000.0))
    segment_path(tmp_path, 4).touch()
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    assert (journal.seq, journal.recovery.last_at) == (3, 7000.0)
    assert journal.append(event("4")).at >= 7000.0
    journal.close()
    assert reasons(list(read(tmp_path))) == ["1", "2", "3", "4"]


# --- reading --------------------------------------------------------------------------------------------------


def test_a_tail_may_be_there_first(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "journal")
    assert tail.poll() == []
    (tmp_path / "journal").mkdir()
    assert tail.poll() == []
    fill(tmp_path / "journal", 2)
    assert reasons(tail.poll()) == ["1", "2"]
    assert tail.poll() == []
    tail.close()


def test_a_tail_follows_over_segments(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), segment_bytes=100, sync_interval=0)
    tail = Tail(tmp_path)
    for number in range(1, 8):
        journal.append(event(str(number)))
        journal.commit()
        assert reasons(tail.poll()) == [str(number)]
        assert tail.seq == number
    journal.close()
    tail.close()


def test_a_tail_waits_for_the_rest_of_a_line_and_survives_its_loss(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    tail = Tail(tmp_path)
    assert reasons(tail.poll()) == ["1"]
    with segment_path(tmp_path, 1).open("ab") as file:
        file.write(b'{"seq":2,"at":1.0,"event":{"type":"ControlSt')
    assert tail.poll() == []
    fill(tmp_path, 1)
    assert reasons(tail.poll()) == ["2"]
    tail.close()


def test_a_tail_from_the_middle_reads_only_the_rest(tmp_path: Path) -> None:
    fill(tmp_path, 9, segment_bytes=150)
    for after in range(10):
        assert reasons(list(read(tmp_path, after))) == [str(n) for n in range(after + 1, 10)]


def test_more_than_one_read_of_lines(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    for _ in range(9):
        journal.append(event("y" * (MAX_LINE // 4)))
    journal.close()
    assert [record.seq for record in read(tmp_path)] == list(range(1, 10))
    assert [record.seq for record in read(tmp_path, after=7)] == [8, 9]


def test_a_place_in_a_large_segment_is_found_without_reading_what_is_before(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    for number in range(1, 5001):
        journal.append(event(f"{number:0{number % 200}}"))
    journal.close()
    with segment_path(tmp_path, 1).open("r+b") as file:
        file.write(b"?" * 50)  # whoever reads from the beginning would notice
    for after in (1500, 2500, 3000, 4321, 4999):
        tail = Tail(tmp_path, after)
        assert tail.poll()[0].seq == after + 1
        tail.close()
    assert list(read(tmp_path, after=5000)) == []
    with pytest.raises(JournalDamaged, match="byte 0"):
        list(read(tmp_path))


def test_damage_in_the_middle_is_named_by_file_and_byte(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    path = segment_path(tmp_path, 1)
    data = path.read_bytes()
    second = data.index(b"\n") + 1
    path.write_bytes(data[:second] + b"?" + data[second + 1 :])
    with pytest.raises(JournalDamaged, match=f"{path.name}, byte {second}"):
        list(read(tmp_path))


def test_a_gap_in_seq_is_damage(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    path = segment_path(tmp_path, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(JournalDamaged, match="3 instead of 2"):
        list(read(tmp_path))


def test_a_beginning_that_was_removed_is_said(tmp_path: Path) -> None:
    fill(tmp_path, 9, segment_bytes=150)
    segment_path(tmp_path, 1).unlink()
    assert reasons(list(read(tmp_path, after=3))) == [str(n) for n in range(4, 10)]
    with pytest.raises(JournalDamaged, match="begins at 4, event 1 is gone"):
        list(read(tmp_path))


def test_follow_waits_without_blocking_the_loop(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, HandClock(), sync_interval=0)
    tail = Tail(tmp_path)

    def write() -> None:
        journal.append(event(str(asyncio.get_running_loop().time())))
        journal.commit()

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        for moment in (1.0, 2.0):
            loop.call_at(moment, write)
        found: list[str] = []
        async for records in tail.follow(interval=0.25):
            found += reasons(records)
            if len(found) == 2:
                return found
        raise AssertionError

    assert [float(moment) for moment in run(main())] == [1.0, 2.0]
    journal.close()
    tail.close()
