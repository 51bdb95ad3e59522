"""Messages that are wrong in some way, without end and always the same for a seed."""

import random
from collections.abc import Callable, Iterator

from bench import wire

DOMAIN = "callwright.local"
NASTY = (
    b"\r\n", b"\n", b"\r", b"\0", b"\xff\xfe", b" ", b"\t", b'"', b"<", b">", b";", b",", b"@", b":", b"%00", b"%n%s",
    b"\xe4\xbd\xa0", b"\xed\xa0\x80", b"-1", b"0", b"4294967296", b"99999999999999999999", b"1e9", b"A" * 300,
    b";tag=", b";branch=", b"SIP/2.0", b"sip:", b"[::1]", b"\\", b"=?", b"z9hG4bK",
)  # fmt: skip
"""What breaks parsers, put in anywhere."""

Mutate = Callable[[random.Random, bytes], bytes]


def corpus(host: str, port: int, chance: random.Random) -> list[bytes]:
    """Right messages of every kind, with BRANCH, FROMTAG and CALLID where their identifiers go."""
    out = []
    for method, number, tag, extra in (
        ("INVITE", "404", "", []),
        ("INVITE", "404", "", [("Authorization", 'Digest username="8001", realm="x", nonce="n", response="r"')]),
        ("INVITE", "404", ";tag=there", [("Session-Expires", "90"), ("Replaces", "a@b;to-tag=1;from-tag=2")]),
        ("REGISTER", "8001", "", [("Expires", "60")]),
        ("REGISTER", "8001", "", [("Authorization", f'Digest username="8001", realm="{DOMAIN}", nonce="1-1-{"0" * 32}",'
                                                    'uri="sip:x", response="0", qop=auth, nc=00000001, cnonce="c"')]),
        ("OPTIONS", "1001", "", [("Accept", "application/sdp"), ("Route", "<sip:127.0.0.1;lr>")]),
        ("ACK", "1001", ";tag=there", []),
        ("BYE", "1001", ";tag=there", [("Reason", 'Q.850;cause=16;text="x"')]),
        ("CANCEL", "1001", "", []),
        ("INFO", "1001", ";tag=there", []),
        ("REFER", "1001", ";tag=there", [("Refer-To", "<sip:x@192.0.2.1?Replaces=a%3Bb>")]),
        ("SUBSCRIBE", "1001", "", [("Event", "presence")]),
        ("PRACK", "1001", ";tag=there", [("RAck", "1 1 INVITE")]),
    ):  # fmt: skip
        headers = [
            ("Via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bKBRANCH;rport"),
            ("Max-Forwards", "70"),
            ("From", f'"A \\"B\\" C" <sip:139@{host};user=phone>;tag=FROMTAG'),
            ("To", f"<sip:{number}@{DOMAIN}>{tag}"),
            ("Call-ID", f"CALLID@{host}"),
            ("CSeq", f"1 {method}"),
            ("Contact", f"<sip:139@{host}:{port};transport=udp>;q=0.5"),
            *extra,
        ]
        body = wire.sdp(host, 9) if method == "INVITE" else ""
        out.append(wire.request(method, f"sip:{number}@{DOMAIN}", headers, body))
        if method in ("INVITE", "BYE"):
            status = chance.choice((100, 180, 200, 302, 401, 486, 503, 699))
            lines = [f"SIP/2.0 {status} Some Reason", *(f"{name}: {value}" for name, value in headers)]
            out.append(("\r\n".join(lines) + "\r\nContent-Length: 0\r\n\r\n").encode())
    return out


def messages(seed: int, host: str, port: int) -> Iterator[bytes]:
    """One in ten is right."""
    chance = random.Random(seed)
    while True:
        for right in corpus(host, port, chance):
            yield _own(chance, right)
            for _ in range(9):
                data = _own(chance, right)
                for _ in range(chance.randint(1, 4)):
                    data = chance.choice(MUTATIONS)(chance, data)
                yield data[:60_000]


def _own(chance: random.Random, data: bytes) -> bytes:
    """With identifiers that no other message has, so that none is taken for a retransmission."""
    for name in (b"BRANCH", b"FROMTAG", b"CALLID"):
        data = data.replace(name, b"%x" % chance.getrandbits(64))
    return data


def _flip(chance: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _insert(chance: random.Random, data: bytes) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(NASTY) * chance.choice((1, 1, 1, 2, 50)) + data[at:]


def _cut(chance: random.Random, data: bytes) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + data[at + chance.randint(1, 40) :]


def _end(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randint(0, len(data))]


def _lines(chance: random.Random, data: bytes) -> bytes:
    """Drop a line, say one twice, or change two about."""
    lines = data.split(b"\r\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    kind = chance.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(other, lines[at])
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at : at + 1] = [lines[at]] * chance.choice((2, 30, 120))
    return b"\r\n".join(lines)


def _number(chance: random.Random, data: bytes) -> bytes:
    """Another number in place of one."""
    places = [at for at, octet in enumerate(data) if 48 <= octet <= 57]
    if not places:
        return data
    at = chance.choice(places)
    return data[:at] + str(chance.choice((-1, 0, 1, 255, 65536, 2**31, 2**32, 2**64, 10**40))).encode() + data[at + 1 :]


def _junk(chance: random.Random, data: bytes) -> bytes:
    return chance.randbytes(chance.randint(0, 1500)) if chance.random() < 0.1 else data


MUTATIONS: tuple[Mutate, ...] = (_flip, _insert, _cut, _end, _lines, _number, _junk)
