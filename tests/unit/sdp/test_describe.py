"""Session descriptions: reading and writing."""

import pytest

from engine.sdp.describe import MAX_BODY, MAX_LINES, MAX_MEDIA, Connection, Rtpmap, SdpError, parse

OFFER = (
    b"v=0\r\no=ann 53 7 IN IP4 192.0.2.9\r\ns=Talk\r\ni=about\r\nc=IN IP4 192.0.2.9\r\nb=AS:84\r\nt=0 0\r\n"
    b"a=group:BUNDLE 0\r\nm=audio 49170/2 RTP/AVP 8 0 101\r\ni=sound\r\nc=IN IP6 2001:db8::9\r\n"
    b"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\nm=video 0 RTP/AVP 31\r\n"
)


def test_every_part_is_where_it_belongs() -> None:
    description = parse(OFFER)
    assert str(description.origin) == "ann 53 7 IN IP4 192.0.2.9"
    assert (description.name, description.time) == ("Talk", "0 0")
    assert description.attribute("group") == "BUNDLE 0"
    audio, video = description.media
    assert (audio.kind, audio.port, audio.port_count, audio.protocol) == ("audio", 49170, 2, "RTP/AVP")
    assert audio.formats == ("8", "0", "101")
    assert audio.attribute("sendonly") == ""
    assert audio.attribute("recvonly") is None
    assert description.connection_of(audio) == Connection("IP6", "2001:db8::9")
    assert description.connection_of(video) == Connection("IP4", "192.0.2.9")


def test_rtpmaps_follow_the_order_of_the_media_line_and_static_types_need_none() -> None:
    assert parse(OFFER).media[0].rtpmaps() == [
        Rtpmap(8, "PCMA", 8000, 1),
        Rtpmap(0, "PCMU", 8000, 1),
        Rtpmap(101, "TELEPHONE-EVENT", 8000, 1),
    ]


def test_unreadable_rtpmaps_are_as_if_absent() -> None:
    body = b"v=0\no=- 1 1 IN IP4 192.0.2.9\nm=audio 9 RTP/AVP 96 97 98 99 0\n"
    body += b"a=rtpmap:96\na=rtpmap:97 L16\na=rtpmap:98 x/abc\na=rtpmap:999 PCMU/8000\na=rtpmap\n"
    assert parse(body).media[0].rtpmaps() == [Rtpmap(0, "PCMU", 8000, 1)]


def test_written_and_read_again_it_is_equal() -> None:
    description = parse(OFFER)
    assert parse(description.encode()) == description


def test_line_feeds_alone_missing_lines_and_trailing_ones_are_tolerated() -> None:
    body = b"v=0\no=- 1 1 IN IP4 192.0.2.9\nc=IN IP4 192.0.2.9\nm=audio 9 RTP/AVP 0\n\r\n\n"
    assert parse(body).media[0].port == 9


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", 1),
        (b"v=1\r\n", 1),
        (b"o=- 1 1 IN IP4 192.0.2.9\r\n", 1),
        (b"v=0\r\ns=-\r\n", 2),
        (b"v=0\r\no=- 1 1 IN IP4\r\n", 2),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nv=0\r\n", 3),
        (b"v=0\r\nhello\r\n", 2),
        (b"v=0\r\n\r\no=- 1 1 IN IP4 192.0.2.9\r\n", 2),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nc=IN IP7 x\r\n", 3),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nm=audio 9 RTP/AVP\r\n", 3),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nm=audio 65536 RTP/AVP 0\r\n", 3),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nm=audio -1 RTP/AVP 0\r\n", 3),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nm=audio 9/0 RTP/AVP 0\r\n", 3),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\nm=audio \xd9\xa1 RTP/AVP 0\r\n", 3),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=a\0b\r\n", 3),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=a\rb\r\n", 3),
        (b"v=0\r\n" + b"a=x\r\n" * MAX_LINES, MAX_LINES + 1),
        (b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\n" + b"m=audio 9 RTP/AVP 0\r\n" * (MAX_MEDIA + 1), MAX_MEDIA + 3),
        (b"v=0\r\n" + b"x" * MAX_BODY, 1),
    ],
)
def test_what_is_no_description_is_refused_with_its_line(body: bytes, line: int) -> None:
    with pytest.raises(SdpError) as caught:
        parse(body)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"SDP line {line}: ")
