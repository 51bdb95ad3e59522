"""SIP over WebSocket without sockets: handshake, messages in whatever pieces, mistakes of the peer (RFC 7118)."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from engine.sip.grammar import MAX_MESSAGE
from engine.transport.ws import WebSocketCarrier

MESSAGE = b"OPTIONS sip:hotline.example SIP/2.0\r\nSubject: \xe4\xb8\xad\r\n\r\n"


class Browser:
    """The other end, by wsproto too."""

    def __init__(self, carrier: WebSocketCarrier, cut: int = 1 << 30) -> None:
        self.carrier = carrier
        self.socket = WSConnection(ConnectionType.CLIENT)
        self.cut = cut
        self.messages: list[bytes] = []

    def give(self, data: bytes) -> list[Event]:
        """Octets to the carrier; what it answers."""
        for start in range(0, len(data), self.cut):
            self.messages += self.carrier.feed(data[start : start + self.cut])
        return self.take(self.carrier.outgoing())

    def take(self, data: bytes) -> list[Event]:
        self.socket.receive_data(data)
        return list(self.socket.events())

    def say(self, *events: Event) -> list[Event]:
        return self.give(b"".join(self.socket.send(event) for event in events))

    def open(self, subprotocols: Iterable[str] = ("sip",)) -> Event:
        return self.say(Request(host="hotline.example", target="/", subprotocols=list(subprotocols)))[0]


@pytest.fixture(params=[1 << 30, 1], ids=["whole", "octet by octet"])
def browser(request: pytest.FixtureRequest) -> Browser:
    browser = Browser(WebSocketCarrier(), request.param)
    answer = browser.open(["chat", "sip"])
    assert isinstance(answer, AcceptConnection)
    assert answer.subprotocol == "sip"
    return browser


def test_each_websocket_message_is_one_sip_message(browser: Browser) -> None:
    """Text or binary, in one frame or in several (RFC 7118 §5)."""
    browser.say(TextMessage(MESSAGE.decode()))
    browser.say(BytesMessage(MESSAGE))
    halves = MESSAGE.decode()[:20], MESSAGE.decode()[20:]
    browser.say(TextMessage(halves[0], message_finished=False))
    assert not browser.carrier.idle
    browser.say(TextMessage("", message_finished=False), Ping(b"between"), TextMessage(halves[1]))
    assert browser.messages == [MESSAGE] * 3
    assert browser.carrier.idle


def test_messages_to_the_peer_are_text_when_they_can_be(browser: Browser) -> None:
    assert browser.take(browser.carrier.message(MESSAGE)) == [TextMessage(MESSAGE.decode())]
    assert browser.take(browser.carrier.message(b"\xff\xfe")) == [BytesMessage(b"\xff\xfe")]


def test_keep_alives_of_both_kinds(browser: Browser) -> None:
    """WebSocket ping and pong (RFC 6455 §5.5.2), CRLF CRLF (RFC 5626 §4.4.1); neither is a SIP message."""
    assert browser.say(Ping(b"1")) == [Pong(b"1")]
    assert browser.carrier.alive
    assert browser.say(TextMessage("\r\n\r\n")) == [TextMessage("\r\n")]
    assert browser.say(TextMessage("\r\n")) == []
    assert browser.take(browser.carrier.ping()) == [Ping(b"")]
    assert browser.messages == []


def test_goodbye_is_answered(browser: Browser) -> None:
    assert browser.say(CloseConnection(code=1001)) == [CloseConnection(code=1001, reason="")]
    assert browser.carrier.ended
    assert browser.carrier.message(MESSAGE) == b""
    assert browser.carrier.ping() == b""
    assert browser.carrier.goodbye() == b""


def test_our_goodbye_says_that_all_is_well(browser: Browser) -> None:
    (event,) = browser.take(browser.carrier.goodbye())
    assert isinstance(event, CloseConnection)
    assert event.code == 1000


def test_a_message_without_end_is_cut_off(browser: Browser) -> None:
    """However small its pieces are: nothing is kept beyond the limit."""
    piece = TextMessage("x" * 20_000, message_finished=False)
    events: list[Event] = []
    for _ in range(1 + MAX_MESSAGE // 20_000):
        events += browser.say(piece)
    assert isinstance(events[-1], CloseConnection)
    assert events[-1].code == 1009
    assert browser.carrier.ended


@pytest.mark.parametrize("subprotocols", [[], ["chat"]])
def test_the_subprotocol_must_be_sip(subprotocols: list[str]) -> None:
    """RFC 7118 §4.2."""
    browser = Browser(WebSocketCarrier())
    answer = browser.open(subprotocols)
    assert isinstance(answer, RejectConnection)
    assert answer.status_code == 400
    assert browser.carrier.ended


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 400"),
        (b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", b"HTTP/1.1 400"),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
            b"Sec-WebSocket-Version: 8\r\n\r\n",
            b"HTTP/1.1 426",
        ),
        (b"GET / HTTP/1.1\r\nHost: \xff.\xfe\r\nConnection: Upgrade\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\nSec-WebSocket-Protocol: \xff\r\n\r\n", b""),
        (
            b"GET / HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
            b"Sec-WebSocket-Version: 13\r\nContent-Length: 9\r\n\r\n",
            b"",
        ),
    ],
)
def test_what_is_no_websocket_handshake_is_refused(request_text: bytes, status: bytes) -> None:
    carrier = WebSocketCarrier()
    assert carrier.feed(request_text) == []
    assert carrier.ended
    assert carrier.outgoing().startswith(status)


def _mutated(data: bytes, at: int, byte: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([byte]) + data[at + 1 :]


@given(st.binary(max_size=200), st.booleans())
def test_garbage_raises_nothing(data: bytes, opened: bool) -> None:
    carrier = WebSocketCarrier()
    if opened:
        Browser(carrier).open()
    carrier.feed(data)
    carrier.outgoing()


@given(st.integers(0, 1 << 16), st.integers(0, 255))
def test_a_changed_octet_raises_nothing(at: int, byte: int) -> None:
    """In the handshake and in frames."""
    request = WSConnection(ConnectionType.CLIENT).send(
        Request(host="hotline.example", target="/", subprotocols=["sip"])
    )
    carrier = WebSocketCarrier()
    carrier.feed(_mutated(request, at, byte))
    carrier.outgoing()
    browser = Browser(WebSocketCarrier())
    browser.open()
    frames = browser.socket.send(TextMessage(MESSAGE.decode())) + browser.socket.send(Ping(b"x"))
    browser.carrier.feed(_mutated(frames, at, byte))
    browser.carrier.outgoing()


def test_unmasked_frames_are_refused() -> None:
    """RFC 6455 §5.1."""
    browser = Browser(WebSocketCarrier())
    browser.open()
    browser.carrier.feed(b"\x81\x02hi")
    assert browser.carrier.ended
    assert browser.carrier.outgoing()[:1] == b"\x88"
