"""The summary of a call's legs, as `callwright call` ends with it."""

from functools import partial

from events.codec import decode
from events.legs import legs, legs_summary
from events.types import (
    CallAnswered,
    CallArrived,
    EndedBy,
    Event,
    LegAnswered,
    LegDialled,
    LegEnded,
    LegMediaReported,
    LegRinging,
    Recorded,
)
from kernel.ids import CallId, LegId
from tests.support.told import media_report

CALL = CallId("c")
CALLER, PHONE = LegId("c-1"), LegId("c-2")
media = partial(media_report, CALL)
EVENTS: list[Event] = [
    CallArrived(
        call=CALL,
        sip_call_id="in\x1b",
        caller="139",
        caller_name="",
        dialled="1001",
        source="udp:192.0.2.7:5060",
        trunk="",
    ),
    CallAnswered(call=CALL, waited=0.04, codec="PCMA"),
    LegDialled(call=CALL, leg=PHONE, target="sip:8001@192.0.2.9", ring_for=15.0, sip_call_id="out"),
    LegRinging(call=CALL, leg=PHONE, sip_status=180),
    LegAnswered(call=CALL, leg=PHONE, codec="PCMA", rang=2.5),
    LegEnded(call=CALL, leg=PHONE, sip_status=200, ended_by=EndedBy.AGENT, reason="bye", talked=31.0),
    media(PHONE, mos=4.12, remote_lost=10, remote_jitter_ms=2.0, remote_mos=4.3, round_trip_ms=12.34),
    media(CALLER, packets_lost=0, mos=4.37),
]
RECORDS = [Recorded(n + 1, float(n), event) for n, event in enumerate(EVENTS)]


def test_legs_stand_side_by_side() -> None:
    assert legs_summary(RECORDS) == [
        "caller   SIP    udp:192.0.2.7:5060, answered after 0.0 s",
        "         audio  PCMA; heard 980 packets, 0 lost, jitter 1.5 ms, MOS 4.37;"
        " sent 1000 packets, and the peer reported nothing",
        "         Call-ID in\\x1b",
        "leg 2    SIP    sip:8001@192.0.2.9, rang (180), answered after 2.5 s,"
        " ended by agent (bye, SIP 200) after 31.0 s",
        "         audio  PCMA; heard 980 packets, 20 lost (2.00 %), jitter 1.5 ms, MOS 4.12;"
        " sent 990 packets, 10 lost (1.00 %), jitter 2.0 ms, MOS 4.30; round trip 12.3 ms",
        "         Call-ID out",
    ]


def test_a_leg_without_media_says_so() -> None:
    (caller,) = legs(RECORDS[:1])
    assert (caller.leg, caller.media, caller.answered_after) == ("caller", None, -1.0)
    assert "none, or not over yet" in legs_summary(RECORDS[:1])[1]


def test_logs_from_before_there_was_quality_can_be_read() -> None:
    old = (
        b'{"seq":1,"at":1.0,"event":{"type":"LegMediaReported","call":"c","leg":"c-1","codec":"PCMA",'
        b'"packets_received":9,"packets_sent":9,"packets_lost":0,"jitter_ms":0.1,"jitter_max_ms":0.1,"strangers":0,'
        b'"remote_lost":-1}}'
    )
    event = decode(old).event
    assert isinstance(event, LegMediaReported)
    assert (event.mos, event.remote_mos, event.round_trip_ms, event.remote_jitter_ms) == (0.0, 0.0, -1.0, -1.0)
    dialled = b'{"seq":1,"at":1.0,"event":{"type":"LegDialled","call":"c","leg":"c-2","target":"sip:x","ring_for":1.0}}'
    event = decode(dialled).event
    assert isinstance(event, LegDialled)
    assert event.sip_call_id == ""
