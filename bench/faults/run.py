"""All rounds of one fault: hotlines, far ends and a database made for it, and gone afterwards."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from bench.faults import hotline
from bench.faults.crowd import CannotBegin, Crowd, staff_for
from bench.faults.faults import Fault, Scene
from bench.faults.play import play
from bench.faults.sound import SoundProcess
from bench.faults.verdict import Round
from bench.faults.wall_clock import CannotSet, compiler
from bench.report import progress
from tests.support.postgres import PostgresMissing, PostgresServer
from tests.support.site import SiteError

CALLS = 14
"""Callers at once: one or more in each state."""


DRAIN = 60.0
"""Seconds for calls in progress: more than a round takes."""


class CannotRun(Exception):
    """This machine lacks something that the fault needs."""


async def strike(fault: Fault, rounds: int, seed: int, calls: int, keep: Path | None = None) -> list[Round]:
    """One hotline for all rounds, unless the fault is its end. keep: a folder for journals of those that failed."""
    chance, done = Random(f"{fault.name} {seed}"), list[Round]()
    try:
        _may(fault)
        with _database(fault) as postgres:
            while len(done) < rounds:
                done += await _hotline(fault, range(len(done), rounds), calls, chance, postgres, keep)
    except CannotRun as reason:
        return [Round(fault.name, 0, skipped=str(reason))]
    return done


def _may(fault: Fault) -> None:
    """Raises CannotRun."""
    if fault.mounts and os.geteuid() != 0:
        raise CannotRun("mounts of its own need root")
    for name in ("unshare", "nsenter", "mount") if fault.mounts else ():
        if shutil.which(name) is None:
            raise CannotRun(f"no {name} on this machine")
    if fault.clock:
        try:
            compiler()
        except CannotSet as reason:
            raise CannotRun(str(reason)) from reason


@contextmanager
def _database(fault: Fault) -> Iterator[PostgresServer | None]:
    if not fault.postgres:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="cwf-pg-"))
    folder.chmod(0o755)  # the server is another user than root
    try:
        try:
            server = PostgresServer(folder / "pg")
        except PostgresMissing as missing:
            raise CannotRun(str(missing)) from missing
        server.start()
        try:
            yield server
        finally:
            server.remove()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _hotline(
    fault: Fault, numbers: range, calls: int, chance: Random, postgres: PostgresServer | None, keep: Path | None
) -> list[Round]:
    staff = staff_for(calls)
    sound = await SoundProcess.start(Crowd.ends(staff, calls))
    database = postgres.url().replace("postgresql://", "postgresql+asyncpg://") if postgres else ""
    try:
        line = hotline.make(
            staff,
            mounts=fault.mounts,
            database=database,
            drain=DRAIN if fault.ends else 0.0,
            clock=fault.clock,
            own=fault.own_code,
        )
    except (SiteError, CannotSet) as error:
        await sound.stop()
        return [Round(fault.name, numbers[0], [("setup", str(error)[-400:])])]
    crowd = Crowd(line, staff, calls, sound)
    done: list[Round] = []
    try:
        await crowd.start()
        scene = Scene(line, crowd, chance, postgres)
        for number in numbers:
            done.append(await play(fault, number, scene, sound))
            progress(f"  {number}: {'ok' if done[-1].ok else done[-1].problems[:3]}")
            if fault.ends:
                return done
        if wrong := await line.stop():
            done[-1].wrong("stop", wrong)
    except CannotBegin as error:
        done.append(Round(fault.name, numbers[0], [("setup", str(error))]))
    finally:
        crowd.close()
        if keep is not None and not all(each.ok for each in done):
            line.copy_to(keep / f"{fault.name}-{numbers[0]}")
        line.clear()
        await sound.stop()
    return done
