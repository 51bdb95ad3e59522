"""Streams cut into messages, however the octets arrive."""

from collections.abc import Callable

import pytest

from engine.sip.framing import FramingError, KeepAlive, Pong, StreamFramer
from engine.sip.grammar import MAX_MESSAGE
from engine.sip.parse import parse, refuse

Item = bytes | KeepAlive | Pong | FramingError

HEAD = (
    b"OPTIONS sip:h.example SIP/2.0\r\nVia: SIP/2.0/TCP a.example;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:c@d>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
)
EMPTY = HEAD + b"Content-Length: 0\r\n\r\n"
BODY = HEAD + b"l : 6\r\n\r\nab\r\n\r\n"
LF = EMPTY.replace(b"\r\n", b"\n")
MIXED = HEAD + b"RAck: 1 2 INVITE\nContent-Length: 3\r\n\na\n\n"
BREAKS = HEAD + b"Content-Length: 2\r\n\n\r\n"


def whole(data: bytes) -> list[Item]:
    return StreamFramer().feed(data)


def bytewise(data: bytes) -> list[Item]:
    framer = StreamFramer()
    return [item for octet in data for item in framer.feed(bytes([octet]))]


def by_sevens(data: bytes) -> list[Item]:
    framer = StreamFramer()
    return [item for at in range(0, len(data), 7) for item in framer.feed(data[at : at + 7])]


WAYS = pytest.mark.parametrize("way", [whole, bytewise, by_sevens])


@WAYS
@pytest.mark.parametrize(
    ("data", "items"),
    [
        (b"", []),
        (EMPTY, [EMPTY]),
        (BODY, [BODY]),
        (EMPTY + BODY + EMPTY, [EMPTY, BODY, EMPTY]),
        (EMPTY + BODY[:-1], [EMPTY]),
        (b"\r\n" + EMPTY, [EMPTY]),
        (b"\r\n\r\n", [KeepAlive()]),
        (b"\r\n\r\n\r\n" + EMPTY + b"\r\n" + BODY + b"\r\n\r\n", [KeepAlive(), EMPTY, BODY, KeepAlive()]),
        (b"\r\n\r\n" * 3, [KeepAlive()] * 3),
        (HEAD + b"Content-Length:\r\n 0\r\n\r\n" + EMPTY, [HEAD + b"Content-Length:\r\n 0\r\n\r\n", EMPTY]),
        (LF + BODY + LF, [LF, BODY, LF]),
        (b"\n" + EMPTY + b"\n\n" + LF, [EMPTY, LF]),
        (BREAKS + EMPTY, [BREAKS, EMPTY]),
        (b"\n\r\n\n\r\n" + EMPTY, [KeepAlive(), EMPTY]),
        (MIXED + EMPTY, [MIXED, EMPTY]),
        (HEAD + b"l: 0\r\nContent-Length: 0\r\n\r\n", [HEAD + b"l: 0\r\nContent-Length: 0\r\n\r\n"]),
        (
            HEAD + b"Subject: x\r\n Content-Length: 9\r\nContent-Length: 0\r\n\r\n",
            [HEAD + b"Subject: x\r\n Content-Length: 9\r\nContent-Length: 0\r\n\r\n"],
        ),
    ],
)
def test_streams(way: Callable[[bytes], list[Item]], data: bytes, items: list[Item]) -> None:
    assert way(data) == items


@WAYS
@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"Subject: none", 400, "Missing Content-Length"),
        (b"Subject: x\r\n Content-Length: 0", 400, "Missing Content-Length"),
        (b"X-Content-Length: 0", 400, "Missing Content-Length"),
        (b"Content-Length: ", 400, "Bad Content-Length"),
        (b"Content-Length: -1", 400, "Bad Content-Length"),
        (b"Content-Length: 0x1", 400, "Bad Content-Length"),
        (b"Content-Length: 4, 4", 400, "Bad Content-Length"),
        (b"Content-Length: 1\r\nl: 2", 400, "Bad Content-Length"),
        (b"Content-Length: 70000", 513, "Message Too Large"),
        (b"Content-Length: " + b"9" * 10, 513, "Message Too Large"),
    ],
)
def test_where_the_next_message_begins_must_be_known(
    way: Callable[[bytes], list[Item]], line: bytes, status: int, reason: str
) -> None:
    (error,) = way(HEAD + line + b"\r\n\r\n" + EMPTY)
    assert isinstance(error, FramingError)
    assert (error.status, error.reason) == (status, reason)
    answer = refuse(error.head, error.status, error.reason)
    assert answer is not None
    assert parse(answer).cseq.number == 1


def test_endless_header_section() -> None:
    """The buffer never holds more than a message and one feed; nothing is read after the error."""
    framer = StreamFramer()
    chunk = b"X" * 4096
    items: list[Item] = []
    while not items:
        items = framer.feed(chunk)
    (error,) = items
    assert isinstance(error, FramingError)
    assert (error.status, len(error.head)) == (513, MAX_MESSAGE)
    assert framer.feed(EMPTY) == []
    assert framer.idle


def test_idle_between_messages_only() -> None:
    framer = StreamFramer()
    assert framer.idle
    framer.feed(EMPTY[:10])
    assert not framer.idle
    framer.feed(EMPTY[10:])
    assert framer.idle


def test_a_pong_is_the_first_crlf_after_our_ping() -> None:
    """RFC 5626 §3.5.1. In the midst of a message a CRLF is the message's; a second one is no pong."""
    framer = StreamFramer()
    framer.pinged()
    assert framer.feed(EMPTY[:-2]) == []
    assert framer.feed(EMPTY[-2:] + b"\r\n") == [EMPTY, Pong()]
    assert framer.feed(b"\r\n") == []
    framer.pinged()
    assert framer.feed(b"\r\n\r\n\r\n") == [Pong(), KeepAlive()]
