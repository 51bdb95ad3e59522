"""The supervisor's end of the socket on which control is told what became of the others, and what to do
(app/messages.py has the words)."""

import selectors
import socket
from collections import deque
from collections.abc import Callable

from app.messages import LINE_BYTES, Message, Note, Noted, encode, read_note
from events.types import Event

PENDING_FACTS = 10_000
"""Facts kept while control is away; the oldest go first beyond that."""


class Reports:
    """Facts for control's journal, kept until control notes them; orders, which are for the present control only.

    heard: called with each note of control, but for Noted, which is our own affair."""

    def __init__(self, selector: selectors.BaseSelector, heard: Callable[[Note], None]) -> None:
        self._selector = selector
        self._hear = heard
        self._facts: deque[bytes] = deque(maxlen=PENDING_FACTS)
        self._sent = 0
        """`_facts[:_sent]` were given to the present control, which has not noted them yet."""
        self._noted = 0
        self._orders: deque[bytes] = deque()
        self._half = b""
        """Rest of a line that the socket took in part."""
        self._socket: socket.socket | None = None
        self._rest = b""

    def connect(self) -> socket.socket:
        """A new control starts: its end of a new pair. The caller closes it after the start."""
        ours, theirs = socket.socketpair()
        self.attach(ours)
        return theirs

    def attach(self, ours: socket.socket, heard: bytes = b"") -> None:
        """From now on this leads to control, which has said `heard` by it already."""
        self.disconnect()
        ours.setblocking(False)
        self._socket, self._sent, self._noted, self._rest, self._half = ours, 0, 0, b"", b""
        self._orders.clear()
        self._selector.register(ours, selectors.EVENT_READ, self._receive)
        self._send()
        self._take(heard)

    def finish(self) -> None:
        """Control has died: hear what it still said, then forget it."""
        while self._socket is not None and can_read(self._socket.fileno()):
            self._receive()
        self.disconnect()

    def disconnect(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
        self._socket = None

    def tell(self, fact: Event) -> None:
        if len(self._facts) == PENDING_FACTS and self._sent:
            self._sent -= 1  # the oldest falls out; control may still note it
            self._noted += 1
        self._facts.append(encode(fact))
        self._send()

    def order(self, order: Message) -> None:
        """To the present control; forgotten when it dies."""
        if self._socket is not None:
            self._orders.append(encode(order))
            self._send()

    def _send(self) -> None:
        """Give the socket what it takes. When it is full the next fact or note tries again."""
        while self._socket is not None and (line := self._next()):
            try:
                taken = self._socket.send(line)
            except OSError:
                return  # full, or control is dying: its exit brings a new connection
            self._taken(line, taken)

    def _next(self) -> bytes:
        if self._half:
            return self._half
        if self._orders:
            return self._orders[0]
        return self._facts[self._sent] if self._sent < len(self._facts) else b""

    def _taken(self, line: bytes, octets: int) -> None:
        if self._half:
            pass
        elif self._orders:
            self._orders.popleft()
        else:
            self._sent += 1
        self._half = line[octets:]

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(LINE_BYTES)
        except OSError:
            data = b""
        if not data or len(self._rest) > LINE_BYTES:
            self.disconnect()
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            note = read_note(line)
            if isinstance(note, Noted):
                self._are_noted(note.count)
            elif note is not None:
                self._hear(note)

    def _are_noted(self, count: int) -> None:
        for _ in range(min(count - self._noted, self._sent)):
            self._facts.popleft()
            self._sent -= 1
        self._noted = max(self._noted, count)
        self._send()


def can_read(fd: int) -> bool:
    """Whether a read of this descriptor has something to give (data or its end) at once."""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        return bool(selector.select(0))
