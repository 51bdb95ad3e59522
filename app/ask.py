"""Commands that ask the running hotline: `callwright status`, `callwright agent …`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from app.control_socket import Refused, Unavailable, ask
from app.settings import ConfigErrors, load
from app.status import show


def show_status(site: Path, out: TextIO) -> int:
    """Exit status: 0, or 1 with the reason in words."""
    return _asked(site, out, "status", {}, lambda status: show(status, out))


def agent_command(site: Path, agent: str, command: str, reason: str, out: TextIO) -> int:
    """command: login, logout, ready, not_ready. Exit status as above."""
    fields = {"agent": agent, "command": command, "reason": reason, "via": "cli"}

    def done(state: Any) -> None:
        out.write(f"{agent}: {state}\n")

    return _asked(site, out, "agent", fields, done)


def _asked(site: Path, out: TextIO, do: str, fields: dict[str, str], then: Callable[[Any], None]) -> int:
    try:
        then(ask(load(site).run / "control.sock", do, **fields))
    except (Refused, Unavailable, ConfigErrors) as error:
        out.write(f"{error}\n")
        return 1
    return 0
