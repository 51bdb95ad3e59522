"""A snapshot and the rest of the journal are worth the whole journal, wherever it was taken and however it ended."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from events import live_codec, snapshots
from events.codec import clean, decode, encode
from events.fold import LiveState, fold
from events.journal import Journal
from events.segments import segments
from events.types import Event, Recorded
from kernel.clock import Clock
from metrics import kept
from metrics.fold import Fold
from tests.support.histories import any_events, hotline
from web.feed import NAME, Feed

NOW = 5000.0


def numbers(records: list[Recorded]) -> Fold:
    folded = Fold()
    for record in records:
        folded.feed(record)
    return folded


def small(state: LiveState, counted: Fold) -> bool:
    """No integer in it goes beyond 64 bits; one that does makes no snapshot."""
    try:
        live_codec.dump(state)
        kept.dump(counted)
    except ValueError:
        return False
    return True


def values(folded: Fold) -> Any:
    return msgspec.msgpack.decode(kept.dump(folded), strict=False, type=dict[str, Any])


@settings(max_examples=60, deadline=None)
@given(events=st.lists(any_events(), max_size=40), data=st.data())
def test_any_state_comes_back_equal_and_goes_on_equal(events: list[Event], data: st.DataObject) -> None:
    records = [decode(encode(Recorded(seq, 1000.0 + seq / 3, clean(event)))) for seq, event in enumerate(events, 1)]
    middle = data.draw(st.integers(0, len(records)))
    state, counted = fold(records[:middle]), numbers(records[:middle])

    assume(small(state, counted))
    assume(small(fold(records), numbers(records)))  # what they become is compared in the same form
    state_again = live_codec.restore(live_codec.dump(state))
    counted_again = kept.restore(kept.dump(counted))
    assert state_again == state
    assert state_again.incidents.maxlen == state.incidents.maxlen

    for record in records[middle:]:
        counted_again.feed(record)
    assert fold(records[middle:], state_again) == fold(records)
    assert values(counted_again) == values(numbers(records))


def put(directory: Path, records: list[Recorded]) -> None:
    time = [0.0]
    journal = Journal.open(directory, Clock(lambda: time[0], 0.0), segment_bytes=4000, sync_interval=0)
    for record in records:
        time[0] = record.at
        journal.append(record.event)
        journal.commit()
    journal.close()


def read_all(feed: Feed) -> None:
    while feed.step():
        pass


def shown(feed: Feed) -> tuple[LiveState, bytes]:
    return feed.live, feed.exporter.render(NOW)


def opened(directory: Path) -> Feed:
    return Feed(directory, lambda: NOW, queues=["billing"], agents=["anna"])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_a_web_killed_at_any_time_comes_back_with_the_same_numbers(seed: int, data: st.DataObject) -> None:
    """It saved now and then; the newest snapshot may be torn; the journal may have lost its end since."""
    records = hotline(seed, 8)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "journal"
        end = 0
        while end < len(records):
            step = data.draw(st.integers(1, len(records) - end))
            put(directory, records[end : end + step])
            end += step
            feed = opened(directory)
            read_all(feed)
            if data.draw(st.booleans()):
                feed.save()
        for _, path in snapshots._files(snapshots.folder(directory), NAME)[-1:]:
            path.write_bytes(path.read_bytes()[: data.draw(st.sampled_from([None, 10, 200]))])
        last = segments(directory)[-1][1]
        last.write_bytes(last.read_bytes()[: data.draw(st.sampled_from([None, -1, -700]))])
        put(directory, records[:3])

        again = opened(directory)
        read_all(again)
        whole = shown(again)
        for _, path in snapshots._files(snapshots.folder(directory), NAME):
            path.unlink()
        replayed = opened(directory)
        read_all(replayed)
        assert whole == shown(replayed)


def test_it_reads_only_what_came_after(tmp_path: Path) -> None:
    records = hotline(3, 30)
    put(tmp_path, records[:300])
    feed = opened(tmp_path)
    read_all(feed)
    feed.save()
    put(tmp_path, records[300:])
    for _, path in segments(tmp_path)[:3]:
        path.unlink()  # what the snapshot stands for

    again = opened(tmp_path)
    read_all(again)
    assert again.live.seq == len(records)
    assert again.live.outcomes.total() == 30


def test_without_a_snapshot_it_shows_what_there_is_of_a_journal_that_lost_its_beginning(tmp_path: Path) -> None:
    put(tmp_path, hotline(3, 30))
    segments(tmp_path)[0][1].unlink()
    feed = opened(tmp_path)
    read_all(feed)
    assert feed.caught_up
    assert 20 < feed.live.outcomes.total() <= 30
