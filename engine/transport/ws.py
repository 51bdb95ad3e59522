"""SIP over WebSocket (RFC 7118, RFC 6455), server side: each WebSocket message is one SIP message."""

from h11 import ProtocolError
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
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from engine.sip.grammar import MAX_MESSAGE

SUBPROTOCOL = "sip"
CLOSE_NORMAL, CLOSE_PROTOCOL_ERROR, CLOSE_TOO_BIG = 1000, 1002, 1009
SLICE = 16_384
"""Octets given to the parser at once, so that what it makes of them stays bounded."""


class WebSocketCarrier:
    """A Carrier. A client that does not offer the subprotocol `sip` is refused (RFC 7118 §4.2); extensions are not
    taken: compression would let small messages grow."""

    pings = True
    answers = False
    """Nobody keeps count: the connection is a phone's, and a phone that is gone opens another."""

    __slots__ = ("_out", "_parts", "_size", "_socket", "alive", "ended")

    def __init__(self) -> None:
        self._socket = WSConnection(ConnectionType.SERVER)
        self._out = b""
        self._parts: list[bytes] = []  # of the message under way
        self._size = 0
        self.ended = False
        self.alive = False

    @property
    def idle(self) -> bool:
        return not self._parts

    def feed(self, data: bytes) -> list[bytes]:
        self.alive = False
        messages: list[bytes] = []
        for start in range(0, len(data), SLICE):
            if self.ended:
                break
            self._feed(data[start : start + SLICE], messages)
        return messages

    def _feed(self, data: bytes, messages: list[bytes]) -> None:
        try:
            self._socket.receive_data(data)
            for event in self._socket.events():
                self._handle(event, messages)
                if self.ended:
                    break
        except RemoteProtocolError as error:
            self._fail(error.event_hint)
        except (LocalProtocolError, ProtocolError, ValueError):  # ValueError: headers that are no text (UnicodeError)
            self._fail(None)

    def _handle(self, event: Event, messages: list[bytes]) -> None:
        match event:
            case TextMessage():
                self._part(event.data.encode(), messages, last=event.message_finished)
            case BytesMessage():
                self._part(bytes(event.data), messages, last=event.message_finished)
            case Request():
                self._open(event)
            case Ping():
                self.alive = True
                self._say(event.response())
            case Pong():
                self.alive = True
            case CloseConnection():
                self.ended = True
                self._say(event.response())
            case _:
                pass

    def _open(self, request: Request) -> None:
        if SUBPROTOCOL in request.subprotocols:
            self._say(AcceptConnection(subprotocol=SUBPROTOCOL))
        else:
            self._say(RejectConnection(status_code=400, headers=[(b"content-length", b"0")]))
            self.ended = True

    def _part(self, data: bytes, messages: list[bytes], *, last: bool) -> None:
        self._size += len(data)
        if self._size > MAX_MESSAGE:
            self._fail(CloseConnection(code=CLOSE_TOO_BIG))
            return
        if data:  # empty fragments are allowed, without end
            self._parts.append(data)
        if not last:
            return
        message = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self.alive = True
        if message == b"\r\n\r\n":  # RFC 7118 §6 leaves RFC 5626's keep-alive to clients
            self._out += self.message(b"\r\n")
        elif message.strip(b"\r\n"):
            messages.append(message)

    def _fail(self, said: Event | None) -> None:
        """Close with the peer's mistake as the reason, in whichever words fit the state."""
        self.ended = True
        self._say(said if said is not None else CloseConnection(code=CLOSE_PROTOCOL_ERROR))

    def _say(self, event: Event) -> None:
        try:
            self._out += self._socket.send(event)
        except (LocalProtocolError, ProtocolError):
            self.ended = True  # nothing may be said any more

    def outgoing(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def message(self, data: bytes) -> bytes:
        """As text when it is UTF-8, which scripts in browsers like better, else binary; both are allowed (§5)."""
        try:
            return self._socket.send(TextMessage(data.decode()))
        except UnicodeDecodeError:
            return self._socket.send(BytesMessage(data))
        except LocalProtocolError:
            return b""  # closing: the peer hears nothing more

    def ping(self) -> bytes:
        try:
            return self._socket.send(Ping())
        except LocalProtocolError:
            return b""

    def goodbye(self) -> bytes:
        try:
            return self._socket.send(CloseConnection(code=CLOSE_NORMAL))
        except LocalProtocolError:
            return b""
