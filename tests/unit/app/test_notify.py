"""What a service manager hears."""

import socket
from pathlib import Path

import pytest

from app.notify import Notify


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_alive_and_stopping(tmp_path: Path, abstract: bool) -> None:
    """WATCHDOG_USEC of 4 s: a sign of life every 2 s, whenever we are asked. Both kinds of socket names."""
    name = "@callwright-test-notify" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        notify = Notify({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000"})
        notify.ready()
        for half in range(10):
            notify.alive(half / 2)
        notify.stopping()
        manager.settimeout(5)
        heard = [manager.recv(100).decode().partition("\n")[0] for _ in range(5)]
    assert heard == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_without_a_manager_nothing_happens() -> None:
    notify = Notify({"WATCHDOG_USEC": "1"})
    notify.ready()
    notify.alive(0.0)
    notify.stopping()
