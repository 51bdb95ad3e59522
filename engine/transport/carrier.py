"""How SIP messages lie in the octets of a connection: one after another (TCP and TLS, RFC 3261 §18.3), or one in each
WebSocket message (ws.py)."""

from typing import Protocol

from engine.sip.framing import FramingError, KeepAlive, Pong, StreamFramer
from engine.sip.parse import refuse

PING = b"\r\n\r\n"
PONG = b"\r\n"
"""RFC 5626 §3.5.1."""


class Carrier(Protocol):
    """One connection, both directions, without socket."""

    ended: bool
    """Nothing more can be understood: send `outgoing`, then close."""
    alive: bool
    """The last `feed` held a message or a keep-alive."""
    pings: bool
    """`ping` has something to give: it is to be sent on a quiet connection."""

    @property
    def idle(self) -> bool:
        """No part of a message waits for its rest."""

    @property
    def answers(self) -> bool:
        """The peer has answered a `ping` before: when it does so no more, it is gone."""

    def feed(self, data: bytes) -> list[bytes]:
        """The whole messages that `data` completes."""

    def outgoing(self) -> bytes:
        """What the carrier itself has to say since the last call: handshake, pong, refusal."""

    def message(self, data: bytes) -> bytes:
        """The octets that carry one SIP message."""

    def ping(self) -> bytes:
        """A keep-alive of our own."""

    def goodbye(self) -> bytes:
        """Last words before we close."""


class StreamCarrier:
    """SIP messages back to back; CRLF CRLF between them is answered CRLF. pings: by us, who opened the connection
    (RFC 5626 §3.5.1: they are the client's)."""

    __slots__ = ("_framer", "_out", "alive", "answers", "ended", "pings")

    def __init__(self, *, pings: bool = False) -> None:
        self._framer = StreamFramer()
        self.pings = pings
        self.answers = False
        self._out = b""
        self.ended = False
        self.alive = False

    @property
    def idle(self) -> bool:
        return self._framer.idle

    def feed(self, data: bytes) -> list[bytes]:
        self.alive = False
        messages: list[bytes] = []
        for item in self._framer.feed(data):
            self.alive = True
            if isinstance(item, bytes):
                messages.append(item)
            elif isinstance(item, KeepAlive):
                self._out += PONG
            elif isinstance(item, Pong):
                self.answers = True
            else:
                self._refuse(item)
        return messages

    def _refuse(self, error: FramingError) -> None:
        """Say why, when it can be said to anybody: where the next message begins is unknown."""
        self._out += refuse(error.head, error.status, error.reason) or b""
        self.alive = False
        self.ended = True

    def outgoing(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def message(self, data: bytes) -> bytes:
        return data

    def ping(self) -> bytes:
        self._framer.pinged()
        return PING

    def goodbye(self) -> bytes:
        return b""
