"""What is seen at a glance is what the parser sees; and a glance never fails."""

import random

import pytest

from engine.sip.flow import Flow
from engine.sip.glimpse import Glimpse, answer, branch, glimpse, opens_call
from engine.sip.grammar import ParseError
from engine.sip.matching import server_key
from engine.sip.message import Request, Response
from engine.sip.parse import parse

FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.9", 5070))
USUAL = (
    b"INVITE sip:1001@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1;rport\r\n"
    b"v: SIP/2.0/TCP [2001:db8::1];branch=z9hG4bK0\r\nMax-Forwards: 70\r\n"
    b'f: "\xc3\x89va" <sip:eva@example.net>;tag=9\r\n'
    b"To:  <sip:1001@example.net> \r\nCall-ID: a@b\r\nCSeq: 4711 INVITE\r\nContact: <sip:eva@192.0.2.9>\r\n"
    b"Content-Length: 3\r\n\r\nv=0"
)


def agrees(data: bytes) -> bool:
    """Whether a glance was enough. It must then be right, as far as the parser takes such a message at all."""
    seen = glimpse(data)
    if seen is None:
        return False
    try:
        message = parse(data)
    except ParseError:
        return True
    assert isinstance(message, Request)
    assert message.method == "INVITE"
    assert message.to_tag is None
    assert message.headers.get("Authorization") is None
    assert seen.key == server_key(message, message.via, "INVITE")
    assert opens_call(data)
    if data.decode(errors="ignore").encode() == data:  # else the parser reads Latin-1; the answer keeps the octets
        _answered(seen, message)
    return True


def _answered(seen: Glimpse, message: Request) -> None:
    flow, data = answer(seen, FLOW, b"503 Service Unavailable", b"Retry-After: 3\r\n")
    response = parse(data)
    assert isinstance(response, Response)
    assert (response.status, response.headers.get("Retry-After")) == (503, "3")
    for name in ("From", "Call-ID", "CSeq"):
        assert response.headers.get(name) == message.headers.get(name)
    assert (response.headers.get("To") or "").startswith(message.headers.get("To") or "?")
    assert response.headers.all("Via")[1:] == message.headers.all("Via")[1:]
    assert response.via == message.via.with_source(*FLOW.remote)
    assert flow.remote == (FLOW.remote if "rport" in message.via.params else (FLOW.remote[0], message.via.port or 5060))
    assert answer(seen, FLOW, b"503 Service Unavailable", b"Retry-After: 3\r\n") == (flow, data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b"To:", b"t :".replace(b" ", b"")),
        (b";rport", b""),
        (b":5070", b""),
        (b"SIP/2.0/UDP", b"SIP/2.0/WSS"),
        (b"CSeq: 4711", b"CSeq:  1"),
    ],
)
def test_usual_ways_to_write_need_a_glance(old: bytes, new: bytes) -> None:
    assert agrees(USUAL.replace(old, new) if old else USUAL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"INVITE sip", b"BYE sip"),
        (b"example.net> \r", b"example.net>;tag=1\r"),
        (b"example.net> \r", b"example.net>;\r\n TAG=1\r"),
        (b"\r\nMax", b"\r\nAuthorization: Digest username=eva\r\nMax"),
        (b"CSeq", b"cseq"),
        (b"CSeq: 4711 INVITE", b"CSeq: 4711 BYE"),
        (b"Call-ID: a@b", b"Call-ID: a@b\r\nCall-ID: c"),
        (b"Call-ID: a@b", b"Call-ID: a\n@b"),
        (b"Call-ID: a@b\r\n", b""),
        (b";branch=z9hG4bK1", b";branch=1"),
        (b";branch=z9hG4bK1", b""),
        (b";rport\r", b";rport, SIP/2.0/UDP 10.1.1.1;branch=z9hG4bKa\r"),
        (b"SIP/2.0/UDP 192.0.2.9:5070", b"SIP/2.0/UDP 192.0.2.9:99999"),
        (b"\r\n\r\n", b"\r\n"),
        (b"v=0", b"x" * 70_000),
    ],
)
def test_all_else_needs_a_proper_look(old: bytes, new: bytes) -> None:
    assert old in USUAL
    assert glimpse(USUAL.replace(old, new)) is None


def test_mutations() -> None:
    chance = random.Random(4)
    enough = 0
    for _ in range(4000):
        data = bytearray(USUAL)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at]
                case _:
                    data[at:at] = chance.choice(
                        [b"\r\n", b" ", b"tag=", b":", b";", b"\0", b"\xff", b"<", b"To: x\r\n"]
                    )
        enough += agrees(bytes(data))
    assert 500 < enough < 3900


def test_the_branch_of_an_acknowledgement() -> None:
    assert branch(USUAL.replace(b"INVITE", b"ACK")) == "z9hG4bK1"
    assert branch(b"ACK sip:x SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n") == ""


def test_who_opens_a_call() -> None:
    assert opens_call(USUAL)
    assert opens_call(USUAL.replace(b"INVITE", b"CANCEL"))
    assert not opens_call(USUAL.replace(b"INVITE", b"BYE"))
    assert not opens_call(USUAL.replace(b"net> ", b"net> ; tag = 1"))
    assert not opens_call(USUAL.replace(b"To:  <sip:1001@example.net> ", b"t\t: <sip:1001@example.net>;x;TAG=1"))
