"""The test's side of a foreign phone: each runs in a process of its own and is told what to do by JSON lines.

Commands in (`{"do": "call", "to": "1001"}`), each answered by `{"done": "call"}` or `{"done": "call", "error": …}`.
Events out (`{"event": "established"}`), in the order they happened:

    registered | unregistered
    incoming from=<user> display=<text>   ringing   established   held   resumed   remote_held   remote_resumed
    digit digit=<key>                     closed by=here|there|failed why=<text>
"""

import contextlib
import json
import queue
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.tones import Samples, read_wav

ROOT = Path(__file__).parents[3]
PATIENCE = 15.0
"""Seconds for anything that a phone does by itself."""


PHONE_PORTS, MEDIA_PORTS = (12_000, 22_000), (22_000, 32_000)
"""Of phones, and of the hotlines under test, which bind theirs only when calls come. Both below those that the kernel
hands out by itself."""


class PeerError(AssertionError):
    """The phone said no, died, or something awaited did not happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything a phone is given at its start."""

    user: str
    registrar: str
    """host:port of the server."""
    sip_port: int
    rtp_port: int
    """Even; the phone may use the next few as well."""
    tone_hz: float
    capture: str
    """WAV file for what it hears, written when a call ends."""
    password: str = ""
    domain: str = "127.0.0.1"
    host: str = "127.0.0.1"
    auto_answer: bool = False
    transport: str = "udp"
    """udp | tls, to the server; tls: pjsua, baresip and linphone only, which verify its certificate by `authority`."""
    authority: str = ""
    """PEM file of the certificate authority."""
    srtp: str = ""
    """forbidden | optional | required, with keys in SDP; pjsua, baresip and linphone only."""
    reliable: str = ""
    """optional | required: provisional responses by RFC 3262; pjsua, and baresip, which ends RAck with a bare LF."""
    srtp_suite: str = ""
    """pjsua: the only one that it speaks; "" for all it knows."""


def free_ports(
    count: int = 1, *, spacing: int = 20, within: tuple[int, int] = PHONE_PORTS, host: str = "127.0.0.1"
) -> list[int]:
    """`count` even UDP ports that nobody holds, the `spacing - 1` ports after each free as well.

    The search begins anywhere, so that two runs of tests on one machine seldom meet."""
    starts = list(range(*within, spacing))
    turn = secrets.randbelow(len(starts))
    found: list[int] = []
    for port in starts[turn:] + starts[:turn]:
        if all(is_free(host, port + offset) for offset in range(spacing)):
            found.append(port)
        if len(found) == count:
            return found
    raise PeerError(f"no {count} free UDP port ranges")


def is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


@dataclass(slots=True)
class Phone:
    """One foreign phone. Use `phone(...)`, which ends the process whatever happens."""

    kind: str
    options: Options
    process: "subprocess.Popen[str]"
    log: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    """All so far, for the message when a test fails."""
    _incoming: "queue.Queue[dict[str, Any]]" = field(default_factory=queue.Queue)
    _waiting: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self._incoming.put(json.loads(line))
        self._incoming.put({"event": "died"})

    def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Carry out a command; returns its answer. Raises PeerError when the phone could not."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self._next(lambda said: said.get("done") == command, command, PATIENCE)
        if "error" in answer:
            raise PeerError(f"{self.kind} cannot {command}: {answer['error']}\n{self.story()}")
        return answer

    def wait(self, event: str, *, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next event of that name that was not yet taken; others stay for later waits."""
        return self._next(lambda said: said.get("event") == event, event, timeout)

    def _next(self, wanted: Any, name: str, timeout: float) -> dict[str, Any]:
        for index, said in enumerate(self._waiting):
            if wanted(said):
                return self._waiting.pop(index)
        until = time.monotonic() + timeout
        while True:
            try:
                said = self._incoming.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise PeerError(f"{self.kind}: no {name!r} within {timeout:g} s\n{self.story()}") from None
            self.events.append(said)
            if wanted(said):
                return said
            if said.get("event") == "died":
                raise PeerError(f"{self.kind} died waiting for {name!r}\n{self.story()}")
            self._waiting.append(said)

    def story(self) -> str:
        """What the phone said, and the end of its own log."""
        tail = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
        return "\n".join([*(json.dumps(said) for said in self.events), tail])

    def heard(self) -> tuple[int, Samples]:
        """Rate and samples (n,) of what it heard in its last call. After `closed` only."""
        rate, samples = read_wav(Path(self.options.capture))
        return rate, samples[:, 0]


@contextlib.contextmanager
def phone(kind: str, options: Options) -> Iterator[Phone]:
    """Start `tests.support.peers.<kind>`; end it and its children at the end of the block."""
    log = Path(options.capture).with_suffix(f".{kind}.log")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", f"tests.support.peers.{kind}", json.dumps(asdict(options))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
        )
    it = Phone(kind, options, process, log)
    reader = threading.Thread(target=it.read, daemon=True)
    reader.start()
    try:
        it.wait("started")
        yield it
    finally:
        _end(process)
        reader.join(PATIENCE)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _end(process: "subprocess.Popen[str]") -> None:
    """End of input asks it to go; a kill follows for one that does not listen."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
