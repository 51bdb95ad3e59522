"""Disks that are full: by a limit of this process, by errors put in, and really (a small tmpfs, for root)."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """The kernel takes no byte beyond `size` of any file of this process (RLIMIT_FSIZE; Python ignores SIGXFSZ): a
    write is cut short there, the next one fails with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of its own at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(folder: Path) -> Path:
    """Take all the room there is; remove the file that is returned, and it is back."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while _takes(file):
            pass
    return ballast


def _takes(file: RawIOBase) -> bool:
    try:
        return bool(file.write(bytes(4096)))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


class Valve:
    """os.write in front of the real one: shut, every write fails as on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shut = False
        self.room: int | None = None
        """Bytes that are still taken; None: all."""
        self._write: Callable[[int, Any], int] = os.write
        monkeypatch.setattr(os, "write", self._take)
        monkeypatch.setattr(os, "writev", lambda fd, parts: self._take(fd, b"".join(parts)))

    def _take(self, fd: int, data: Any) -> int:
        if self.shut or self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.room is None:
            return self._write(fd, data)
        written = self._write(fd, bytes(data[: self.room]))
        self.room -= written
        return written


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be made in the folder: by its mode, which root does not heed, so for root by a mount."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
        return
    with small_disk(folder, 64):
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield
