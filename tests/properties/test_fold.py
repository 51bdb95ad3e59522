"""Replay is live; offered is the sum of outcomes; when all calls are over, every gauge is 0."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from events import types as ev
from events.closing import closing
from events.fold import LiveState, fold
from events.journal import Journal, read
from events.types import Event, Recorded
from kernel.clock import Clock
from kernel.ids import CallId, QueueName
from tests.support.histories import any_events, hotline


@settings(max_examples=80, deadline=None)
@given(batches=st.lists(st.lists(any_events(), max_size=6), max_size=8), data=st.data())
def test_a_replay_gives_the_live_state(batches: list[list[Event]], data: st.DataObject) -> None:
    """Any events in any order; the live fold hears them from the journal, which is closed and opened between."""
    with tempfile.TemporaryDirectory() as name:
        live = LiveState()
        moment = iter(range(1000))
        for batch in batches:
            clock = Clock(lambda: float(next(moment)), 1000.0)
            journal = Journal.open(Path(name), clock, segment_bytes=500, sync_interval=0)
            journal.subscribe(live.apply)
            for event in batch:
                journal.append(event)
            journal.commit()
            journal.close()
        assert fold(read(Path(name))) == live
        middle = data.draw(st.integers(0, live.seq))
        early = fold(record for record in read(Path(name)) if record.seq <= middle)
        assert fold(read(Path(name), after=middle), early) == live
        assert fold(read(Path(name)), live) == live


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_when_all_calls_are_over_every_gauge_is_zero(seed: int) -> None:
    state = fold(hotline(seed, 15))
    assert_idle(state)
    assert sum(state.outcomes.values()) == 15


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_what_a_dead_control_left_open_is_closed_once(seed: int, data: st.DataObject) -> None:
    records = hotline(seed, 12)
    records = records[: data.draw(st.integers(0, len(records)))]
    state = fold(records)
    ends = closing(state)
    seq = len(records)
    records += [Recorded(seq + n, state.at, event) for n, event in enumerate(ends, 1)]
    after = fold(records)
    assert_idle(after)
    arrived = Counter(record.event.call for record in records if isinstance(record.event, ev.CallArrived))
    ended = Counter(record.event.call for record in records if isinstance(record.event, ev.CallEnded))
    assert arrived == ended
    own = Counter(f"{call}-1" for call in arrived)
    dialled = Counter(record.event.leg for record in records if isinstance(record.event, ev.LegDialled))
    legs = Counter(record.event.leg for record in records if isinstance(record.event, ev.LegEnded))
    assert legs == own + dialled
    offered = Counter(record.event.offer for record in records if isinstance(record.event, ev.CallOffered))
    over = (ev.OfferMissed, ev.OfferWithdrawn, ev.CallConnected)
    assert Counter(record.event.offer for record in records if isinstance(record.event, over)) == offered
    assert closing(after) == []


def assert_idle(state: LiveState) -> None:
    assert state.calls == {}
    assert state.recording_now == {}
    assert set(state.calls_by_state().values()) == {0}
    for queue in state.queues.values():
        assert queue.waiting == {}
        assert queue.offered == queue.answered + queue.abandoned + queue.flowed_out.total()
        assert queue.longest_wait(9e9) == 0.0


def test_the_live_view_of_one_call_as_it_goes() -> None:
    """A served call, seen after each of its events."""
    tries = (hotline(seed, 1) for seed in range(100))
    records = next(log for log in tries if any(isinstance(record.event, ev.CallReleased) for record in log))
    state = LiveState()
    seen: list[tuple[object, ...]] = []
    for record in records:
        state.apply(record)
        for call in state.calls.values():
            picture = (call.state.value, call.queue, call.agent, len(call.legs), bool(call.recording))
            if not seen or seen[-1] != picture:
                seen.append(picture)
    queue = next(iter(state.queues))
    agent = next(iter(state.agents))
    assert seen == [
        ("arrived", None, None, 0, False),
        ("flow", None, None, 0, False),
        ("queued", queue, None, 0, False),
        ("queued", queue, agent, 0, False),
        ("queued", queue, agent, 1, False),
        ("talking", queue, agent, 1, False),
        ("talking", queue, agent, 1, True),
        ("talking", queue, agent, 1, False),
        ("talking", queue, agent, 0, False),
        ("flow", None, None, 0, False),
    ]


def test_the_oldest_waits_longest() -> None:
    queue = QueueName("q")
    waits = [ev.CallQueued(call=CallId(call), queue=queue, skills={}, priority=0, position=1) for call in ("a", "b")]
    state = fold([Recorded(1, 100.0, waits[0]), Recorded(2, 130.0, waits[1])])
    assert state.queues[queue].longest_wait(150.0) == 50.0
    assert list(state.queues[queue].waiting) == ["a", "b"]
