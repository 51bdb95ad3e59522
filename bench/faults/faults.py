"""What can go wrong: each fault, and what must hold after it.

`strike` begins at the moment t0 of a round and returns when the fault is over as far as its cause goes (the database is
back, the disk has room). `calls`: whose calls must go on without a lost packet: all, those on the other media process,
or those that had begun (drain). `within`: seconds in which an INVITE of that moment is answered.
"""

import asyncio
import contextlib
import math
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from bench.faults.balance import WHOLE
from bench.faults.crowd import Crowd
from bench.faults.hotline import LOOP, SHORT, SHORT_WAIT, Hotline
from bench.faults.own_code import spoilt
from events.types import Event, FlowFailed, JournalWaited, UpgradeEnded
from tests.support.postgres import PostgresServer
from tests.support.site import SiteError

OUTAGE = 3.0
"""Seconds that a disk is full, a folder read-only, a database away."""
STALL = 8.0
"""Longer than the watchdog waits (3 s) and a restart takes."""
GARBAGE = 1000
UPGRADE_WITHIN = 30.0
UPGRADED_AFTER = 12.0
HOUR, TEN_YEARS = 3600, 10 * 365 * 86_400
JUMPS = (HOUR, -HOUR, TEN_YEARS, -TEN_YEARS)
JUMP_EVERY = 1.5
RESTARTED_AFTER = 3.0
"""Seconds between two restarts under jumps of the clock."""
LATER_THAN = 2.0
"""Seconds by which a timer may be late on a busy machine; none is early."""


@dataclass(frozen=True, slots=True)
class Spoilt:
    """Code that imports well and does not run."""

    file: str
    old: str
    new: str
    says: str
    """What `callwright upgrade` says of it, among others."""
    keeps: Sequence[str]
    """Processes that it must not touch."""


BROKEN = "raise RuntimeError('spoilt')"
SPOILT = (
    Spoilt(
        "app/wiring.py",
        "        self._site = site\n",
        f"        {BROKEN}\n",
        "Nothing was changed.",
        ("control", "media", "ledger", "web", "supervisor"),
    ),
    Spoilt(
        "app/web.py",
        "    configure_logs()\n",
        f"    {BROKEN}\n",
        "web ended 3 times before it was up",
        ("control", "media", "supervisor"),
    ),
    Spoilt(
        "engine/media/server.py",
        'if __name__ == "__main__":\n',
        f'if __name__ == "__main__":\n    {BROKEN}\n',
        "ended 3 times before it was up",
        ("media", "supervisor"),
    ),
)


@dataclass(slots=True)
class Scene:
    """What a fault may touch."""

    hotline: Hotline
    crowd: Crowd
    chance: Random
    postgres: PostgresServer | None = None
    victim: str = ""
    """The media process that was killed."""
    known: set[str] = field(default_factory=set)
    """What earlier rounds found wrong with the journal, which stays in it."""
    wrong: list[str] = field(default_factory=list)
    """What those who saw the fault happen were not told, or told wrongly; of this round."""
    refusing_since: float = 0.0
    """UTC seconds; when the hotline was told to drain."""


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    told: str
    strike: Callable[[Scene], Awaitable[None]]
    calls: str = "all"
    """all | other_media"""
    within: float = 2.0
    refuses: bool = False
    """New calls get 503 from that moment on."""
    ends: bool = False
    """The hotline ends by itself when the last call has ended; each round has a hotline of its own."""
    clock: bool = False
    """Needs a wall clock of its own, so a C compiler."""
    own_code: bool = False
    mounts: bool = False
    """Needs a mount namespace, so root."""
    postgres: bool = False
    says: type[Event] | None = None
    """What the journal must tell of it."""
    unrecorded: float = WHOLE
    """Seconds that a recording may lack; inf: there may be none of what began meanwhile."""


def _kill(what: str) -> Callable[[Scene], Awaitable[None]]:
    async def strike(scene: Scene) -> None:
        scene.hotline.kill(what)

    return strike


async def _kill_media(scene: Scene) -> None:
    """Of its callers every other one has a phone that takes no other address."""
    hotline = scene.hotline
    scene.victim = scene.chance.choice(sorted(hotline.pids("media")))
    there = [member for member in scene.crowd.members.values() if hotline.media_of(member.media_port) == scene.victim]
    for member in [member for member in there if member.kind != "wrapup"][scene.chance.randrange(2) :: 2]:
        member.refuse()
    hotline.kill(scene.victim)


async def _kill_supervisor(scene: Scene) -> None:
    scene.hotline.kill("supervisor")
    await scene.hotline.start_again()


