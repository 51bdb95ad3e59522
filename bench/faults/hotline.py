"""The hotline under test: a site of its own whose queues and flows bring calls into every state, and what the runner
can do to its processes from outside, as an operator or a broken machine would.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from app.control_socket import ask
from bench.faults.orphans import reap, take_orphans
from bench.faults.own_code import own_code
from bench.faults.wall_clock import WallClock
from events.commands import rebuild
from events.journal import read
from events.types import Recorded
from tests.support.peers.remote import ROOT, free_ports
from tests.support.site import Site, SiteError, start, write_site

IVR, MENU, WAIT, TALK, RING, WRAP, LOOP, SHORT = (str(number) for number in range(2001, 2009))
DOMAIN = "callwright.local"
NUMBERS = {
    IVR: "say", MENU: "menu", WAIT: "wait", TALK: "talk", RING: "ring", WRAP: "wrap", LOOP: "loop", SHORT: "short",
}  # fmt: skip
SHORT_WAIT = 3.0
"""Seconds after which a caller of SHORT is hung up on by his queue."""
MODULES = {
    "control": "app.control",
    "media": "engine.media.server",
    "ledger": "events.ledger",
    "web": "app.web",
    "supervisor": "app.serve",
}
SECOND = "second"
"""Agents who answer when they are consulted."""
AWAY, REASON = "away", "lunch"
"""An agent who is not ready all the time, and why."""
ANSWER_KEYS = ("1", "4", "2")
"""What leads through the menu: a choice, then two digits."""
AGAIN_EVERY = 0.2
AGAIN_WITHIN = 15.0
"""Seconds for which the service manager tries to start a supervisor again."""
POWER = 20.0
"""Seconds that an orderly stop may take."""


def _flow(node: str) -> str:
    return f"start: answer\nnodes:\n  answer:\n    answer:\n    next: english\n  english:\n    set: {{language: en}}\n    next: first\n{node}"  # noqa: E501


def _queue_flow(queue: str) -> str:
    return _flow(f"  first:\n    enqueue: {queue}\n    otherwise: hangup\n")


FLOWS = {
    "say": _flow("  first:\n    play: n52\n    next: hangup\n"),
    # `service` speaks for 12 s, `welcome` for 7.
    "menu": _flow(
        "  first:\n    menu: service\n    timeout: 8\n    choices:\n      1: {to: account, set: {chosen: one}}\n"
        "    otherwise: hangup\n"
        "  account:\n    collect: welcome\n    into: account\n    min_digits: 2\n    max_digits: 2\n    timeout: 8\n"
        "    next: wait\n    otherwise: hangup\n"
        "  wait:\n    enqueue: wait\n    otherwise: hangup\n"
    ),
    "wait": _queue_flow("wait"),
    "talk": _queue_flow("talk"),
    "ring": _queue_flow("ring"),
    "wrap": _queue_flow("wrap"),
    "short": _queue_flow("short"),
    # Nobody ever works for that queue, so a round of this takes no time; the check of flows cannot know.
    "loop": _flow("  first:\n    enqueue: nobody\n    otherwise: first\n"),
}


@dataclass(frozen=True, slots=True)
class Staff:
    """How many agents: `answering` take calls of queue talk, `wrapping` of queue wrap; `ringing` work for queue ring
    and never answer; nor do the `spare`, who are consulted; the `second` do. One is at lunch."""

    answering: int
    wrapping: int
    ringing: int
    spare: int
    second: int

    def accounts(self) -> dict[str, tuple[str, str, list[str]]]:
        """Name → SIP user, password, queues."""
        groups: tuple[tuple[str, int, list[str]], ...] = (
            ("talk", self.answering, ["talk"]),
            ("wrap", self.wrapping, ["wrap"]),
            ("ring", self.ringing, ["ring"]),
            ("spare", self.spare, []),
            (SECOND, self.second, []),
            (AWAY, 1, []),
        )
        names = [(f"{group}{n}", queues) for group, count, queues in groups for n in range(count)]
        return {name: (str(8100 + n), f"secret-{n}", queues) for n, (name, queues) in enumerate(names)}


def _edit(staff: Staff, ports: Sequence[int], database: str, drain: float) -> Callable[[dict[str, Any]], None]:
    queue = {
        "display": "Q",
        "ring_for": 60,
        "wrap_up": 0,
        "max_wait": 600,
        "max_calls": 1000,
        "announce": {"first": None},
        "wait_unstaffed": True,
    }

    def edit(config: dict[str, Any]) -> None:
        main = config["callwright"]
        main["numbers"] = NUMBERS
        main["sip"] |= {"listen": [f"udp:127.0.0.1:{ports[0]}", f"tcp:127.0.0.1:{ports[0]}"], "max_calls": 5000}
        main["web"] |= {"port": ports[1]}
        main["media"] |= {"processes": 2, "codecs": ["PCMU"], "rtp_timeout": 20}
        main["drain"] = {"within": drain}
        if database:
            main["database"] = database
        config["trunks"]["trunks"]["loopback"]["max_calls"] = 5000
        config["queues"]["queues"] = {
            "wait": dict(queue), "talk": dict(queue), "ring": dict(queue), "wrap": queue | {"wrap_up": 300},
            "short": queue | {"max_wait": SHORT_WAIT},
            "nobody": queue | {"wait_unstaffed": False, "skills": {"nothing": 10}},
        }  # fmt: skip
        config["skills"]["skills"]["nothing"] = "Nobody has it"
        config["agents"]["agents"] = {
            name: {"display": name, "user": user, "password": password, "queues": queues}
            for name, (user, password, queues) in staff.accounts().items()
        }

    return edit


@dataclass(slots=True)
class Hotline:
    """`site` is the running one; after a death of the supervisor, the next."""

    folder: Path
    site: Site
    wrapper: Sequence[str]
    database: str
    media_ports: tuple[int, int]
    output: list[str] = field(default_factory=list)
    """Of supervisors that are gone."""
    clock: WallClock | None = None
    """That its processes have in place of the machine's."""
    code: Path = ROOT
    """What runs."""
    begun: float = field(default_factory=time.time)
    """UTC seconds."""
    orphans: dict[str, int] = field(default_factory=dict)
    """Name → process, once its supervisor was killed for good."""

    @property
    def lived(self) -> float:
        """Seconds since before its start."""
        return time.time() - self.begun

    def media_of(self, port: int) -> str:
        """Which media process has an RTP port at first: media0 has the lower half."""
        first, last = self.media_ports
        return "media1" if port > (first + last) // 2 else "media0"

    @property
    def udp(self) -> tuple[str, int]:
        return self.site.udp

    @property
    def root(self) -> Path:
        """The folder as the hotline sees it: it may have file systems of its own there."""
        if not self.wrapper:
            return self.folder
        return Path(f"/proc/{self.site.process.pid}/root{self.folder}")

    def pids(self, what: str) -> dict[str, int]:
        """Name (`media0` …) → process, whoever its parent is."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if MODULES[what] in words and any(word.startswith(str(self.folder)) for word in words):
                    name = words[words.index("--name") + 1] if "--name" in words else what
                    found[name] = int(entry.name)
        return found

    def kill(self, what: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal the one process of that name; returns its pid. Raises SiteError when there is none."""
        kind = "media" if what.startswith("media") else what
        pid = self.pids(kind).get(what)
        if pid is None:
            raise SiteError(f"there is no {what} to signal")
        os.kill(pid, number)
        return pid

    async def start_again(self) -> float:
        """What a service manager does: start the supervisor until it stays. Returns the seconds that it took.

        Raises SiteError when it never does."""
        loop = asyncio.get_running_loop()
        begun, error = loop.time(), ""
        self.output += self.site.output
        while loop.time() - begun < AGAIN_WITHIN:
            await asyncio.sleep(AGAIN_EVERY)
            try:
                self.site = await asyncio.to_thread(self._start)
            except SiteError as failed:
                error = str(failed)
            else:
                return loop.time() - begun
        raise SiteError(f"the supervisor could not be started again: {error}")

    def _start(self) -> Site:
        environment = self.clock.environment if self.clock is not None else {}
        return start(self.folder, environment=environment, wrapper=self.wrapper, code=self.code)

    def leave(self) -> None:
        """Kill the supervisor; nobody will come in its place. Its processes are ours then, so that `left_by_themselves`
        can tell how they ended."""
        take_orphans(True)
        names = [name for what in MODULES for name in self.pids(what).items()]
        self.orphans = {name: pid for name, pid in names if name != "supervisor"}
        self.kill("supervisor")
        self.site.process.wait()

    def left_by_themselves(self, within: float) -> list[str]:
        """What was wrong with the end of the orphans."""
        until = time.monotonic() + within
        found = []
        for name, pid in self.orphans.items():
            status = reap(pid, max(0.0, until - time.monotonic()))
            if status is None:
                found.append(f"{name} is still there {within:g} s after the last call")
            elif status != 0:
                found.append(f"{name} ended with {status}")
        take_orphans(False)
        return found

    async def ask(self, do: str, **fields: Any) -> Any:
        return await asyncio.to_thread(ask, self.folder / "var/run/control.sock", do, **fields)

    async def agent(self, name: str, command: str, *, to: str = "", reason: str = "") -> Any:
        return await self.ask("agent", agent=name, command=command, reason=reason, via="cli", to=to)

    def records(self) -> list[Recorded]:
        return list(read(self.root / "var" / "journal"))

    async def metrics(self) -> str:
        def get() -> str:
            with urllib.request.urlopen(f"{self.site.http}/metrics", timeout=10) as reply:
                return str(reply.read().decode())

        return await asyncio.to_thread(get)

    async def tables(self) -> list[str]:
        """Where SQL tables and journal differ."""
        report = await asyncio.to_thread(rebuild, self.root / "var" / "journal", self.database, verify=True)
        return [] if report.equal else report.differences[:5]

    def open_ports(self) -> dict[str, int]:
        """UDP sockets that each media process holds."""
        udp = {line.split()[9] for line in Path("/proc/net/udp").read_text().splitlines()[1:]}
        held = {}
        for name, pid in self.pids("media").items():
            links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
            held[name] = sum(1 for link in links if link.startswith("socket:[") and link[8:-1] in udp)
        return held

    def log(self) -> list[str]:
        """Last lines that the hotline printed, for the message of a failed audit."""
        return [*self.output, *self.site.output]

    async def stop(self) -> str:
        """In order; returns what was wrong with it."""
        with contextlib.suppress(ProcessLookupError):
            self.site.process.send_signal(signal.SIGTERM)
        try:
            status = await asyncio.to_thread(self.site.process.wait, POWER)
        except Exception:  # noqa: BLE001 - whatever it is, nothing of it may stay
            return f"still there {POWER:g} s after SIGTERM"
        return "" if status == 0 else f"ended with {status}"

    def copy_to(self, folder: Path) -> None:
        """Journal and output of the hotline, as far as they can still be read."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "output").write_text("\n".join(self.log()))
        journal = self.root / "var" / "journal"
        if journal.is_dir():
            shutil.copytree(journal, folder / "journal", dirs_exist_ok=True)

    def clear(self) -> None:
        """Nothing of it stays, however it ended."""
        for what in ("supervisor", *MODULES):
            for pid in self.pids(what).values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.site.process.wait()
        for pid in self.orphans.values():
            reap(pid, POWER)
        shutil.rmtree(self.folder, ignore_errors=True)


PRIVATE = (
    'mkdir -p "$0/var/journal" "$0/recordings" &&'
    ' mount -t tmpfs -o size=16m,mode=700 journal "$0/var/journal" && exec "$@"'
)
"""Run by a shell in a mount namespace of its own: the journal gets a small disk."""


def private_mounts(folder: Path) -> list[str]:
    """Words before the command. Needs root."""
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", PRIVATE, str(folder)]


def make(
    staff: Staff,
    *,
    mounts: bool = False,
    database: str = "",
    drain: float = 0.0,
    clock: bool = False,
    own: bool = False,
) -> Hotline:
    """A new site, started. database: an async SQLAlchemy URL, SQLite below the site without. drain: seconds that calls
    have when it is told to stop. clock: with a wall clock of its own. own: with code of its own, to be spoilt.

    Raises SiteError, CannotSet."""
    folder = Path(tempfile.mkdtemp(prefix="cwf-"))
    try:
        flows = folder / "ivr_flows"
        flows.mkdir()
        for name, text in FLOWS.items():
            (flows / f"{name}.yaml").write_text(text)
        write_site(folder, _edit(staff, free_ports(2), database, drain))
        wrapper = private_mounts(folder) if mounts else []
        url = database or f"sqlite+aiosqlite:///{folder}/var/callwright.db"
        media = yaml.safe_load((folder / "config" / "callwright.yaml").read_text())["media"]
        ports = media["first_port"], media["last_port"]
        made = WallClock(folder) if clock else None
        code, begun = own_code(folder) if own else ROOT, time.time()
        site = start(folder, environment=made.environment if made else {}, wrapper=wrapper, code=code)
        return Hotline(folder, site, wrapper, url, ports, clock=made, code=code, begun=begun)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
