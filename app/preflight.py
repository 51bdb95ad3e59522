"""Whether what is on the disk would run: `python -m app.preflight --site DIR`, before an upgrade touches anything.

It imports all that the processes import, proves the configuration and new addresses, and rehearses the start of control
with what the running one has saved of its calls (app/rehearsal.py): once that one has left them to a successor, there
is no way back. Exit status 0, or 1 with the reason in words.
"""

import argparse
import asyncio
import importlib
import json
import logging
import math
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

if TYPE_CHECKING:
    from app.settings import Site

WITHIN = 60.0
"""Seconds that it may take."""
NICE = 10
"""Calls come first."""
MODULES = ("app.serve", "app.control", "app.web", "events.ledger", "engine.media.server", "engine.media.native.core")


def fault(site: Path) -> str:
    """What is wrong, "" when nothing is."""
    try:
        for module in MODULES:
            importlib.import_module(module)
    except Exception:  # noqa: BLE001 - whatever a broken installation may raise
        return f"the code on the disk cannot be loaded:\n{traceback.format_exc().rstrip()}"
    from app.settings import ConfigErrors, load  # noqa: PLC0415 - it is among what may be broken

    try:
        settings = load(site)
    except ConfigErrors as errors:
        return f"the configuration has mistakes:\n{errors}"
    return _addresses(site) or _start(settings)


def _addresses(site: Path) -> str:
    """Whether the supervisor, once it has executed itself anew, can have what it is to listen on."""
    from app.plan import CannotStart, bind, http_url, share_ports  # noqa: PLC0415 - likewise
    from app.siteplan import plan_site  # noqa: PLC0415 - likewise

    plan = plan_site(site)
    try:
        ours = json.loads((plan.run / "listening.json").read_text())
        new = [at for at in plan.sip if at.port and str(at) not in ours["sip"]]
        new += [plan.http] if plan.http.port and http_url(plan) != ours["http"] else []
    except (OSError, ValueError, KeyError):
        new = []  # no hotline runs here
    try:
        share_ports(plan.media_ports, plan.media_processes)
        for at in new:
            bind(at).close()
    except CannotStart as error:
        return str(error)
    return ""


def _start(settings: "Site") -> str:
    from app.rehearsal import rehearse  # noqa: PLC0415 - likewise

    loop = asyncio.new_event_loop()  # not asyncio.run: nobody is to wait for what the calls would do at their end
    try:
        not_understood = loop.run_until_complete(rehearse(settings))
    except Exception:  # noqa: BLE001 - whatever a start may raise
        return f"the code on the disk cannot be started:\n{traceback.format_exc().rstrip()}"
    finally:
        loop.close()
    return f"the code on the disk cannot go on with {not_understood} of the calls" if not_understood else ""


class Preflight:
    """A run of this program by somebody who does not wait for it. argv: the command.
    then: called with what is wrong, "" for nothing. due: when it is too late, and `tick` ends it."""

    def __init__(
        self, argv: Sequence[str], selector: selectors.BaseSelector, then: Callable[[str], None], due: float
    ) -> None:
        self.due = due
        self._late = False
        self._selector = selector
        self._then = then
        self._said = b""
        self._out, out = os.pipe()
        self._pid = os.posix_spawn(
            argv[0],
            list(argv),
            {**os.environ, "PYTHONPATH": python_path()},
            file_actions=[(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)],
            setpgroup=0,
            setsigdef=[signal.SIGPIPE],
        )
        os.close(out)
        selector.register(self._out, selectors.EVENT_READ, self._read)

    def tick(self, now: float) -> None:
        if now >= self.due:
            self.due, self._late = math.inf, True
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)

    def _read(self) -> None:
        data = os.read(self._out, 65_536)
        self._said += data
        if data:
            return
        self._selector.unregister(self._out)
        os.close(self._out)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if self._late:
            self._then(f"the code on the disk was not ready within {WITHIN:.0f} s")
            return
        self._then("" if status == 0 else self._said.decode(errors="replace").rstrip() or f"exit status {status}")


def python_path() -> str:
    """For what we start: the same folder of code as ours, wherever that is."""
    here = str(Path(__file__).resolve().parent.parent)
    before = os.environ.get("PYTHONPATH", "")
    return f"{here}{os.pathsep}{before}" if before else here


def main(arguments: list[str]) -> NoReturn:
    parser = argparse.ArgumentParser(prog="python -m app.preflight")
    parser.add_argument("--site", type=Path, required=True)
    os.nice(NICE)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found = fault(parser.parse_args(arguments).site)
    if found:
        sys.stdout.write(f"{found}\n")
    sys.stdout.flush()
    os._exit(1 if found else 0)  # what a control would do on its way out is not to be done


if __name__ == "__main__":
    main(sys.argv[1:])
