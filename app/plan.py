"""What `callwright serve` is about to do, as plain values: addresses to listen on, processes to start, words to say."""

import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from app.child import STOP_GRACE, Life

SOCKET_PATH_BYTES = 100
"""A UNIX socket's path holds 107 bytes; ours end in names of their own."""
UDP_BUFFER_BYTES = 4 * 1024 * 1024
"""Asked for; the kernel grants up to net.core.rmem_max. A restart of control must not lose what arrives meanwhile."""
TCP_BACKLOG = 1024
CONTROL_STALLS, OTHERS_STALL = 3.0, 30.0
"""Seconds without a sign of life. Ledger and web may work for long on a large journal."""
NICE = 10
"""Of ledger and web. On a busy core, and at start, calls come first."""
CLOCK = "--clock"
"""Argument of control and web: the offset of their clock."""


class CannotStart(Exception):
    """One sentence for the operator."""


class Listen(NamedTuple):
    transport: str
    """udp | tcp | tls | ws | wss"""
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


class Spec(NamedTuple):
    """One process: `python -m MODULE ARGUMENTS…` with these descriptors open."""

    name: str
    module: str
    arguments: tuple[str, ...]
    sockets: tuple[tuple[str, int], ...] = ()
    """What it listens on: label and descriptor of each."""
    nice: int = 0
    stalls_after: float = 0.0
    """Seconds without a sign of life after which it is killed and started again; 0: never."""
    media: str = ""
    """Of a media process: the UNIX socket where control reaches it."""
    memory: int = 0
    """Bytes of RAM above which it is ended in order and started again; 0: no limit."""
    grace: float = STOP_GRACE
    """Seconds that it may take to end by itself, should we be killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    site: Path
    name: str
    domain: str
    sip: tuple[Listen, ...]
    http: Listen
    media_processes: int
    media_ports: tuple[int, int]
    """First and last RTP/RTCP port, shared out evenly among the media processes."""
    journal: Path
    run: Path
    """Sockets between our processes, and the site's lock."""
    recordings: Path
    database: str
    numbers: tuple[str, ...]
    agents: tuple[str, ...]
    """SIP user of each agent's phone."""
    drain_within: float = 0.0
    """Seconds for calls in progress after the order to stop."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """`control_mb`, `media_mb` …: MB of RAM that one of these processes may take; 0: no limit."""
    clock: float | None = None
    """Offset of the clock that all processes share (kernel/clock.py); None: each reads the machine's at its start."""

    @property
    def log(self) -> Path:
        return self.site / "var" / "log"

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    def with_ports(self, sip: Sequence[Listen], http: Listen) -> "Plan":
        """The same with the ports that were really bound."""
        return replace(self, sip=tuple(sip), http=http)

    def with_clock(self, offset: float) -> "Plan":
        return replace(self, clock=offset)

    def make_folders(self) -> None:
        """Runtime folders, for the owner only: the journal names callers, the sockets command agents."""
        for folder in (self.journal, self.run, self.log):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        self.recordings.mkdir(parents=True, exist_ok=True)
        if len(os.fsencode(self.control_socket)) > SOCKET_PATH_BYTES:
            raise CannotStart(f"the path of the site is too long for UNIX sockets below it: {self.site}")


@contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Hold the site's lock (its folder of sockets): two servers on one journal would be two truths."""
    with (run / "supervisor.pid").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotStart(f"this site is being served already (lock {lock.name})") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def bind(listen: Listen) -> socket.socket:
    """A bound socket, listening when TCP. Raises CannotStart in words that say which address."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if listen.transport == "udp" else socket.SOCK_STREAM
    sock = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # `::` beside `0.0.0.0` must not clash
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
        sock.bind((listen.host, listen.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(TCP_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise CannotStart(f"cannot listen on {listen}: {error.strerror}") from error
    return sock


def labels(listens: Sequence[Listen]) -> list[str]:
    """A name for each, by which a later supervisor knows its socket again. As configured: port 0 remains 0."""
    texts = [str(listen) for listen in listens]
    return [f"{text}#{texts[:n].count(text)}" for n, text in enumerate(texts)]


def bound(sock: socket.socket, listen: Listen) -> Listen:
    """The same with the port that port 0 became."""
    return listen._replace(port=sock.getsockname()[1])


def share_ports(ports: tuple[int, int], count: int) -> list[tuple[int, int]]:
    """Cut the range into `count` ranges that begin even (RTP takes the even port of a pair)."""
    first, last = ports[0] + ports[0] % 2, ports[1]
    each = (last - first + 1) // count // 2 * 2
    if each < 4:
        raise CannotStart(f"media ports {ports[0]}-{ports[1]} are too few for {count} media processes")
    return [(first + each * i, first + each * (i + 1) - 1) for i in range(count)]


def processes(plan: Plan, sip: Sequence[tuple[str, Listen, int]], http: tuple[str, int]) -> list[Spec]:
    """All processes of a site. `sip`: label, address and descriptor of each bound listener; `http` without address."""
    journal, control = str(plan.journal), str(plan.control_socket)
    arguments = ["--site", str(plan.site), "--journal", journal, "--control-socket", control]
    if plan.clock is not None:
        arguments += [CLOCK, repr(plan.clock)]
    asked = arguments + [word for _, listen, fd in sip for word in ("--sip", f"{listen}={fd}")]
    return [
        Spec(
            "control",
            "app.control",
            tuple(asked),
            tuple((label, fd) for label, _, fd in sip),
            stalls_after=CONTROL_STALLS,
            memory=_bytes(plan, "control"),
            grace=plan.drain_within + 2 * STOP_GRACE,
        ),
        *(media(plan, f"media{slot}", slot) for slot in range(plan.media_processes)),
        Spec(
            "ledger",
            "events.ledger",
            ("--journal", journal, "--database", plan.database),
            nice=NICE,
            stalls_after=OTHERS_STALL,
            memory=_bytes(plan, "ledger"),
        ),
        Spec(
            "web",
            "app.web",
            (*arguments, "--http-fd", str(http[1])),
            (http,),
            nice=NICE,
            stalls_after=OTHERS_STALL,
            memory=_bytes(plan, "web"),
        ),
    ]


def _bytes(plan: Plan, kind: str) -> int:
    return plan.memory.get(f"{kind}_mb", 0) << 20


def media(plan: Plan, name: str, slot: int) -> Spec:
    """A media process. slot: 0 … media_processes - 1; which share of the ports it has."""
    first, last = share_ports(plan.media_ports, plan.media_processes)[slot]
    socket_ = str(plan.run / f"{name}.sock")
    ports, recordings = f"{first}-{last}", str(plan.recordings)
    return Spec(
        name,
        "engine.media.server",
        ("--socket", socket_, "--name", name, "--ports", ports, "--recordings", recordings),
        stalls_after=OTHERS_STALL,
        memory=_bytes(plan, "media"),
        media=socket_,
    )


def successor(spec: Spec, name: str) -> Spec:
    """A media process under another name, with the same ports: whichever is open in one is not taken by the other."""
    path = str(Path(spec.media).with_name(f"{name}.sock"))
    renamed = {spec.name: name, spec.media: path}
    return spec._replace(name=name, media=path, arguments=tuple(renamed.get(word, word) for word in spec.arguments))


def command(spec: Spec, alive: int, beats: int, run: str, log: str) -> list[str]:
    """Through app.child, so that it notices when the supervisor is gone."""
    life = Life(alive, spec.name, run, log, spec.nice, beats, dict(spec.sockets), spec.grace)
    return [sys.executable, "-m", "app.child", json.dumps(life._asdict()), spec.module, *spec.arguments]


def listening(plan: Plan) -> str:
    """SITE/var/run/listening.json: for `callwright status` and for tests that let the kernel choose ports."""
    return json.dumps({"sip": [str(s) for s in plan.sip], "http": http_url(plan)})


def http_url(plan: Plan) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(plan.http.host, plan.http.host)
    return f"http://[{host}]:{plan.http.port}" if ":" in host else f"http://{host}:{plan.http.port}"


def welcome(plan: Plan) -> str:
    """What a newcomer needs to place the first call."""
    first = next((s for s in plan.sip if s.transport == "udp"), plan.sip[0])
    host = {"0.0.0.0": "this machine's address", "::": "this machine's address"}.get(first.host, first.host)
    lines = [
        "",
        f"{plan.name} is answering calls.",
        f"  SIP listens on      {', '.join(str(s) for s in plan.sip)}",
        f"  Web and /metrics    {http_url(plan)}",
        f"  Number to dial      {', '.join(plan.numbers)}   (sip:{plan.numbers[0]}@{host}:{first.port})"
        if plan.numbers
        else "  Number to dial      none: config/callwright.yaml maps no number to a flow",
        f"  Agents' phones      {', '.join(plan.agents[:8])}{' …' if len(plan.agents) > 8 else ''}"
        "   (passwords: config/agents.yaml)",
        f"  Register a phone    domain {plan.domain}, server {host}, port {first.port}, {first.transport.upper()}; "
        "user and password as above;",
        "                      then dial *11 to log in and *13 to take calls",
        "  Stop with Ctrl-C (waits for calls in progress; a second one does not).",
        "",
    ]
    return "\n".join(lines)
