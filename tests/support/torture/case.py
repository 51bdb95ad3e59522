"""One kind of torture message (RFC 4475, RFC 5118), worded by us, and what must come of it.

Messages are written as readable text with marks that are filled in for each try:

    «via»     SIP/2.0/UDP 127.0.0.1:4711;branch=z9hG4bK…     where the answer is awaited
    «hop»     the same without branch; «at» host:port alone; «host» (IPv6 in brackets)
    «id»      Call-ID; «tag»; «branch»; «n» CSeq number; «auth» lines of credentials, or nothing
    «length»  octets of the body
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

SILENCE = 0
"""In place of a status: no answer may be sent."""
CALL = 200
"""Of an INVITE: a call, which the test acknowledges and ends."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who sends it: host in brackets when IPv6."""

    transport: str
    host: str
    port: int
    n: int = 41
    auth: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    branch: str = field(default_factory=lambda: "z9hG4bK" + secrets.token_hex(6))

    def again(self, auth: str) -> "Peer":
        """The next try, with credentials."""
        return replace(self, n=self.n + 1, auth=auth, branch="z9hG4bK" + secrets.token_hex(6))

    @property
    def sdp(self) -> bytes:
        bare = self.host.strip("[]")
        return description(f"IN {'IP6' if ':' in bare else 'IP4'} {bare}")

    def fill(self, text: str, body: bytes = b"") -> bytes:
        hop = f"SIP/2.0/{self.transport} {self.host}:{self.port}"
        marks = {"via": f"{hop};branch={self.branch}", "hop": hop, "at": f"{self.host}:{self.port}", "host": self.host}
        marks |= {
            "transport": self.transport,
            "id": self.id,
            "tag": self.tag,
            "branch": self.branch,
            "n": str(self.n),
            "auth": self.auth,
        }
        marks["length"] = str(len(body))
        for name, value in marks.items():
            text = text.replace(f"«{name}»", value)
        assert "«" not in text, text
        return text.replace("\n", "\r\n").encode() + body


Build = Callable[[Peer], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """parser: 0, or the status that parse refuses it with. udp, tcp: statuses that the engine may answer; empty: none.

    framing: what the stream's framer says: a status when it gives up (the connection closes), "waits" when the
    message never ends."""

    name: str
    section: str
    must: str
    """What the RFC asks for."""
    ours: str
    """What we do."""
    build: Build
    parser: int = 0
    udp: frozenset[int] = frozenset()
    tcp: frozenset[int] = frozenset()
    framing: int | str = 0
    contains: str = ""
    """Words that the answer must have."""
    second: int = 0
    """Over TCP: the answer to a second message, whose Call-ID is «id»-second."""


def case(
    section: str,
    name: str,
    build: Build,
    must: str,
    ours: str,
    expect: int,
    *,
    tcp: int | None = None,
    parser: int = 0,
    framing: int | str = 0,
    contains: str = "",
    second: int = 0,
) -> Case:
    """expect, tcp: a status, or SILENCE; tcp None: as over UDP."""
    return Case(
        name=name,
        section=section,
        must=must,
        ours=ours,
        build=build,
        parser=parser,
        udp=_answers(expect),
        tcp=_answers(expect if tcp is None else tcp),
        framing=framing,
        contains=contains,
        second=second,
    )


def _answers(status: int) -> frozenset[int]:
    return frozenset({status} - {SILENCE})


def description(*connections: str) -> bytes:
    """SDP with one audio stream for each connection address (`IN IP4 127.0.0.1`); the first is the session's too."""
    lines = ["v=0", f"o=li 3 1 {connections[0]}", "s=-", f"c={connections[0]}", "t=0 0"]
    for place, connection in enumerate(connections):
        lines += [f"m=audio {39_000 + 2 * place} RTP/AVP 8 0", f"c={connection}"]
    return "".join(f"{line}\r\n" for line in lines).encode()


USUAL = """\
Via: «via»
Max-Forwards: 70
From: <sip:13800@desk.example>;tag=«tag»
To: <sip:1001@hotline.example>
Call-ID: «id»
CSeq: «n» «method»
"""
LENGTH = "Content-Length: «length»\n"


def usual(start: str, more: str = "", *swaps: tuple[str, str], body: bytes = b"") -> Build:
    """A message that lacks nothing, with more header lines, and texts of the whole replaced. An INVITE gets a Contact
    and a description; a REGISTER credentials when it must, and the agent's name."""
    method = start.split(" ", 1)[0]
    text = f"{start}\n{USUAL}{more}"
    if method == "REGISTER":
        text = text.replace("sip:1001@hotline.example", "sip:8001@callwright.local") + "«auth»"
    if method == "INVITE":
        text += "Contact: <sip:13800@«at»>\nContent-Type: application/sdp\n"
    text += f"{LENGTH}\n".replace("«method»", method)
    text = text.replace("«method»", method)
    for old, new in swaps:
        assert old in text, old
        text = text.replace(old, new)
    return lambda peer: peer.fill(text, peer.sdp if method == "INVITE" and not body else body)


def written(text: str, body: bytes = b"", *, sdp: bool = False) -> Build:
    """A message written out in full."""
    return lambda peer: peer.fill(text, peer.sdp if sdp else body)
