"""One UDP socket with client and server transactions on it (RFC 3261 §17), for load: thousands of calls share it.

Retransmissions follow the RFC, both ways, and are counted: under load they are the first sign of a slow server.
"""

import asyncio
import collections
import socket
from collections.abc import Callable

from bench import wire
from bench.wire import Message

T1, T2, TIMEOUT = 0.5, 4.0, 32.0
LINGER = 32.0
"""Seconds for which an answered request is remembered, so that its retransmission gets the same answer."""
READS = 128
"""Datagrams taken in one go before timers get their turn."""


class ClientTransaction:
    """`final` gets the final response, or a 408 of our own after 32 s. Provisionals go to `provisional`."""

    __slots__ = (
        "_data",
        "_endpoint",
        "_interval",
        "_timer",
        "_until",
        "final",
        "invite",
        "proceeding",
        "provisional",
        "target",
    )

    def __init__(self, endpoint: "Endpoint", data: bytes, target: tuple[str, int], invite: bool) -> None:
        loop = endpoint.loop
        self._endpoint, self._data, self.target, self.invite = endpoint, data, target, invite
        self.final: asyncio.Future[Message] = loop.create_future()
        self.provisional: Callable[[Message], None] | None = None
        self.proceeding = False
        self._interval = T1
        self._until = loop.time() + TIMEOUT
        self._timer = loop.call_later(T1, self._again)
        endpoint.send(data, target)

    @property
    def request_uri(self) -> str:
        return self._data.split(b" ", 2)[1].decode()

    def _again(self) -> None:
        loop = self._endpoint.loop
        if self.final.done():
            return
        if loop.time() >= self._until:
            self._endpoint.counts["timeouts"] += 1
            self.final.set_result(Message(408, "", ""))
            return
        if not (self.invite and self.proceeding):
            self._endpoint.counts["retransmissions"] += 1
            self._endpoint.send(self._data, self.target)
        self._interval = self._interval * 2 if self.invite else min(self._interval * 2, T2)
        self._timer = loop.call_later(max(0.001, min(self._interval, self._until - loop.time())), self._again)

    def receive(self, message: Message) -> None:
        if message.status < 200:
            self.proceeding = True
            if self.provisional is not None:
                self.provisional(message)
            return
        if not self.final.done():
            self._timer.cancel()
            self.final.set_result(message)


class Endpoint:
    """`on_request(message, source)` gets each new request but ACK once; the answer is sent by `answer`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.loop = asyncio.get_running_loop()
        self.counts: collections.Counter[str] = collections.Counter()
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        self._socket.setblocking(False)
        self._socket.bind((host, port))
        self.host: str = host
        self.port: int = self._socket.getsockname()[1]
        self.sent_by = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._clients: dict[str, ClientTransaction] = {}
        self._acks: dict[str, tuple[bytes, tuple[str, int]]] = {}
        self._answers: dict[tuple[str, str], bytes | None] = {}
        self._resends: dict[str, asyncio.TimerHandle] = {}
        self._old: collections.deque[tuple[float, Callable[[], None]]] = collections.deque()
        self.on_request: Callable[[Message, tuple[str, int]], None] = lambda _message, _source: None
        self.on_ack: Callable[[Message], None] = lambda _message: None
        self.loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        for timer in self._resends.values():
            timer.cancel()
        self.loop.remove_reader(self._socket)
        self._socket.close()

    def via(self, branch: str) -> str:
        return f"SIP/2.0/UDP {self.sent_by};branch={branch};rport"

    def send(self, data: bytes, target: tuple[str, int]) -> None:
        self.counts["sent"] += 1
        try:
            self._socket.sendto(data, target)
        except OSError:  # full buffer, or nobody there yet: the retransmission tries again
            self.counts["send_errors"] += 1

    def request(self, data: bytes, target: tuple[str, int], branch: str, *, invite: bool = False) -> ClientTransaction:
        """Open a client transaction; `data` holds `branch` in its topmost Via."""
        transaction = ClientTransaction(self, data, target, invite)
        self._clients[branch] = transaction
        self._forget_later(lambda: self._clients.pop(branch, None))
        return transaction

    def ack(self, invite_branch: str, data: bytes, target: tuple[str, int]) -> None:
        """ACK a 2xx, and each retransmission of it, with the same bytes."""
        self._acks[invite_branch] = (data, target)
        self._forget_later(lambda: self._acks.pop(invite_branch, None))
        self.send(data, target)

    def answer(self, request: Message, source: tuple[str, int], data: bytes, *, status: int) -> None:
        """Send a response and keep it for retransmissions; a 2xx to INVITE is resent until its ACK (§13.3.1.4)."""
        key = (request.branch, request.method)
        if key in self._answers:
            self._answers[key] = data
        self.send(data, source)
        if request.method == "INVITE" and status >= 200:
            self._resend(request.call_id, data, source, T1, self.loop.time() + TIMEOUT)

    def _resend(self, call_id: str, data: bytes, target: tuple[str, int], interval: float, until: float) -> None:
        def again() -> None:
            if self.loop.time() >= until:
                self._resends.pop(call_id, None)
                self.counts["ack_timeouts"] += 1
                return
            self.counts["retransmissions"] += 1
            self.send(data, target)
            self._resend(call_id, data, target, min(interval * 2, T2), until)

        self._resends[call_id] = self.loop.call_later(interval, again)

    def _forget_later(self, forget: Callable[[], object]) -> None:
        now = self.loop.time()
        self._old.append((now + LINGER + TIMEOUT, lambda: (forget(), None)[1]))
        while self._old and self._old[0][0] <= now:
            self._old.popleft()[1]()

    def _readable(self) -> None:
        for _ in range(READS):
            try:
                data, source = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:  # ICMP unreachable of an earlier send
                continue
            self.counts["received"] += 1
            message = wire.parse(data)
            if message is None:
                self.counts["unreadable"] += 1
            elif message.status:
                self._response(message)
            else:
                self._request(message, source[:2])

    def _response(self, message: Message) -> None:
        transaction = self._clients.get(message.branch)
        if transaction is None:
            self.counts["stray_responses"] += 1
            return
        if transaction.final.done() and message.status >= 200:
            self.counts["responses_again"] += 1
            again = self._acks.get(message.branch)
            if again is not None:
                self.send(*again)
        if transaction.invite and message.status >= 300:
            self.send(_ack_of_failure(message, transaction), transaction.target)
        transaction.receive(message)

    def _request(self, message: Message, source: tuple[str, int]) -> None:
        if message.method == "ACK":
            timer = self._resends.pop(message.call_id, None)
            if timer is not None:
                timer.cancel()
                self.on_ack(message)
            return
        key = (message.branch, message.method)
        if key in self._answers:
            self.counts["requests_again"] += 1
            known = self._answers[key]
            if known is not None:
                self.send(known, source)
            return
        self._answers[key] = None
        self._forget_later(lambda: self._answers.pop(key, None))
        self.on_request(message, source)


def _ack_of_failure(response: Message, transaction: ClientTransaction) -> bytes:
    """RFC 3261 §17.1.1.3: the INVITE's own Via and request-URI."""
    return wire.request(
        "ACK",
        transaction.request_uri,
        [
            ("Via", response.get("via")),
            ("Max-Forwards", "70"),
            ("From", response.get("from")),
            ("To", response.get("to")),
            ("Call-ID", response.call_id),
            ("CSeq", f"{response.sequence} ACK"),
        ],
    )
