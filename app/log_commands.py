"""Commands that read or mend what the hotline has written: events, call, rebuild, recordings repair, db upgrade.

Each returns the exit status: 0; 1 with the reason in words on standard error.
"""

import asyncio
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from app.plan import CannotStart, only_one
from app.settings import ConfigErrors, Site, load
from engine.media.wav import repair_all
from events import commands
from events.commands import UnknownEventType
from events.journal import JournalDamaged
from events.rebuild import Trimmed
from events.store import UNAVAILABLE, Projector, open_engine

KNOWN = (ConfigErrors, CannotStart, UnknownEventType, JournalDamaged, Trimmed, OSError, *UNAVAILABLE)
"""What an operator can do something about; anything else is our fault and shows its traceback."""


def show_events(site: Path, *, after: int, kinds: Collection[str], call: str, json: bool, follow: bool) -> int:
    def work(found: Site) -> bool:
        asyncio.run(commands.follow(found.journal, _line, after=after, types=kinds, call=call, json=json, stay=follow))
        return True

    return _run(site, work)


def tell_call(site: Path, call: str, *, tables: bool) -> int:
    def work(found: Site) -> bool:
        if commands.show_call(found.database if tables else found.journal, call, _line):
            return True
        _complain(f"no call {call}")
        return False

    return _run(site, work)


def rebuild_tables(site: Path, *, verify: bool) -> int:
    """With verify also 1 when a table differs."""

    def work(found: Site) -> bool:
        report = commands.rebuild(found.journal, found.database, verify=verify, out=_line)
        return report.equal or not verify

    return _run(site, work)


def repair_recordings(site: Path) -> int:
    def work(found: Site) -> bool:
        found.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        with only_one(found.run):
            repaired = repair_all(found.recordings)
        for name, seconds in repaired.items():
            _line(f"{name}: {seconds:.1f} s")
        _line(f"{len(repaired)} repaired")
        return True

    return _run(site, work)


def upgrade_database(site: Path) -> int:
    async def upgrade(url: str) -> int:
        engine = open_engine(url)
        try:
            projector = Projector(engine)
            await projector.open()
            return projector.seq
        finally:
            await engine.dispose()

    def work(found: Site) -> bool:
        _line(f"the tables are up to date, and hold the log up to event {asyncio.run(upgrade(found.database))}")
        return True

    return _run(site, work)


def _run(site: Path, work: Callable[[Site], bool]) -> int:
    try:
        return 0 if work(load(site)) else 1
    except BrokenPipeError:
        sys.stderr.close()  # `callwright events | head`: no more words, nor Python's complaint at exit
        return 0
    except KeyboardInterrupt:
        return 0  # the way to end --follow
    except KNOWN as error:
        _complain(str(error))
        return 1


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"callwright: {text}\n")
