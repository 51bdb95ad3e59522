"""A whole hotline of its own: the example site in a temporary folder, on ports that the kernel gives, run by
`callwright serve` as anybody would run it.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from app.control_socket import ask
from events.journal import Tail, read
from events.types import Event, Recorded
from tests.support.peers.remote import MEDIA_PORTS, PATIENCE, ROOT, free_ports, is_free

E = TypeVar("E", bound=Event)
START_WITHIN = 20.0
STOP_WITHIN = 30.0
POLL = 0.02
SECTIONS = ("callwright", "agents", "queues", "skills", "trunks", "hours")

Edit = Callable[[dict[str, Any]], None]
"""Changes the site's configuration: section name (`agents` …) → what its file holds."""


class SiteError(AssertionError):
    """The hotline did not start, did not stop in order, or something awaited did not happen."""


def write_site(folder: Path, edit: Edit | None = None) -> None:
    """config/ and ivr_flows/ of the example site, made to listen on free ports of the loopback only."""
    config = {name: yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()) for name in SECTIONS}
    main = config["callwright"]
    main["sip"]["listen"] = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
    main["drain"] = {"within": 0}  # a test that ends is not to wait for calls
    main["web"] |= {"port": 0, "token": "test"}
    main["media"] |= dict(zip(("first_port", "last_port"), _media_range(), strict=True))
    if edit is not None:
        edit(config)
    (folder / "config").mkdir(parents=True)
    for name, section in config.items():
        (folder / "config" / f"{name}.yaml").write_text(yaml.safe_dump(section, allow_unicode=True, sort_keys=False))
    flows = folder / "ivr_flows"
    if not flows.exists():
        flows.mkdir()
        for flow in (ROOT / "ivr_flows").glob("*.yaml"):
            shutil.copy(flow, flows)
    (flows / "prompts").symlink_to(ROOT / "ivr_flows" / "prompts")


def calm(config: dict[str, Any]) -> None:
    """An edit: other work on this machine is no reason to refuse the few calls of a test."""
    config["callwright"]["sip"]["overload"] = {"busy": 1.0, "lag": 60, "media": 60, "journal": 60}


def _media_range(size: int = 400) -> tuple[int, int]:
    """Two hotlines on one machine must not share RTP ports."""
    first = free_ports(1, spacing=size, within=MEDIA_PORTS)[0]
    return first, first + size - 1


