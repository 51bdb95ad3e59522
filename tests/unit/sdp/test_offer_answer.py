"""Offer/answer (RFC 3264) as phones use it."""

import pytest

from engine.media.plane import Codec, Direction
from engine.sdp.describe import Description, parse
from engine.sdp.offer_answer import LocalMedia, NotAcceptable, accept, answer, is_hold, offer

OURS = LocalMedia("192.0.2.1", 20000, (Codec.PCMU, Codec.PCMA))
SENDRECV, SENDONLY, RECVONLY, INACTIVE = Direction


def offered(*media: str, host: str = "192.0.2.9", session: str = "") -> Description:
    family = "IP6" if ":" in host else "IP4"
    lines = ["v=0", f"o=- 1 1 IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0"]
    lines += [f"a={session}"] if session else []
    return parse("\r\n".join([*lines, *media, ""]).encode())


AUDIO = ("m=audio 4000 RTP/AVP 8 0 96", "a=rtpmap:8 PCMA/8000", "a=rtpmap:96 telephone-event/8000")


def test_offer_text() -> None:
    assert offer(OURS, 77, 1).decode() == (
        "v=0\r\no=- 77 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        "m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )


def test_answer_text_takes_the_first_codec_of_the_offerer() -> None:
    made = answer(offered(*AUDIO), OURS, 77, 1)
    assert made.body.decode() == (
        "v=0\r\no=- 77 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        "m=audio 20000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\n"
        "a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )
    assert made.remote is not None
    assert (made.remote.host, made.remote.port, made.remote.codec) == ("192.0.2.9", 4000, Codec.PCMA)
    assert (made.remote.payload_type, made.remote.dtmf_type, made.remote.rtcp_port) == (8, 96, 0)


def test_dynamic_payload_type_of_a_known_codec() -> None:
    made = answer(offered("m=audio 4000 RTP/AVP 97", "a=rtpmap:97 pcmu/8000/1"), OURS, 1, 1)
    assert made.remote is not None
    assert (made.remote.codec, made.remote.payload_type, made.remote.dtmf_type) == (Codec.PCMU, 97, None)
    assert b"a=rtpmap:97 PCMU/8000\r\n" in made.body


def test_dtmf_that_we_do_not_want_is_not_answered() -> None:
    made = answer(offered(*AUDIO), LocalMedia("192.0.2.1", 20000, (Codec.PCMA,), dtmf=False), 1, 1)
    assert made.remote is not None
    assert made.remote.dtmf_type is None
    assert b"telephone-event" not in made.body


def test_other_media_lines_are_refused_in_place() -> None:
    """§6: same number, same order, port 0."""
    description = offered(
        "m=video 5000 RTP/AVP 31",
        "m=audio 5002 RTP/SAVP 0",
        *AUDIO,
        "m=audio 5004 RTP/AVP 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    )
    lines = [line for line in answer(description, OURS, 1, 1).body.decode().split("\r\n") if line.startswith("m=")]
    assert lines == [
        "m=video 0 RTP/AVP 31",
        "m=audio 0 RTP/SAVP 0",
        "m=audio 20000 RTP/AVP 8 96",
        "m=audio 0 RTP/AVP 0",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ]


@pytest.mark.parametrize(
    ("theirs", "ours", "result"),
    [
        (None, SENDRECV, SENDRECV),
        ("sendrecv", SENDRECV, SENDRECV),
        ("sendonly", SENDRECV, RECVONLY),
        ("recvonly", SENDRECV, SENDONLY),
        ("inactive", SENDRECV, INACTIVE),
        ("sendrecv", SENDONLY, SENDONLY),
        ("sendonly", SENDONLY, INACTIVE),
        ("recvonly", RECVONLY, INACTIVE),
        ("sendrecv", INACTIVE, INACTIVE),
    ],
)
def test_direction_is_mirrored_and_no_more_than_ours(theirs: str | None, ours: Direction, result: Direction) -> None:
    """§6.1. Stated at the media line or for the session."""
    local = LocalMedia("192.0.2.1", 20000, (Codec.PCMA,), direction=ours)
    for description in (
        offered(*AUDIO, *([f"a={theirs}"] if theirs else [])),
        offered(*AUDIO, session=theirs or ""),
    ):
        made = answer(description, local, 1, 1)
        assert made.remote is not None
        assert made.remote.direction is result
        assert f"a={result.value}\r\n".encode() in made.body


def test_media_direction_wins_over_that_of_the_session() -> None:
    made = answer(offered(*AUDIO, "a=sendrecv", session="inactive"), OURS, 1, 1)
    assert made.remote is not None
    assert made.remote.direction is SENDRECV


@pytest.mark.parametrize(("host", "family"), [("0.0.0.0", "IP4"), ("::", "IP6")])
def test_old_hold_by_address_silences_us(host: str, family: str) -> None:
    """§8.4."""
    made = answer(offered(*AUDIO, f"c=IN {family} {host}"), OURS, 1, 1)
    assert made.remote is not None
    assert made.remote.direction is RECVONLY
    assert is_hold(made.remote)


def test_hold_and_resume() -> None:
    held = answer(offered(*AUDIO, "a=sendonly"), OURS, 1, 2).remote
    resumed = answer(offered(*AUDIO), OURS, 1, 3).remote
    assert held is not None
    assert resumed is not None
    assert (is_hold(held), is_hold(resumed)) == (True, False)


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        ([], 20),
        (["a=ptime:20"], 20),
        (["a=ptime:30"], 30),
        (["a=ptime:40"], 40),
        (["a=ptime:10"], 20),
        (["a=ptime:25"], 20),
        (["a=ptime:60"], 40),
        (["a=ptime:20.0"], 20),
        (["a=ptime:x"], 20),
        (["a=ptime:40", "a=maxptime:30"], 30),
        (["a=ptime:30", "a=maxptime:10"], 20),
    ],
)
def test_ptime_is_the_nearest_that_we_can_make(lines: list[str], result: int) -> None:
    made = answer(offered(*AUDIO, *lines), OURS, 1, 1)
    assert made.remote is not None
    assert made.remote.ptime_ms == result
    assert f"a=ptime:{result}\r\n".encode() in made.body


