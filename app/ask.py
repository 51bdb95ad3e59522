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


def agent_command(site: Path, agent: str, command: str, reason: str, out: TextIO, to: str = "") -> int:
    """command: login, logout, ready, not_ready; transfer or consult `to` somebody, complete, return,
    conference; pickup, `to` being at whom it rings. Exit status as above."""
    fields = {"agent": agent, "command": command, "reason": reason, "via": "cli", "to": to}

    def done(state: Any) -> None:
        out.write(f"{agent}: {state}\n")

    return _asked(site, out, "agent", fields, done)


def show_blocked(site: Path, out: TextIO) -> int:
    """One line a block: source, user (when it is only for one) and seconds left."""

    def show_all(blocks: list[list[Any]]) -> None:
        for source, user, left in blocks:
            out.write(f"{source}  {f'user {user}' if user else 'all'}  {left:.0f} s\n")
        if not blocks:
            out.write("nobody is blocked\n")

    return _asked(site, out, "blocked", {}, show_all)


def release_source(site: Path, source: str, out: TextIO) -> int:
    return _asked(site, out, "unblock", {"source": source}, lambda lifted: out.write(f"{source}: {lifted} released\n"))


def _asked(site: Path, out: TextIO, do: str, fields: dict[str, str], then: Callable[[Any], object]) -> int:
    try:
        then(ask(load(site).run / "control.sock", do, **fields))
    except (Refused, Unavailable, ConfigErrors) as error:
        out.write(f"{error}\n")
        return 1
    return 0
