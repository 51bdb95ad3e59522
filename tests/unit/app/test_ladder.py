"""`callwright sip trace`: what the control process tells, and the ladder that is drawn of it."""

import asyncio
from typing import Any

import pytest

from app.control_socket import Refused
from app.ladder import Ladder, listing, messages
from app.sip_messages import MESSAGES_A_REPLY, SipMessages, number_pattern
from app.sip_trace import View
from engine.sip.flow import Flow
from events.types import CallArrived, LegDialled, Recorded
from kernel.clock import Clock
from kernel.ids import CallId, LegId

CALLER = Flow("udp", ("127.0.0.1", 5060), ("192.0.2.7", 5071), 0)
PHONE = Flow("tcp", ("127.0.0.1", 5060), ("2001:db8::9", 5080), 4)
SDP = "v=0\r\nc=IN IP4 192.0.2.7\r\nm=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendonly\r\n"


def text(start: str, call_id: str, seq: str, *more: str, body: str = "") -> bytes:
    lines = [
        start,
        "From: <sip:139@op.example>;tag=a",
        "To: <sip:1001@cw>",
        f"Call-ID: {call_id}",
        f"CSeq: {seq}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Wire:
    """A trace and its clock; every message comes 10 ms after the one before."""

    def __init__(self) -> None:
        self.now = 100.0
        self.clock = Clock(lambda: self.now, 1_800_000_000.0)
        self.messages = SipMessages(self.clock, lambda _: None)
        self.trace = self.messages.trace

    def passes(self, flow: Flow, data: bytes, *, sent: bool) -> None:
        self.trace.note(data, flow, sent=sent)
        self.now += 0.01

    def ask(self, **fields: Any) -> dict[str, Any]:
        return asyncio.run(self.messages.answer(fields))


@pytest.fixture
def wire() -> Wire:
    """A call with both legs, a retransmission in it, and a registration."""
    wire = Wire()
    invite = text("INVITE sip:1001@cw SIP/2.0", "in", "1 INVITE", body=SDP)
    wire.passes(CALLER, invite, sent=False)
    wire.trace.observe(
        Recorded(
            1,
            0.0,
            CallArrived(
                call=CallId("c1"), sip_call_id="in", caller="139", caller_name="", dialled="1001", source="", trunk=""
            ),
        )
    )
    wire.passes(CALLER, text("SIP/2.0 100 Trying", "in", "1 INVITE"), sent=True)
    wire.passes(CALLER, invite, sent=False)
    wire.trace.observe(
        Recorded(2, 0.0, LegDialled(call=CallId("c1"), leg=LegId("c1-2"), target="", ring_for=9.0, sip_call_id="out"))
    )
    wire.passes(PHONE, text("INVITE sip:8001@ph SIP/2.0", "out", "1 INVITE"), sent=True)
    wire.passes(PHONE, text("SIP/2.0 486 Busy Here", "out", "1 INVITE", 'Reason: Q.850;cause=17;text="no"'), sent=False)
    wire.passes(PHONE, text("REGISTER sip:cw SIP/2.0", "reg", "1 REGISTER", "Expires: 60"), sent=False)
    return wire


def drawn(wire: Wire, *, width: int = 0, full: bool = False, **wanted: str) -> list[str]:
    out: list[str] = []
    View(Ladder(width=width, full=full), out.append).take(lambda **f: wire.ask(**wanted, **f), follow=False)
    return out


def test_a_call_is_drawn_with_both_legs(wire: Wire) -> None:
    assert drawn(wire, call="c1") == [
        "began 2027-01-15 08:00:00.000 UTC",
        "         caller                    callwright                phone",
        "   +0.000  │─ INVITE 1001 ──────────→│                         │  udp 192.0.2.7:5071  from 139"
        "  SDP 192.0.2.7:4000 PCMA sendonly",
        "   +0.010  │←── 100 Trying (INVITE) ─│                         │  udp 192.0.2.7:5071",
        "   +0.020  │─ INVITE 1001 ──────────→│                         │  (again)  udp 192.0.2.7:5071  from 139"
        "  SDP 192.0.2.7:4000 PCMA sendonly",
        "   +0.030  │                         │─ INVITE 8001 ──────────→│  tcp [2001:db8::9]:5080  from 139",
        "   +0.040  │                         │←─────────── 486 INVITE ─│  tcp [2001:db8::9]:5080"
        '  reason: Q.850;cause=17;text="no"',
    ]


def test_a_registration_has_two_columns(wire: Wire) -> None:
    lines = drawn(wire, call_id="reg")
    assert lines[1:] == [
        "         peer                      callwright",
        "   +0.000  │─ REGISTER ─────────────→│  tcp [2001:db8::9]:5080  from 139  expires: 60",
    ]


def test_a_leg_brings_the_other_legs_of_its_call(wire: Wire) -> None:
    assert drawn(wire, call_id="out") == drawn(wire, call_id="in") == drawn(wire, call="c1")
    assert drawn(wire, number="8001") == drawn(wire, call="c1")
    assert len(drawn(wire, number="139")) == 8


def test_notes_name_what_one_looks_for(wire: Wire) -> None:
    for header in ("Reason: a", "Warning: b", "Retry-After: 5", "Refer-To: c", "Replaces: d", "Require: e"):
        wire.passes(CALLER, text("BYE sip:x SIP/2.0", header[:3], "2 BYE", header), sent=True)
        name, _, value = header.partition(": ")
        assert f"{name.lower()}: {value}" in drawn(wire, call_id=header[:3])[-1]


def test_full_shows_messages_whole_and_fit_for_a_terminal(wire: Wire) -> None:
    wire.passes(CALLER, text("OPTIONS sip:x SIP/2.0", "o", "1 OPTIONS", "Subject: \x1b[2J\u202e"), sent=False)
    lines = drawn(wire, call_id="o", full=True)
    assert "           Subject: ?[2J?" in lines
    assert all(line.isprintable() for line in lines)


def test_a_narrow_terminal_cuts_lines(wire: Wire) -> None:
    assert {len(line) for line in drawn(wire, call="c1", width=80)[2:]} <= set(range(81))


def test_following_shows_each_message_once(wire: Wire) -> None:
    out: list[str] = []
    view = View(Ladder(), out.append)

    def asked(**fields: Any) -> Any:
        return wire.ask(call="c2", **fields)

    view.take(asked, follow=True)  # not there yet, and awaited
    wire.passes(CALLER, text("INVITE sip:1001@cw SIP/2.0", "two", "1 INVITE"), sent=False)
    wire.trace.observe(
        Recorded(
            3,
            0.0,
            CallArrived(
                call=CallId("c2"), sip_call_id="two", caller="139", caller_name="", dialled="1001", source="", trunk=""
            ),
        )
    )
    view.take(asked, follow=True)
    view.take(asked, follow=True)
    assert len(out) == 3
    wire.passes(CALLER, text("BYE sip:1001@cw SIP/2.0", "two", "2 BYE"), sent=False)
    view.take(asked, follow=True)
    assert "BYE" in out[3]


def test_a_restarted_control_process_counts_anew(wire: Wire) -> None:
    out: list[str] = []
    view = View(Ladder(), out.append)
    view.take(lambda **f: wire.ask(call="c1", **f), follow=True)
    again = Wire()
    again.passes(CALLER, text("BYE sip:1001@cw SIP/2.0", "in", "2 BYE"), sent=False)
    view.take(lambda **f: again.ask(call_id="in", **f), follow=True)
    assert "BYE" in out[-1]


def test_what_is_not_kept_is_said(wire: Wire) -> None:
    for wanted in ({"call": "c9"}, {"call_id": "none"}, {"number": "7"}):
        with pytest.raises(Refused, match="no message of that is kept"):
            wire.ask(**wanted)


def test_more_than_a_reply_holds_comes_in_pieces(wire: Wire) -> None:
    for number in range(5 * MESSAGES_A_REPLY // 100):
        for _ in range(100):
            wire.passes(CALLER, text(f"INFO sip:1001@cw SIP/2.0\r\nX: {wire.now}", f"i{number}", "3 INFO"), sent=False)
    first = wire.ask(number="139")
    assert first["more"]
    assert len(messages(first)) == MESSAGES_A_REPLY
    assert len(drawn(wire, number="139")) == 2 + 6 + 5 * MESSAGES_A_REPLY


def test_without_a_filter_there_is_a_list(wire: Wire) -> None:
    lines = list(listing(wire.ask()))
    assert len(lines) == 4
    assert "c1" in lines[1]
    assert lines[1].endswith("INVITE 1001 from 139 / INVITE sip:1001@cw SIP/2.0 / in")
    assert lines[3].startswith("08:00:00.050        1  ")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("From: <sip:8001@x>", True),
        ("f: sip:8001;tag=1", True),
        ("P-Asserted-Identity: <tel:8001>", True),
        ("Via: SIP/2.0/UDP 8001", False),
        ("From: <sip:18001@x>", False),
        ("From: <sip:80012@x>", False),
        ("Subject: sip:8001@x", False),
    ],
)
def test_a_number_is_the_user_of_a_party(line: str, found: bool) -> None:
    data = f"INVITE sip:1001@x SIP/2.0\r\n{line}\r\n\r\n".encode()
    assert bool(number_pattern("8001").search(data)) is found
