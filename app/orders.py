"""Commands to the supervisor: `callwright drain`, `callwright upgrade`. What it says meanwhile is shown as it comes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from app.sections import Paths
from app.settings import ConfigErrors, load
from app.unix_socket import connect
from kernel.yamlsrc import read

CONNECT_WITHIN = 5.0
BACK_WITHIN = 15.0
"""Seconds for the supervisor to be there again when it has executed itself anew in an upgrade."""
ALONE = "Calls go on without it for a while: see its log, and start it again (`callwright serve`) at once."
LOOK_EVERY = 0.05


def order(site: Path, do: str, out: TextIO) -> int:
    """Returns the exit status: 0 when it was done, 1 when not, or when no hotline runs here."""
    path = _run_folder(site) / "supervisor.sock"
    try:
        for told in _asked(path, do):
            if "say" in told:
                out.write(f"{told['say']}\n")
                out.flush()
            if "done" in told:
                return 0 if told.get("ok") else 1
    except OSError as error:
        out.write(f"no hotline runs here (nothing answers at {path}: {error.strerror or error})\n")
        return 1
    out.write("the supervisor has gone without a last word\n")
    return 1


def _run_folder(site: Path) -> Path:
    """As the site says; a configuration that has mistakes now was good when the hotline started."""
    try:
        return load(site).run
    except ConfigErrors:
        main = read(site / "config" / "callwright.yaml", "").value
        paths = main.get("paths") if isinstance(main, dict) else None
        run = paths.get("run") if isinstance(paths, dict) else None
        return site.absolute() / (run if isinstance(run, str) else Paths().run)


def _asked(path: Path, do: str) -> Iterator[dict[str, Any]]:
    """What it says, to its last word. Raises OSError."""
    yield from _conversation(path, do)
    if do != "upgrade":
        return
    until = time.monotonic() + BACK_WITHIN  # it has become another program, and says the rest as that
    while True:
        try:
            yield from _conversation(path, "follow")
        except OSError:
            if time.monotonic() > until:
                yield {"say": f"The supervisor has not come back within {BACK_WITHIN:.0f} s. {ALONE}"}
                yield {"done": True, "ok": False}
                return
        time.sleep(LOOK_EVERY)


def _conversation(path: Path, do: str) -> Iterator[dict[str, Any]]:
    with connect(path, CONNECT_WITHIN) as sock:
        sock.sendall(json.dumps({"do": do}).encode() + b"\n")
        sock.settimeout(None)  # a drain takes as long as its longest call
        with sock.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)
