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
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench.faults.balance import WHOLE
from bench.faults.crowd import Crowd
from bench.faults.hotline import LOOP, Hotline
from events.types import Event, FlowFailed, JournalWaited
from tests.support.postgres import PostgresServer

OUTAGE = 3.0
"""Seconds that a disk is full, a folder read-only, a database away."""
STALL = 8.0
"""Longer than the watchdog waits (3 s) and a restart takes."""
GARBAGE = 1000
UPGRADE_WITHIN = 30.0
UPGRADED_AFTER = 12.0


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
    scene.victim = scene.chance.choice(sorted(scene.hotline.pids("media")))
    scene.hotline.kill(scene.victim)


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
    words = [sys.executable, "-m", "app", "upgrade", "--site", str(scene.hotline.folder)]
    await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True, timeout=UPGRADE_WITHIN)


async def _sighup(scene: Scene) -> None:
    """Nobody tells when it is done."""
    scene.hotline.kill("supervisor", signal.SIGHUP)
    await asyncio.sleep(UPGRADED_AFTER)


async def _drain(scene: Scene) -> None:
    scene.hotline.kill("supervisor", signal.SIGTERM)


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
    Fault("endless", "a flow that goes round for ever", _endless, says=FlowFailed),
    Fault("garbage", f"kill -9 control, {GARBAGE} datagrams of noise", _garbage),
    Fault("readers", "kill -9 ledger and web", _kill_tables_and_web),
)
