"""Audits of the journal over a call that went well, and over the same with one thing wrong."""

import math
import wave
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.faults import balance
from bench.faults.tones import frequency
from engine.media.wav import header
from events import types as ev
from events.types import AgentState, CallOutcome, EndedBy, Event, OfferResult, QueueExit, Recorded
from kernel.ids import AgentName, CallId, LegId, OfferId, QueueName
from tests.support.tones import tone, write_wav

CALL, OWN, LEG = CallId("c1"), LegId("c1-1"), LegId("c1-2")
QUEUE, ANNA, OFFER = QueueName("billing"), AgentName("anna"), OfferId("o1")


def log(events: Sequence[Event]) -> list[Recorded]:
    return [Recorded(n, 100.0 + n, event) for n, event in enumerate(events, 1)]


def agent(state: AgentState, previous: AgentState) -> Event:
    return ev.AgentStateChanged(agent=ANNA, state=state, previous=previous, reason="", via="acd", call=None, lasted=1.0)


def served() -> list[Event]:
    """One call: menu, queue, agent, hold, recorded, hung up."""
    return [
        agent(AgentState.READY, AgentState.LOGGED_OUT),
        ev.CallArrived(
            call=CALL, sip_call_id="x", caller="139", caller_name="", dialled="1001", source="udp:1", trunk="t"
        ),
        ev.CallAnswered(call=CALL, waited=0.1, codec="PCMU"),
        ev.FlowEntered(call=CALL, flow="main", version="1"),
        ev.CallQueued(call=CALL, queue=QUEUE, skills={}, priority=0, position=1),
        ev.CallOffered(call=CALL, queue=QUEUE, agent=ANNA, offer=OFFER, ring_for=20, waited=1),
        agent(AgentState.OFFERED, AgentState.READY),
        ev.LegDialled(call=CALL, leg=LEG, target="sip:8001", ring_for=20),
        ev.LegAnswered(call=CALL, leg=LEG, codec="PCMU", rang=1),
        ev.CallConnected(call=CALL, queue=QUEUE, agent=ANNA, offer=OFFER, waited=2, rang=1),
        agent(AgentState.ON_CALL, AgentState.OFFERED),
        ev.CallBridged(call=CALL, leg=LEG),
        ev.RecordingStarted(call=CALL, path="a.wav"),
        ev.CallHeld(call=CALL, leg=OWN),
        ev.CallResumed(call=CALL, leg=OWN, held=1),
        ev.CallUnbridged(call=CALL, leg=LEG, talked=5, held=1, ended_by=EndedBy.CALLER),
        ev.RecordingStopped(call=CALL, path="a.wav", seconds=5.0, lost_frames=0),
        ev.CallReleased(call=CALL, queue=QUEUE, agent=ANNA, talked=5, held=1, ended_by=EndedBy.CALLER),
        ev.LegEnded(call=CALL, leg=LEG, sip_status=200, ended_by=EndedBy.SYSTEM, reason="bye", talked=5),
        ev.FlowLeft(call=CALL, flow="main", node="wait", why="hung_up"),
        ev.LegEnded(call=CALL, leg=OWN, sip_status=200, ended_by=EndedBy.CALLER, reason="bye", talked=6),
        ev.CallEnded(
            call=CALL, outcome=CallOutcome.SERVED, ended_by=EndedBy.CALLER, sip_status=200, reason="bye",
            duration=8, talked=5,
        ),
        agent(AgentState.WRAP_UP, AgentState.ON_CALL),
    ]  # fmt: skip


def without(kind: type[Event], **fields: object) -> list[Event]:
    left = [e for e in served() if not (isinstance(e, kind) and all(getattr(e, k) == v for k, v in fields.items()))]
    assert len(left) < len(served())
    return left