@dataclass(slots=True)
class Site:
    """A running hotline. `udp`, `tcp`: where SIP listens (the first of each); `http`: URL of the web server."""

    folder: Path
    process: "subprocess.Popen[str]"
    started_in: float
    """Seconds from the start of the command to its word that calls are answered."""
    udp: tuple[str, int] = ("", 0)
    tcp: tuple[str, int] = ("", 0)
    http: str = ""
    listening: list[str] = field(default_factory=list)
    """Each SIP listener, as `transport:host:port`."""
    output: list[str] = field(default_factory=list)
    _phone_ports: list[int] = field(default_factory=list)

    def phone_ports(self) -> tuple[int, int]:
        """A SIP and an RTP port for one more phone; no two phones of this site get the same."""
        while True:
            if len(self._phone_ports) < 2:
                self._phone_ports = free_ports(200)
            pair = self._phone_ports.pop(), self._phone_ports.pop()
            if all(is_free("127.0.0.1", port) for port in pair):  # still
                return pair

    @property
    def journal(self) -> Path:
        return self.folder / "var" / "journal"

    @property
    def recordings(self) -> Path:
        return self.folder / "recordings"

    @property
    def registrar(self) -> str:
        return f"{self.udp[0]}:{self.udp[1]}"

    def agent(self, name: str, command: str, reason: str = "") -> Any:
        """What `callwright agent` does: login, ready, not_ready, logout."""
        return ask(self.folder / "var/run/control.sock", "agent", agent=name, command=command, reason=reason, via="cli")

    def hand_over(self, name: str, command: str, to: str = "") -> Any:
        """Likewise: transfer, consult, complete, return, conference."""
        return ask(self.folder / "var/run/control.sock", "agent", agent=name, command=command, to=to, via="cli")

    def events(self, after: int = 0) -> list[Recorded]:
        return list(read(self.journal, after))

    def last(self) -> int:
        """Sequence number of the last event so far."""
        return max((record.seq for record in self.events()), default=0)

    def wait(self, kind: type[E], *, after: int = 0, timeout: float = PATIENCE, **fields: Any) -> E:
        """The first event of this type with these field values behind `after`, whenever it comes."""
        until = time.monotonic() + timeout
        with contextlib.closing(Tail(self.journal, after)) as tail:
            while time.monotonic() < until:
                for record in tail.poll():
                    event = record.event
                    if isinstance(event, kind) and all(getattr(event, name) == v for name, v in fields.items()):
                        return event
                time.sleep(POLL)
        raise SiteError(f"no {kind.__name__} with {fields} within {timeout:g} s\n{self.story(after)}")

    def becomes(self, status: int) -> bool:
        """Whether /readyz comes to this status; the web process is a moment behind the log."""
        until = time.monotonic() + PATIENCE
        while self._readiness() != status and time.monotonic() < until:
            time.sleep(POLL)
        return self._readiness() == status

    def _readiness(self) -> int:
        try:
            with urllib.request.urlopen(f"{self.http}/readyz", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            return refusal.code
        except OSError:
            return 0  # not yet

    def story(self, after: int = 0) -> str:
        """Events and the last output, for the message of a failing test."""
        return "\n".join([*map(str, self.events(after)[-60:]), *self.output[-40:]])

    def stop(self) -> None:
        """SIGTERM, as Ctrl-C or a service manager would; raises SiteError unless everything ends in order."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise SiteError(f"still there {STOP_WITHIN:g} s after SIGTERM\n{self.story()}") from None
        if status != 0:
            raise SiteError(f"ended with {status}\n{self.story()}")

    def kill(self) -> None:
        """The supervisor only: its children end by themselves some time after it is gone."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def serving(
    edit: Edit | None = None,
    *,
    prepare: Callable[[Path], None] | None = None,
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    code: Callable[[Path], Path] = lambda _: ROOT,
) -> Iterator[Site]:
    """A site served until the end of the block, then stopped; its clean end is part of every test.

    The folder lies directly under the temporary one: UNIX socket paths are short. `prepare` may add files before
    the start (flows, in place of the example's, when it makes ivr_flows/). wrapper: words before the command. code:
    what runs, made in the folder or not."""
    folder = Path(tempfile.mkdtemp(prefix="cw-"))
    try:
        if prepare is not None:
            prepare(folder)
        write_site(folder, edit)
        site = start(folder, core, environment or {}, wrapper, code(folder))
        try:
            yield site
        except BaseException:
            site.kill()
            raise
        if site.process.returncode != -signal.SIGKILL:  # else the test has killed it
            site.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def again(site: Site) -> Iterator[Site]:
    """The same site served once more, after its supervisor was killed; stopped at the end of the block."""
    taken = start(site.folder)
    try:
        yield taken
    except BaseException:
        taken.kill()
        raise
    taken.stop()


def start(
    folder: Path,
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
    code: Path = ROOT,
) -> Site:
    """`callwright serve` of a folder that write_site made; returns when it answers calls. code: what runs.

    Raises SiteError."""
    begun = time.monotonic()
    command = [*wrapper, sys.executable, "-m", "app", "serve", "--site", str(folder)]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    process = subprocess.Popen(
        command,
        cwd=code,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    site = Site(folder, process, 0.0)
    ready = threading.Event()
    threading.Thread(target=_collect, args=[site, ready], daemon=True).start()
    addresses = folder / "var" / "run" / "listening.json"
    if not ready.wait(START_WITHIN) or process.poll() is not None or not addresses.exists():
        site.kill()
        raise SiteError("the hotline did not start:\n" + "\n".join(site.output))
    site.started_in = time.monotonic() - begun
    told = json.loads(addresses.read_text())
    site.listening = told["sip"]
    for text in reversed(told["sip"]):
        transport, _, address = text.partition(":")
        host, _, port = address.rpartition(":")
        if transport in ("udp", "tcp"):
            setattr(site, transport, (host.strip("[]"), int(port)))
    site.http = told["http"]
    return site


def _collect(site: Site, ready: threading.Event) -> None:
    """Keep what the hotline prints; its end counts as ready too, so that nobody waits for the dead."""
    assert site.process.stdout is not None
    with site.process.stdout as output:
        for line in output:
            site.output.append(line.rstrip())
            if "is answering calls" in line or "Calls are answered again" in line:
                ready.set()
    ready.set()
