"""Whatever is cut, torn or interleaved: the journal holds a gapless prefix, and readers see exactly it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from events.fold import fold
from events.journal import Journal, Tail, read
from events.segments import segments
from events.types import ControlStopped, Event, Recorded
from kernel.clock import Clock
from tests.support.histories import any_events


def clock() -> Clock:
    return Clock(lambda: 0.0, 1000.0)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def opened(directory: Path, segment_bytes: int = 1 << 20) -> Journal:
    return Journal.open(directory, clock(), segment_bytes=segment_bytes, sync_interval=0)


def write(directory: Path, events: list[Event], segment_bytes: int) -> list[Recorded]:
    journal = opened(directory, segment_bytes)
    records = []
    for event in events:
        records.append(journal.append(event))
        journal.commit()
    journal.close()
    return records


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(any_events(), min_size=1, max_size=12),
    segment_bytes=st.sampled_from([1, 300, 1000, 1 << 20]),
    back=st.integers(0, 6000),
    junk=st.sampled_from([b"", b"\0" * 7, b"\n", b"{}\n", b'{"seq":1,"at":2.0,"event":{}}\n', b"\xff\xfe"]),
)
def test_a_journal_cut_at_any_byte_reopens_with_a_gapless_prefix(
    events: list[Event], segment_bytes: int, back: int, junk: bytes
) -> None:
    """`back` bytes are lost from its end, over segments (each keeps its name, as after a power cut); then junk."""
    with folder() as directory:
        records = write(directory, events, segment_bytes)
        for _, path in reversed(segments(directory)):
            size = path.stat().st_size
            cut = min(size, back)
            back -= cut
            path.write_bytes(path.read_bytes()[: size - cut])
        last = segments(directory)[-1][1]
        last.write_bytes(last.read_bytes() + junk)

        journal = opened(directory, segment_bytes)
        kept = journal.seq
        added = journal.append(ControlStopped(reason="after"))
        journal.close()
        assert list(read(directory)) == [*records[:kept], added]
        assert fold(read(directory)) == fold([*records[:kept], added])
        assert added.seq == kept + 1
        assert opened(directory).recovery.cut_bytes == 0


@settings(max_examples=60, deadline=None)
@given(events=st.lists(any_events(), min_size=1, max_size=6), data=st.data())
def test_a_cut_in_one_segment_keeps_all_whole_lines_before_it(events: list[Event], data: st.DataObject) -> None:
    with folder() as directory:
        records = write(directory, events, 1 << 20)
        ((_, path),) = segments(directory)
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        journal = opened(directory)
        assert journal.seq == whole[:cut].count(b"\n")
        journal.close()
        assert list(read(directory)) == records[: journal.seq]


class JournalAndTail(RuleBasedStateMachine):
    """A writer that commits, rolls, dies within a line and comes back; a tail that looks whenever it likes."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.directory = Path(self._folder.name)
        self.journal = opened(self.directory, 400)
        self.tail = Tail(self.directory)
        self.written: list[Recorded] = []
        self.waiting: list[Recorded] = []
        self.seen: list[Recorded] = []
        self.live: list[Recorded] = []
        self.journal.subscribe(self.live.append)

    @rule(event=any_events())
    def append(self, event: Event) -> None:
        self.waiting.append(self.journal.append(event))

    @rule()
    def commit(self) -> None:
        self.journal.commit()
        self.written += self.waiting
        self.waiting = []

    @rule()
    def look(self) -> None:
        self.seen += self.tail.poll()

    @precondition(lambda self: self.written)
    @rule(torn=st.binary(max_size=30).filter(lambda data: b"\n" not in data))
    def die_and_return(self, torn: bytes) -> None:
        """What was appended and not committed is gone, but for a beginning of a line."""
        self.journal._buffer.clear()
        self.journal._pending.clear()
        self.journal.close()
        with segments(self.directory)[-1][1].open("ab") as file:
            file.write(torn)
        self.seen += self.tail.poll()
        self.waiting = []
        self.journal = opened(self.directory, 400)
        self.journal.subscribe(self.live.append)

    def teardown(self) -> None:
        self.commit()
        while found := self.tail.poll():
            self.seen += found
        assert self.seen == self.written == self.live == list(read(self.directory))
        assert [record.seq for record in self.seen] == list(range(1, len(self.seen) + 1))
        self.tail.close()
        self.journal.close()
        self._folder.cleanup()


TestJournalAndTail = JournalAndTail.TestCase
TestJournalAndTail.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
