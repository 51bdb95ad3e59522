"""What is kept of SIP messages, for how long, and whose they are."""

from hypothesis import given
from hypothesis import strategies as st

from engine.sip.flow import Flow
from engine.trace import CALL_COST, FIRST_MESSAGES, LAST_MESSAGES, MESSAGE_COST, Conversation, SipTrace
from events.types import CallArrived, CallEnded, CallOutcome, EndedBy, Event, LegDialled, Recorded
from kernel.ids import CallId, LegId

FLOW = Flow("udp", ("127.0.0.1", 5060), ("192.0.2.7", 5060), 0)


def message(call_id: str, start: str = "INVITE sip:1001@x SIP/2.0", header: str = "Call-ID") -> bytes:
    return f"{start}\r\nVia: SIP/2.0/UDP h\r\n{header}: {call_id}\r\n\r\n".encode()


def note(trace: SipTrace, call_id: str, start: str = "INVITE sip:1001@x SIP/2.0") -> None:
    trace.note(message(call_id, start), FLOW, sent=False)


def arrived(call: str, sip_call_id: str) -> Event:
    return CallArrived(
        call=CallId(call), sip_call_id=sip_call_id, caller="1", caller_name="", dialled="1001", source="", trunk=""
    )


def dialled(call: str, sip_call_id: str) -> Event:
    return LegDialled(call=CallId(call), leg=LegId(f"{call}-2"), target="", ring_for=1.0, sip_call_id=sip_call_id)


def ended(call: str) -> Event:
    return CallEnded(
        call=CallId(call),
        outcome=CallOutcome.SERVED,
        ended_by=EndedBy.CALLER,
        sip_status=200,
        reason="bye",
        duration=1.0,
        talked=1.0,
    )


def observe(trace: SipTrace, *events: Event) -> None:
    for event in events:
        trace.observe(Recorded(1, 0.0, event))


def names(found: list[Conversation]) -> list[str]:
    return [conversation.sip_call_id for conversation in found]


def test_both_directions_are_kept_in_order() -> None:
    times = iter([1.0, 2.0])
    trace = SipTrace(lambda: next(times))
    trace.note(message("a"), FLOW, sent=False)
    trace.note(message("a", "SIP/2.0 100 Trying"), FLOW, sent=True)
    (found,) = trace.of_call_id("a")
    assert [(m.number, m.at, m.sent) for m in found] == [(1, 1.0, False), (2, 2.0, True)]


def test_a_call_id_is_found_however_it_is_written() -> None:
    trace = SipTrace(lambda: 0.0)
    for header in ("Call-ID", "call-id", "i", "CALL-ID \t", "I "):
        trace.note(message("x@y", header=header), FLOW, sent=False)
    trace.note(b"nonsense", FLOW, sent=False)
    assert [len(list(c)) for c in trace.all()] == [5, 1]
    assert names(trace.all()) == ["x@y", ""]


def test_legs_are_known_from_the_log_even_before_their_invite_leaves() -> None:
    trace = SipTrace(lambda: 0.0)
    note(trace, "in")
    observe(trace, arrived("c1", "in"), dialled("c1", "out"))
    note(trace, "out")
    note(trace, "other")
    assert names(trace.of_call("c1")) == ["in", "out"]
    assert trace.of_call("c2") == []
    assert trace.of_call_id("out")[0].calls == ["c1"]


def test_a_flood_does_not_wash_away_calls_in_progress() -> None:
    trace = SipTrace(lambda: 0.0, room=20 * (CALL_COST + MESSAGE_COST + 100))
    note(trace, "talking")
    observe(trace, arrived("c1", "talking"))
    for number in range(1000):
        note(trace, f"flood{number}")
    assert names(trace.of_call("c1")) == ["talking"]
    assert names(trace.all())[-1] == "flood999"
    assert len(trace.all()) <= 21
    observe(trace, ended("c1"))
    for number in range(1000):
        note(trace, f"more{number}")
    assert trace.of_call("c1") == []


def test_the_beginning_and_the_end_of_a_long_conversation_are_kept() -> None:
    trace = SipTrace(lambda: 0.0)
    for _ in range(FIRST_MESSAGES + LAST_MESSAGES + 7):
        note(trace, "long")
    (found,) = trace.of_call_id("long")
    numbers = [m.number for m in found]
    assert numbers[:FIRST_MESSAGES] == list(range(1, FIRST_MESSAGES + 1))
    assert (len(numbers), numbers[-1], found.skipped) == (FIRST_MESSAGES + LAST_MESSAGES, trace.number, 7)


steps = st.lists(
    st.tuples(st.sampled_from(["note", "arrived", "dialled", "ended"]), st.integers(0, 5), st.integers(0, 8)),
    max_size=200,
)


@given(steps, st.integers(1, 20_000))
def test_whatever_happens_the_room_is_kept_and_accounts_agree(plan: list[tuple[str, int, int]], room: int) -> None:
    trace = SipTrace(lambda: 0.0, room)
    for what, call, sip in plan:
        match what:
            case "note":
                note(trace, f"s{sip}", "x" * 50 * sip)
            case "arrived":
                observe(trace, arrived(f"c{call}", f"s{sip}"))
            case "dialled":
                observe(trace, dialled(f"c{call}", f"s{sip}"))
            case _:
                observe(trace, ended(f"c{call}"))
    kept = trace.all()
    weight = sum(CALL_COST + sum(len(m.data) + MESSAGE_COST for m in c) for c in kept)
    assert trace._used == weight == sum(c.bytes for c in kept)
    assert weight <= room or len(kept) == 1 or plan[-1][0] != "note"
    for call in range(6):
        assert all(f"c{call}" in c.calls and c in kept for c in trace.of_call(f"c{call}"))
