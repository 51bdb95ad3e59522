"""Every kind of RFC 4475 and RFC 5118 against a running hotline: over UDP and TCP, IPv4 and IPv6, whole and octet by
octet. After each the same socket is served as if nothing had been. Nothing of engine/ is used to judge the answers."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench import wire
from bench.wire import Message
from tests.support.site import Site, serving
from tests.support.torture.case import Case, Peer, usual
from tests.support.torture.catalogue import CASES

PATIENCE = 10.0
SILENT = 0.2
"""Seconds in which a message that is not whole is not answered."""
USER, PASSWORD = "8001", "right-8001"
FAMILIES = {"ipv4": "127.0.0.1", "ipv6": "::1"}
ENDS = b"\r\n\r\n"


def edit(config: dict[str, Any]) -> None:
    main = config["callwright"]
    main["sip"]["listen"] = [f"{kind}:{host}:0" for host in ("127.0.0.1", "[::1]") for kind in ("udp", "tcp")]
    config["agents"]["agents"] = {
        "agent": {"display": USER, "user": USER, "password": PASSWORD, "skills": {"billing": 5, "zh": 5}}
    }


@pytest.fixture(scope="module")
def hotline() -> Iterator[Site]:
    with serving(edit) as running:
        yield running


@dataclass(slots=True)
class Line:
    """One socket to the hotline. step: octets at a time, over TCP."""

    sock: socket.socket
    peer: Peer
    step: int
    heard: list[tuple[Message, bytes]] = field(default_factory=list)
    buffer: bytes = b""
    closed: bool = False

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), self.step):
            self.sock.sendall(data[at : at + self.step])

    def hear(self, within: float = PATIENCE) -> bool:
        """Take in one more message; False: silence, or the connection is closed."""
        self.sock.settimeout(within)
        try:
            if self.peer.transport == "UDP":
                return self._take(self.sock.recv(65_535))
            while (size := self._whole()) == 0:
                got = self.sock.recv(65_535)
                if not got:
                    self.closed = True
                    return False
                self.buffer += got
        except TimeoutError:
            return False
        message, self.buffer = self.buffer[:size], self.buffer[size:]
        return self._take(message)

    def _take(self, data: bytes) -> bool:
        message = wire.parse(data)
        assert message is not None, data
        self.heard.append((message, data))
        return True

    def _whole(self) -> int:
        head, found, _ = self.buffer.partition(ENDS)
        if not found:
            return 0
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        size = len(head) + len(ENDS) + length
        return size if len(self.buffer) >= size else 0

    def final(self, call_id: str | None = None) -> tuple[Message, bytes]:
        """The next final response: of this Call-ID, or of any."""
        while True:
            for place, (message, data) in enumerate(self.heard):
                if message.status >= 200 and call_id in (None, message.call_id):
                    del self.heard[place]
                    return message, data
            assert self.hear(), f"no answer; heard {self.heard}"

    def ping(self) -> None:
        """An OPTIONS of the healthy kind; whatever else was answered before is left in `heard`."""
        again = Peer(self.peer.transport, self.peer.host, self.peer.port)
        self.sock.sendall(usual("OPTIONS sip:hotline.example SIP/2.0")(again))
        assert self.final(again.id)[0].status == 200


@contextlib.contextmanager
def line_to(site: Site, transport: str, family: str, step: int = 100_000) -> Iterator[Line]:
    host = FAMILIES[family]
    shown = f"[{host}]" if ":" in host else host
    port = next(int(it.rpartition(":")[2]) for it in site.listening if it.startswith(f"{transport}:{shown}:"))
    version = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(version, kind) as sock:
        sock.bind((host, 0))
        if transport == "tcp":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((host, port))
        yield Line(sock, Peer(transport.upper(), shown, sock.getsockname()[1]), step)


def in_dialog(method: str, invite: Message, final: Message, peer: Peer) -> bytes:
    """The ACK of an answer, or the BYE of a call."""
    number, branch = invite.sequence, invite.get("via")
    uri = invite.uri if final.status >= 300 else wire.address(final.get("contact"))
    via = branch if final.status >= 300 else peer.fill("«via»9").decode()
    headers = [("Via", via), ("From", final.get("from")), ("To", final.get("to")), ("Call-ID", final.call_id)]
    return wire.request(method, uri, [*headers, ("CSeq", f"{number + (method == 'BYE')} {method}")])


def finish(line: Line, sent: bytes, final: Message) -> None:
    """Acknowledge what an INVITE was answered with, and end the call that it made."""
    invite = wire.parse(sent)
    if invite is None or invite.method != "INVITE" or final.method != "INVITE" or not final.call_id:
        return
    if line.peer.transport == "TCP" and final.status >= 300:
        return  # nothing is repeated there, and the connection may be closing
    line.sock.sendall(in_dialog("ACK", invite, final, line.peer))
    if final.status == 200:
        line.sock.sendall(in_dialog("BYE", invite, final, line.peer))
        assert line.final(final.call_id)[0].status == 200


def answered(line: Line, case: Case, data: bytes) -> tuple[Peer, Message, bytes]:
    """The final answer, with a password given when one is asked for and the message is ours to repeat."""
    line.send(data)
    final, raw = line.final()
    again = line.peer.again("")
    challenge = final.get("www-authenticate")
    if final.status != 401 or 401 in case.udp:
        return line.peer, final, raw
    uri = data.split(b" ", 2)[1].decode()
    value = wire.authorize(challenge, "REGISTER", uri, USER, PASSWORD)
    again = line.peer.again(f"Authorization: {value}\n")
    line.send(case.build(again))
    return again, *line.final(again.id)


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize(("transport", "step"), [("udp", 100_000), ("tcp", 100_000), ("tcp", 1)])
@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
def test_each_gets_what_its_rfc_asks_for(hotline: Site, case: Case, transport: str, step: int, family: str) -> None:
    with line_to(hotline, transport, family, step) as line:
        data = case.build(line.peer)
        expected = case.udp if transport == "udp" else case.tcp
        if transport == "tcp" and case.framing == "waits":
            line.send(data)
            assert not line.hear(SILENT)
            assert not line.closed
            data, rest = data + line.peer.sdp[-20:], line.peer.sdp[-20:]
            line.send(rest)
            final, _ = line.final()
            assert {final.status} == expected
            finish(line, data, final)
        elif not expected:
            line.send(data)
        else:
            peer, final, raw = answered(line, case, data)
            assert final.status in expected, raw
            assert peer.fill(case.contains) in raw
            finish(line, data, final)
            if case.second and transport == "tcp":
                assert line.final(f"{peer.id}-second")[0].status == case.second
        if transport == "tcp" and case.framing not in (0, "waits"):
            assert not line.hear()
            assert line.closed
        else:
            line.ping()
        assert [message.status for message, _ in line.heard if message.status >= 200] == []


@pytest.mark.parametrize("family", list(FAMILIES))
def test_requests_with_an_empty_branch_are_told_apart(hotline: Site, family: str) -> None:
    """RFC 4475 §3.2.1: each is answered for itself, none as a retransmission of the other."""
    case = next(each for each in CASES if each.name == "badbranch")
    with line_to(hotline, "udp", family) as line:
        for _ in range(2):
            peer = Peer("UDP", line.peer.host, line.peer.port)
            line.send(case.build(peer))
            assert line.final(peer.id)[0].status == 200


def test_nothing_was_left_behind(hotline: Site) -> None:
    """Runs last: no traceback in what the hotline printed."""
    assert not [text for text in hotline.output if "Traceback" in text or "message failed" in text]
