"""Run a module that does not outlive its supervisor for long: `python -m app.child LIFE MODULE [ARGUMENT ...]`.

LIFE is a JSON object (`Life`). Its `alive` is the read end of a pipe whose only write end the supervisor holds: it
reads as ended when the supervisor is gone, however it died. Then

- without a `run` folder the process gets SIGTERM, and is ended the hard way if that does not do it;
- else it is an orphan. It works on, and looks for another supervisor at `run/supervisor.sock` (app/adoption.py has the
  words): that one gets its listening sockets, and gives it pipes in place of those that have ended. Control looks for
  ORPHAN_FOR seconds, then gets SIGTERM, upon which it drains; the others last as long as control does.

While it runs it holds a POSIX lock on `run/NAME.lock`: the kernel tells who holds it, so that nobody has to trust a
number in a file.

SIGUSR2 makes it write the stack of each of its threads, in whatever state its event loop is.
"""

import array
import contextlib
import faulthandler
import fcntl
import json
import math
import os
import runpy
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from app.unix_socket import connect

STOP_GRACE = 10.0
"""Seconds from SIGTERM to the hard end of an orphan."""
ORPHAN_FOR = 10.0
"""Seconds for which an orphan works on before it begins to end itself."""
LOOK_EVERY = 0.2
ANSWER_WITHIN = 5.0
LINE_BYTES = 65_536
LEADER = "control"


class Life(NamedTuple):
    alive: int
    name: str = ""
    run: str = ""
    """Folder with the supervisor's socket; "" when there is nobody to adopt us."""
    log: str = ""
    """File for what is printed while nobody reads it."""
    nice: int = 0
    """Added to the niceness: calls come before tables and pages."""
    beats: int = -1
    """Descriptor that the module writes its signs of life to."""
    sockets: dict[str, int] = {}  # noqa: RUF012 - never changed
    """What it listens on: label → descriptor."""
    grace: float = STOP_GRACE
    """Seconds from SIGTERM to the hard end of an orphan: longer for control, which drains."""
    patience: float = ORPHAN_FOR


def watch(life: Life) -> None:
    """Block as long as there is a supervisor, then see to the end of this process, or to another supervisor."""
    while True:
        with contextlib.suppress(OSError):
            while os.read(life.alive, 1):
                pass
        if not life.run:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(life.grace)
            os._exit(1)
        _orphaned(life)


def _orphaned(life: Life) -> None:
    """Returns when adopted."""
    _print_to(life.log)
    since, told = time.monotonic(), math.inf
    while not _adopted(life):
        now = time.monotonic()
        if told == math.inf and now - since >= life.patience and _alone(life):
            told = now
            os.kill(os.getpid(), signal.SIGTERM)
        if now - told >= life.grace:
            os._exit(1)
        time.sleep(LOOK_EVERY)


def _alone(life: Life) -> bool:
    """Whether nobody needs this process any more: control is gone, or this is control."""
    if life.name == LEADER:
        return True
    return holder(Path(life.run) / f"{LEADER}.lock") == 0


def _adopted(life: Life) -> bool:
    """Offer ourselves; True when a supervisor has taken us."""
    offer = {"do": "adopt", "name": life.name, "sockets": list(life.sockets), "arguments": sys.argv[1:]}
    try:
        with connect(Path(life.run) / "supervisor.sock", ANSWER_WITHIN) as sock:
            fds = array.array("i", life.sockets.values())
            sock.sendmsg(
                [json.dumps(offer).encode() + b"\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
            )
            _, given, _, _ = socket.recv_fds(sock, LINE_BYTES, 3)
    except OSError:
        return False
    if len(given) != 3:
        for fd in given:
            os.close(fd)
        return False
    alive, out, beats = given
    for new, *old in ((alive, life.alive), (out, 1, 2), (beats, life.beats)):
        for fd in old:
            os.dup2(new, fd, inheritable=fd in (1, 2))
        os.close(new)
    return True


def _print_to(path: str) -> None:
    """Whoever read our output is gone: a full or broken pipe must not stop us."""
    with contextlib.suppress(OSError):
        fd = os.open(path or os.devnull, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.close(fd)


def hold(path: Path) -> int:
    """Take the lock of this file for the life of this process; a second holder waits for nothing and has none."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(OSError):
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def holder(path: Path) -> int:
    """Who holds the lock of this file, as the kernel knows: its pid, 0 for nobody."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        # struct flock of Linux on 64 bits: type, whence, start, length, pid
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        return 0 if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(fd)


def main(arguments: list[str]) -> None:
    life, module = Life(**json.loads(arguments[0])), arguments[1]
    os.nice(life.nice)
    for fd in (life.alive, *life.sockets.values()):
        os.set_inheritable(fd, False)  # it was, so that it reached us; it is not for our own children
    if life.run:
        hold(Path(life.run) / f"{life.name}.lock")
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    threading.Thread(target=watch, args=(life,), daemon=True, name="supervisor-watch").start()
    sys.argv = [module, *arguments[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
