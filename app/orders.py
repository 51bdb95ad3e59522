"""Commands to the supervisor: `callwright drain`. What it says while it obeys is shown as it comes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from app.settings import ConfigErrors, load
from app.unix_socket import connect

CONNECT_WITHIN = 5.0


def order(site: Path, do: str, out: TextIO) -> int:
    """Returns the exit status: 0 when it was done, 1 when not, or when no hotline runs here."""
    try:
        path = load(site).run / "supervisor.sock"
        for told in _asked(path, do):
            if "say" in told:
                out.write(f"{told['say']}\n")
                out.flush()
            if "done" in told:
                return 0 if told.get("ok") else 1
    except ConfigErrors as errors:
        out.write(f"{errors}\n")
        return 1
    except OSError as error:
        out.write(f"no hotline runs here (nothing answers at {path}: {error.strerror or error})\n")
        return 1
    out.write("the supervisor has gone without a last word\n")
    return 1


def _asked(path: Path, do: str) -> Iterator[dict[str, Any]]:
    """Raises OSError."""
    with connect(path, CONNECT_WITHIN) as sock:
        sock.sendall(json.dumps({"do": do}).encode() + b"\n")
        sock.settimeout(None)  # a drain takes as long as its longest call
        with sock.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)
