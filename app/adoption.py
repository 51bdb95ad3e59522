"""Processes whose supervisor died, and the next one that takes them over: what they say to each other.

An orphan (app/child.py) connects to `run/supervisor.sock` and sends one JSON line, its listening sockets with it:

    {"do":"adopt","name":"control","sockets":["udp:127.0.0.1:5060#0"],"arguments":["--site",…]}    + SCM_RIGHTS

and is answered by one octet with three descriptors: the read end of a new alive pipe, and the write ends of new pipes
for its output and its signs of life; or by the end of the connection: not wanted. Who an orphan is, the kernel says
(SO_PEERCRED), and a pidfd is taken while it is connected: no number from a file is ever signalled.
"""

import fcntl
import json
import os
import select
import signal
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from app.child import holder

WITHIN = 5.0
"""Seconds for all orphans to come. One that lives and does not is stalled or strange, and is killed."""
LOOK_EVERY = 0.05
LINE_BYTES = 65_536
SOCKETS = 250
"""Most that one process may bring (SCM_MAX_FD is 253)."""


class Orphan(NamedTuple):
    name: str
    arguments: tuple[str, ...]
    pid: int
    pidfd: int
    sockets: dict[str, int]
    """Label → descriptor, ours now."""
    connection: socket.socket
    """Where it waits for an answer."""

    def adopt(self, alive: int, out: int, beats: int) -> None:
        """It goes on under us."""
        with self.connection as connection, suppress(OSError):
            socket.send_fds(connection, [b"."], [alive, out, beats])

    def refuse(self) -> None:
        """There is no place for it: it ends."""
        self.connection.close()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)
        os.close(self.pidfd)


def adopt_all(run: Path, listener: socket.socket) -> list[Orphan]:
    """Every process of this site that lives without a supervisor. Blocks while any is still on its way.

    listener: the supervisor's socket; what else connects there meanwhile is turned away, and tries again."""
    found: dict[int, Orphan] = {}
    missing: set[int] = set()
    until = time.monotonic() + WITHIN
    while (missing := _living(run) - found.keys()) and time.monotonic() < until:
        if select.select([listener], [], [], LOOK_EVERY)[0]:
            orphan = _received(listener)
            if orphan is not None:
                found[orphan.pid] = orphan
    for pid in missing:
        _kill(pid, run)
    return list(found.values())


def _living(run: Path) -> set[int]:
    """Pids, as the kernel knows them, of those that hold a lock."""
    return {pid for path in run.glob("*.lock") if (pid := holder(path))}


def _received(listener: socket.socket) -> Orphan | None:
    connection, _ = listener.accept()
    connection.settimeout(WITHIN)
    try:
        line, fds, _, _ = socket.recv_fds(connection, LINE_BYTES, SOCKETS)
        asked = json.loads(line)
        if asked["do"] != "adopt":
            raise ValueError(asked["do"])
        for fd in fds:
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        pid = peer(connection)
        sockets = dict(zip(asked["sockets"], fds, strict=True))
        return Orphan(asked["name"], tuple(asked["arguments"]), pid, os.pidfd_open(pid), sockets, connection)
    except (OSError, ValueError, KeyError):
        connection.close()
        return None


def peer(connection: socket.socket) -> int:
    """Pid of whoever connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _kill(pid: int, run: Path) -> None:
    """One that holds a lock and did not come. The lock is asked again behind the pidfd: had the process ended and its
    number been given to another, that one holds no lock of ours."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in _living(run):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], WITHIN)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