def test_a_call_that_went_well_balances() -> None:
    assert balance.balance(log(served())) == []


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (without(ev.CallEnded), "call c1 never ends"),
        (without(ev.CallArrived), "ends without having begun"),
        (without(ev.LegEnded, leg=LEG), "dialled leg c1-2 never ends"),
        (without(ev.LegEnded, leg=OWN), "call c1: 0 ends of its own leg"),
        (without(ev.CallUnbridged), "bridge c1 c1-2 never ends"),
        (without(ev.FlowLeft), "flow c1 main never ends"),
        (without(ev.RecordingStopped), "recording a.wav never ends"),
        (without(ev.CallConnected), "offer o1 never ends"),
        (without(ev.CallQueued), "left a queue in which it was not"),
        (without(ev.CallOffered), "offer o1 ends without having begun"),
        (without(ev.CallReleased), "never released by anna"),
        (without(ev.AgentStateChanged, state=AgentState.OFFERED), "anna goes from offered where it was ready"),
    ],
)
def test_what_is_missing_is_told(events: list[Event], told: str) -> None:
    assert any(told in problem for problem in balance.balance(log(events)))


@pytest.mark.parametrize(
    "kind",
    [
        ev.CallArrived, ev.CallEnded, ev.CallOffered, ev.CallConnected, ev.CallReleased, ev.RecordingStarted,
        ev.RecordingStopped, ev.CallQueued, ev.LegEnded, ev.CallUnbridged, ev.FlowLeft,
    ],
)  # fmt: skip
def test_what_comes_twice_is_told(kind: type[Event]) -> None:
    twice = [again for event in served() for again in ([event, event] if isinstance(event, kind) else [event])]
    assert balance.balance(log(twice))


def test_a_caller_who_leaves_the_queue_twice_is_told() -> None:
    lost = ev.CallFlowedOut(call=CALL, queue=QUEUE, why=QueueExit.LOST, waited=3)
    assert balance.balance(log([*served()[:10], lost, *served()[10:]]))


def test_an_offer_missed_and_taken_is_told() -> None:
    missed = ev.OfferMissed(call=CALL, queue=QUEUE, agent=ANNA, offer=OFFER, result=OfferResult.DECLINED, rang=1)
    assert balance.balance(log([*served()[:8], missed, *served()[8:]]))


def test_events_after_the_end_of_a_call_are_told() -> None:
    late = ev.DigitPressed(call=CALL, leg=OWN, digit="1", via="info")
    assert balance.balance(log([*served(), late])) == ["DigitPressed of call c1 after its end (seq 24)"]


def test_a_hole_in_the_numbers_and_time_that_goes_back_are_told() -> None:
    records = log(served())
    assert balance.gapless(records[:3] + records[4:]) == ["seq 5 follows 3"]
    assert balance.gapless([records[0], Recorded(2, 1.0, records[1].event)]) == ["time goes back at seq 2"]


def recorded(folder: Path, frames: int, octets: int | None = None) -> list[str]:
    (folder / "a.wav").write_bytes(header(frames) + bytes(4 * frames if octets is None else octets))
    return balance.recordings(log(served()), folder)


def test_recordings_are_played(tmp_path: Path) -> None:
    assert recorded(tmp_path, 40_000) == []
    assert "2.0 s, the journal says 5.0 s" in recorded(tmp_path, 16_000)[0]
    assert "cut short" in recorded(tmp_path, 40_000, 16_000)[0]
    assert "cut short" in recorded(tmp_path, 0)[0]
    (tmp_path / "a.wav").write_bytes(b"")
    assert balance.recordings(log(served()), tmp_path)
    assert "0.9 s, the journal" in recorded(tmp_path, 7_200)[0]
    (tmp_path / "a.wav").unlink()
    assert balance.recordings(log(served()), tmp_path)


def test_what_a_recording_lacks_of_its_time_is_told(tmp_path: Path) -> None:
    """It took from its beginning to its end 4 s of the log."""
    short = [msgspec.structs.replace(e, seconds=2.0) if isinstance(e, ev.RecordingStopped) else e for e in served()]
    (tmp_path / "a.wav").write_bytes(header(16_000) + bytes(64_000))
    assert balance.recordings(log(short), tmp_path) == ["recording a.wav: 2.0 s of 4.0 s"]
    assert balance.recordings(log(short), tmp_path, 3.0) == []