@pytest.mark.parametrize(
    ("lines", "mux", "port"),
    [
        ([], False, 0),
        (["a=rtcp:4005"], False, 4005),
        (["a=rtcp:4005 IN IP4 192.0.2.9"], False, 4005),
        (["a=rtcp:0"], False, 0),
        (["a=rtcp:x"], False, 0),
        (["a=rtcp-mux"], False, 0),
        (["a=rtcp-mux"], True, 4000),
        (["a=rtcp:4000", "a=rtcp-mux"], False, 0),
    ],
)
def test_rtcp_port(lines: list[str], mux: bool, port: int) -> None:
    """RFC 3605, RFC 5761."""
    made = answer(offered(*AUDIO, *lines), LocalMedia("192.0.2.1", 2, (Codec.PCMA,), rtcp_mux=mux), 1, 1)
    assert made.remote is not None
    assert made.remote.rtcp_port == port
    assert (b"a=rtcp-mux" in made.body) == mux


def test_ipv6() -> None:
    made = answer(offered(*AUDIO, host="2001:db8::9"), LocalMedia("2001:db8::1", 20000, (Codec.PCMA,)), 1, 1)
    assert made.remote is not None
    assert made.remote.host == "2001:db8::9"
    assert b"c=IN IP6 2001:db8::1\r\n" in made.body


@pytest.mark.parametrize(
    "media",
    [
        ["m=audio 4000 RTP/AVP 18 101", "a=rtpmap:101 telephone-event/8000"],
        ["m=audio 4000 RTP/SAVP 0"],
        ["m=video 4000 RTP/AVP 31"],
        ["m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/16000"],
        ["m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/8000/2"],
        [*AUDIO, "c=IN IP4 224.2.1.1"],
        [*AUDIO, "c=IN IP4 255.255.255.255"],
        [*AUDIO, "c=IN IP4 phone.example.net"],
    ],
)
def test_stream_that_we_cannot_carry_is_488(media: list[str]) -> None:
    with pytest.raises(NotAcceptable):
        answer(offered(*media), OURS, 1, 1)


def test_no_address_is_488() -> None:
    with pytest.raises(NotAcceptable):
        answer(parse(b"v=0\no=- 1 1 IN IP4 192.0.2.9\nm=audio 4000 RTP/AVP 0\n"), OURS, 1, 1)


def test_offer_without_a_live_stream_is_answered_in_kind() -> None:
    made = answer(offered("m=audio 0 RTP/AVP 0"), OURS, 1, 1)
    assert made.remote is None
    assert b"m=audio 0 RTP/AVP 0\r\n" in made.body
    assert answer(offered(), OURS, 1, 1).remote is None


def test_answer_to_our_offer() -> None:
    remote = accept(OURS, offered("m=audio 4000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000", "a=recvonly"))
    assert (remote.codec, remote.payload_type, remote.dtmf_type) == (Codec.PCMA, 8, 101)
    assert remote.direction is SENDONLY


@pytest.mark.parametrize("media", [["m=audio 0 RTP/AVP 0"], ["m=audio 4000 RTP/AVP 18"], []])
def test_answer_that_refuses_our_stream(media: list[str]) -> None:
    with pytest.raises(NotAcceptable):
        accept(OURS, offered(*media))


def test_re_offer_keeps_the_lines_and_payload_types_of_the_session() -> None:
    """§8: m-lines stay in place, numbers keep their meaning."""
    theirs = offered("m=video 5000 RTP/AVP 31", "m=audio 4000 RTP/AVP 97 96", "a=rtpmap:97 PCMA/8000", AUDIO[2])
    first = parse(answer(theirs, OURS, 77, 1).body)
    local = LocalMedia("192.0.2.1", 20000, (Codec.PCMA,), direction=SENDONLY)
    again = parse(offer(local, 77, 2, first))
    assert [(m.kind, m.port, m.formats) for m in again.media] == [
        ("video", 0, ("31",)),
        ("audio", 20000, ("97", "96")),
    ]
    assert again.media[1].attribute("sendonly") == ""
    assert again.origin.version == "2"
    accepted = offered("m=video 0 RTP/AVP 31", "m=audio 4000 RTP/AVP 97", "a=rtpmap:97 PCMA/8000", "a=recvonly")
    assert accept(local, accepted, again).direction is SENDONLY


def test_re_offer_gives_no_number_two_meanings() -> None:
    theirs = offered("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 PCMA/8000")
    first = parse(answer(theirs, OURS, 77, 1).body)
    types = [entry.payload_type for entry in parse(offer(OURS, 77, 2, first)).media[0].rtpmaps()]
    assert len(set(types)) == len(types)
