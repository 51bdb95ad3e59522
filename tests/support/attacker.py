"""Hostile peers on addresses of the loopback, 127.0.0.2 and up: raw datagrams, and the answers to them.

Nothing of engine/ is used, so that a mistake there cannot hide here.
"""

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench import wire
from bench.wire import Message

DOMAIN = "callwright.local"
QUICK = 0.3
"""Seconds after which silence is an answer."""


@dataclass(slots=True)
class Attacker:
    """One UDP socket. `target`: the server."""

    target: tuple[str, int]
    sock: socket.socket
    host: str
    port: int
    call_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def send(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            self.sock.sendto(data, self.target)

    def hear(self, within: float = QUICK) -> Message | None:
        """The next message that can be read; None after silence."""
        self.sock.settimeout(within)
        try:
            return wire.parse(self.sock.recv(65_535))
        except TimeoutError:
            return None

    def drain(self, within: float = QUICK) -> list[Message]:
        """All that comes until there is silence for so long."""
        heard = []
        while (message := self.hear(within)) is not None:
            heard.append(message)
        return heard

    def ask(self, data: bytes, within: float = QUICK) -> Message | None:
        """Send, and the first final response."""
        self.send(data)
        while (message := self.hear(within)) is not None:
            if message.status >= 200:
                return message
        return None

    def request(
        self,
        method: str,
        uri: str = f"sip:{DOMAIN}",
        *,
        user: str = "8001",
        to: str = "",
        cseq: int = 1,
        headers: Sequence[tuple[str, str]] = (),
        body: str = "",
    ) -> bytes:
        """A request that lacks nothing. user: of From, and of To and Contact when `to` is not given."""
        fields = [
            ("Via", f"SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK{secrets.token_hex(8)};rport"),
            ("Max-Forwards", "70"),
            ("From", f"<sip:{user}@{DOMAIN}>;tag={secrets.token_hex(4)}"),
            ("To", to or f"<sip:{user}@{DOMAIN}>"),
            ("Call-ID", secrets.token_hex(8)),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:{user}@{self.host}:{self.port}>"),
            *headers,
        ]
        return wire.request(method, uri, fields, body)

    def register(self, user: str, password: str, within: float = QUICK) -> list[int]:
        """REGISTER, and once more with an answer to the challenge: the statuses heard, fewer than two after silence."""
        uri = f"sip:{DOMAIN}"
        challenged = self.ask(self.request("REGISTER", uri, user=user), within)
        if challenged is None or challenged.status != 401:
            return [] if challenged is None else [challenged.status]
        answer = wire.authorize(challenged.get("www-authenticate"), "REGISTER", uri, user, password)
        again = self.request("REGISTER", uri, user=user, cseq=2, headers=[("Authorization", answer)])
        final = self.ask(again, within)
        return [401] if final is None else [401, final.status]


@contextlib.contextmanager
def attacker(target: tuple[str, int], host: str, port: int = 0) -> Iterator[Attacker]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, port))
        yield Attacker(target, sock, host, sock.getsockname()[1])


def brute_force(target: tuple[str, int], host: str, user: str, passwords: int) -> int:
    """Try so many passwords, each from a socket of its own as crackers do; how many got an answer. Gives up after
    silence, as no cracker would: `passwords` left unanswered are those not tried."""
    answered = silent = 0
    for n in range(passwords):
        with attacker(target, host) as it:
            heard = it.register(user, f"guess-{n}", within=0.1)
        answered += len(heard) == 2
        silent = 0 if heard else silent + 1
        if silent >= 10:
            break
    return answered


@dataclass(slots=True)
class Flood:
    """What a flood of INVITEs sent and heard."""

    sent: int = 0
    answered: int = 0


def flood(target: tuple[str, int], hosts: Sequence[str], rate: float, seconds: float) -> Flood:
    """INVITEs without a password at `rate` a second in turn from all these addresses."""
    done = Flood()
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(attacker(target, host)) for host in hosts]
        for it in crowd:
            it.sock.setblocking(False)
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < seconds:
            while done.sent < elapsed * rate:
                it = crowd[done.sent % len(crowd)]
                it.send(it.request("INVITE", f"sip:1001@{DOMAIN}", user="1390000", to=f"<sip:1001@{DOMAIN}>"))
                done.sent += 1
            time.sleep(0.002)
        for it in crowd:
            done.answered += len(it.drain(0.001))
    return done