def test_a_folder_that_takes_no_file_may_lack_it(tmp_path: Path) -> None:
    none = [msgspec.structs.replace(e, seconds=0.0) if isinstance(e, ev.RecordingStopped) else e for e in served()]
    assert balance.recordings(log(none), tmp_path, math.inf) == []
    assert balance.recordings(log(none), tmp_path)
    assert balance.recordings(log(served()), tmp_path, math.inf)  # 5 s were promised


def test_a_recording_of_one_channel_is_told(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(80_000))
    assert balance.recordings(log(served()), tmp_path) == ["recording a.wav: 1 channels"]


def test_voices_are_told_apart(tmp_path: Path) -> None:
    both = np.stack([tone(frequency(3), 2.0), tone(frequency(9), 2.0)], axis=1)
    write_wav(tmp_path / "a.wav", both)
    assert balance.voices(tmp_path / "a.wav", (3, 9)) == []
    assert len(balance.voices(tmp_path / "a.wav", (9, 3))) == 2
    assert balance.voices(tmp_path / "a.wav", (3, 8)) == ["recording a.wav: 753 Hz on channel 1, not 716 Hz"]
    write_wav(tmp_path / "b.wav", np.zeros_like(both))
    assert len(balance.voices(tmp_path / "b.wav", (3, 9))) == 2


def test_gauges_that_are_not_0_are_told() -> None:
    text = 'callwright_calls{state="flow"} 0.0\ncallwright_media_ports{media="m0",state="open"} 2.0\nother 3.0\n'
    assert balance.gauges(text) == ['callwright_media_ports{media="m0",state="open"} is 2.0']


def test_who_is_left_in_the_status_is_told() -> None:
    idle = {"calls": [], "queues": [{"name": "q", "waiting": 0}], "agents": [{"name": "a", "state": "wrap_up"}]}
    assert balance.status(idle) == []
    left = {
        "calls": [{"id": "c1", "caller": "139", "state": "flow"}],
        "queues": [{"name": "q", "waiting": 1}],
        "agents": [{"name": "a", "state": "on_call"}],
    }
    assert len(balance.status(left)) == 3


def test_a_call_that_went_well_took_no_longer_than_the_hotline_lived() -> None:
    assert balance.times(log(served()), 100.0, 200.0) == []


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumped_is_seen_in_the_stamps(jump: float) -> None:
    records = log(served())
    late = [Recorded(r.seq, r.at + jump, r.event) for r in records[-1:]]
    (found,) = balance.times([*records[:-1], *late], 100.0, 200.0)
    assert found.startswith(f"seq {records[-1].seq} is stamped ")


@pytest.mark.parametrize("took", [3600.0, -0.1])
def test_a_clock_that_jumped_is_seen_in_what_something_took(took: float) -> None:
    events = [msgspec.structs.replace(e, waited=took) if isinstance(e, ev.CallConnected) else e for e in served()]
    assert balance.times(log(events), 100.0, 200.0) == [f"CallConnected.waited is {took:.1f} s (seq 10)"]


def test_ages_are_of_this_hotlines_life() -> None:
    def shown(call: float, agent: float | None, wait: float) -> dict[str, list[dict[str, object]]]:
        return {
            "calls": [{"caller": "139", "state": "queued", "seconds_in_state": call}],
            "agents": [{"name": "anna", "state": "ready", "seconds_in_state": agent}],
            "queues": [{"name": "billing", "longest_wait": wait}],
        }

    assert balance.ages(shown(9.0, None, 0.0), 10.0) == []
    assert balance.ages(shown(11.0, 3600.0, 12.0), 10.0) == [
        "calls 139 is queued for 11 s",
        "agents anna is ready for 3600 s",
        "one waits in billing for 12 s",
    ]
