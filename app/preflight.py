"""Whether what is on the disk would run: `python -m app.preflight --site DIR`, before an upgrade touches anything.

It imports all that the processes import, and proves the configuration. Exit status 0, or 1 with the reason in words.
"""

import argparse
import importlib
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

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
        load(site)
    except ConfigErrors as errors:
        return f"the configuration has mistakes:\n{errors}"
    return ""


class Preflight:
    """A run of this program by somebody who does not wait for it. argv: the command.
    then: called with what is wrong, "" for nothing."""

    def __init__(self, argv: Sequence[str], selector: selectors.BaseSelector, then: Callable[[str], None]) -> None:
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

    def _read(self) -> None:
        data = os.read(self._out, 65_536)
        self._said += data
        if data:
            return
        self._selector.unregister(self._out)
        os.close(self._out)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._then("" if status == 0 else self._said.decode(errors="replace").rstrip() or f"exit status {status}")


def python_path() -> str:
    """For what we start: the same folder of code as ours, wherever that is."""
    here = str(Path(__file__).resolve().parent.parent)
    before = os.environ.get("PYTHONPATH", "")
    return f"{here}{os.pathsep}{before}" if before else here


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m app.preflight")
    parser.add_argument("--site", type=Path, required=True)
    found = fault(parser.parse_args(arguments).site)
    if found:
        sys.stdout.write(f"{found}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
