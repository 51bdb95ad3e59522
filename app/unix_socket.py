"""UNIX sockets whose path may be longer than the 107 bytes of a socket address: by way of their folder."""

import os
import socket
from pathlib import Path


def connect(path: Path, timeout: float) -> socket.socket:
    """A connected stream socket with that timeout (seconds). Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    folder = -1
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
        sock.connect(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        sock.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return sock


def listen(path: Path) -> socket.socket:
    """A non-blocking listener that only our own user may use, in place of one that a dead process left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen()
    listener.setblocking(False)
    return listener