async def _stall(scene: Scene) -> None:
    """Whoever is stopped here may have been killed by the watchdog meanwhile."""
    pid = scene.hotline.kill("control", signal.SIGSTOP)
    await asyncio.sleep(STALL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


async def _disk_full(scene: Scene) -> None:
    """Fill the journal's disk to the last octet, for a time."""
    filler = scene.hotline.root / "var" / "journal" / "filler"
    try:
        await asyncio.to_thread(_fill, filler)
        await asyncio.sleep(OUTAGE)
    finally:
        filler.unlink(missing_ok=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


async def _read_only(scene: Scene) -> None:
    """A read-only mount over the recordings: as when a disk's errors make the system give up writing to it."""
    folder, pid = str(scene.hotline.folder / "recordings"), scene.hotline.site.process.pid
    await _inside(pid, "mount", "--bind", folder, folder)
    await _inside(pid, "mount", "-o", "remount,bind,ro", folder)
    await asyncio.sleep(OUTAGE)
    await _inside(pid, "umount", "-l", folder)


async def _inside(pid: int, *command: str) -> None:
    """A command in the hotline's mount namespace."""
    words = ["nsenter", "-t", str(pid), "-m", *command]
    await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True)


async def _database_away(scene: Scene) -> None:
    assert scene.postgres is not None
    await asyncio.to_thread(scene.postgres.stop)
    await asyncio.sleep(OUTAGE)
    await asyncio.to_thread(scene.postgres.start)


async def _database_locked(scene: Scene) -> None:
    """Somebody else writes the SQLite file and does not finish."""
    with contextlib.closing(sqlite3.connect(scene.hotline.folder / "var" / "callwright.db", timeout=30)) as database:
        database.execute("BEGIN EXCLUSIVE")
        await asyncio.sleep(OUTAGE)
        database.rollback()


async def _upgrade(scene: Scene) -> None:
    """Each media process gets a successor, which new calls go to."""
    before = scene.hotline.open_ports()
    status, said = await _upgraded(scene)
    if status != 0:
        raise SiteError(f"callwright upgrade ended with {status}: {said[-300:]}")
    scene.crowd.visit(SHORT)
    await asyncio.sleep(SHORT_WAIT / 2)
    after = scene.hotline.open_ports()
    if len(after.keys() - before.keys()) != len(before) or not before.keys() <= after.keys():
        scene.wrong.append(f"media processes were {sorted(before)}, are {sorted(after)}")
    grown = [name for name, count in before.items() if after.get(name, 0) > count]
    if grown or not any(after[name] for name in after.keys() - before.keys()):
        scene.wrong.append(f"UDP sockets of media processes before {before}, and with a new call {after}")


async def _upgraded(scene: Scene) -> tuple[int, str]:
    """Exit status and words of the command."""
    words = [sys.executable, "-m", "app", "upgrade", "--site", str(scene.hotline.folder)]
    run = partial(subprocess.run, words, check=False, capture_output=True, text=True, timeout=UPGRADE_WITHIN)
    done = await asyncio.to_thread(run)
    return done.returncode, done.stdout


async def _upgrade_fails(scene: Scene) -> None:
    for spoil in SPOILT:
        before = {kind: scene.hotline.pids(kind) for kind in spoil.keeps}
        with spoilt(scene.hotline.code / spoil.file, spoil.old, spoil.new):
            status, said = await _upgraded(scene)
        if status == 0 or spoil.says not in said:
            scene.wrong.append(f"with {spoil.file} spoilt the upgrade ended with {status}: {said[-300:]}")
        for kind, were in before.items():
            if not were.items() <= scene.hotline.pids(kind).items():
                scene.wrong.append(f"with {spoil.file} spoilt {kind} is not what it was: {were}")
        await asyncio.sleep(RESTARTED_AFTER)  # what kept dying comes back
    if not (ended := [r.event for r in scene.hotline.records() if isinstance(r.event, UpgradeEnded)]):
        scene.wrong.append("the journal tells of no upgrade")
    if [event.ok for event in ended] != [False] * len(ended) or len(ended) % len(SPOILT):
        scene.wrong.append(f"the journal has upgrades {ended}")


async def _sighup(scene: Scene) -> None:
    """Nobody tells when it is done."""
    scene.hotline.kill("supervisor", signal.SIGHUP)
    await asyncio.sleep(UPGRADED_AFTER)


async def _drain(scene: Scene) -> None:
    _tell(scene, "supervisor")


async def _drain_orphan(scene: Scene) -> None:
    """At once: control may not know yet that it is one."""
    scene.hotline.leave()
    _tell(scene, "control")


async def _drain_adopted(scene: Scene) -> None:
    scene.hotline.kill("supervisor")
    await scene.hotline.start_again()
    _tell(scene, "supervisor")


def _tell(scene: Scene, whom: str) -> None:
    scene.refusing_since = time.time()
    scene.hotline.kill(whom, signal.SIGTERM)


async def _clock(scene: Scene) -> None:
    """With each jump somebody enters a queue that lets him go after a while: neither earlier nor later."""
    _check_clock(scene)
    visits = []
    for seconds in scene.chance.sample((*JUMPS, 0), len(JUMPS) + 1):
        visits.append(scene.crowd.visit(SHORT))
        await asyncio.sleep(JUMP_EVERY / 2)
        _set_clock(scene, seconds)
        await asyncio.sleep(JUMP_EVERY / 2)
    for visit in visits:
        outcome = await visit
        late = outcome.duration - SHORT_WAIT
        if outcome.ended_by != "there" or not -0.5 < late < LATER_THAN:
            scene.wrong.append(f"a wait of {SHORT_WAIT:g} s took {outcome.duration:.1f} s {outcome.failure}")


async def _clock_and_kill(scene: Scene) -> None:
    """Those that start after a jump must not bring it in; it stays for the rest of the round."""
    _check_clock(scene)
    another = scene.chance.choice([jump for jump in JUMPS if jump != -HOUR])
    for seconds, victims in ((-HOUR, ("control",)), (another, ("control", "web"))):
        _set_clock(scene, seconds)
        for victim in victims:
            scene.hotline.kill(victim)
        await asyncio.sleep(RESTARTED_AFTER)
    _check_clock(scene)


def _set_clock(scene: Scene, seconds: int) -> None:
    assert scene.hotline.clock is not None
    scene.hotline.clock.ahead(seconds)


def _check_clock(scene: Scene) -> None:
    """The jumps reach every process. Raises SiteError."""
    assert scene.hotline.clock is not None
    for kind in ("supervisor", "control", "media", "ledger", "web"):
        for name, pid in scene.hotline.pids(kind).items():
            if not scene.hotline.clock.rules(pid):
                raise SiteError(f"{name} has the machine's clock")


async def _endless(scene: Scene) -> None:
    """The caller waits for what may come; nothing may, but the end."""
    scene.crowd.visit(LOOP)


async def _garbage(scene: Scene) -> None:
    """Noise that arrives while nobody reads."""
    scene.hotline.kill("control")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for n in range(GARBAGE):
            sender.sendto(secrets.token_bytes(scene.chance.randrange(1, 1200)), scene.hotline.udp)
            if n % 50 == 0:
                await asyncio.sleep(0)


async def _kill_tables_and_web(scene: Scene) -> None:
    scene.hotline.kill("ledger")
    scene.hotline.kill("web")


FAULTS: Sequence[Fault] = (
    Fault("control", "kill -9 control", _kill("control")),
    Fault("media", "kill -9 one of two media processes", _kill_media, calls="other_media", unrecorded=3.0),
    Fault("ledger", "kill -9 ledger", _kill("ledger")),
    Fault("web", "kill -9 web", _kill("web")),
    Fault("supervisor", "kill -9 supervisor; started again", _kill_supervisor, within=5.0),
    Fault("stall", f"SIGSTOP control for {STALL:g} s", _stall, within=6.0),
    Fault("disk_full", f"no room for the journal for {OUTAGE:g} s", _disk_full, mounts=True, says=JournalWaited),
    Fault("read_only", f"recordings read-only for {OUTAGE:g} s", _read_only, mounts=True, unrecorded=math.inf),
    Fault("database_away", f"PostgreSQL crashes, back after {OUTAGE:g} s", _database_away, postgres=True),
    Fault("database_locked", f"SQLite locked for {OUTAGE:g} s", _database_locked),
    Fault("upgrade", "callwright upgrade", _upgrade),
    Fault("sighup", "SIGHUP to the supervisor", _sighup),
    Fault("drain", "SIGTERM: drain", _drain, refuses=True, ends=True),
    Fault("drain_orphan", "kill -9 supervisor, SIGTERM to control", _drain_orphan, refuses=True, ends=True),
    Fault("drain_adopted", "kill -9 supervisor; started again, SIGTERM", _drain_adopted, refuses=True, ends=True),
    Fault("upgrade_fails", "callwright upgrade to code that does not start", _upgrade_fails, own_code=True),
    Fault("clock", "wall clock +/-1 h, +/-10 years", _clock, clock=True),
    Fault("clock_kill", "wall clock jumps, kill -9 control and web", _clock_and_kill, clock=True),
    Fault("endless", "a flow that goes round for ever", _endless, says=FlowFailed),
    Fault("garbage", f"kill -9 control, {GARBAGE} datagrams of noise", _garbage),
    Fault("readers", "kill -9 ledger and web", _kill_tables_and_web),
)
