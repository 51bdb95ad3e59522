"""A machine that loses its power: what no fsync has covered is there, or not, or half, as chance will have it."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECTOR = 512


class PowerCut:
    """Watches what this process writes into one folder, and knows what of it would survive.

    A file's bytes survive as far as they were written when an fdatasync (fsync) of it began that has ended; a name in
    the folder, when an fsync of the folder has. `during` is called in the middle of each: time may pass there, and more
    may be written."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.during: Callable[[], None] = lambda: None
        self._paths: dict[int, Path] = {}
        self._safe_bytes: dict[str, int] = {}
        self._safe_names: set[str] = set()
        self._open, self._close = os.open, os.close
        monkeypatch.setattr(os, "open", self._opened)
        monkeypatch.setattr(os, "close", self._closed)
        monkeypatch.setattr(os, "fdatasync", self._synced)
        monkeypatch.setattr(os, "fsync", self._synced)

    def _opened(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        fd = self._open(path, flags, mode, **more)
        self._paths[fd] = Path(os.fsdecode(path))
        return fd

    def _closed(self, fd: int) -> None:
        self._paths.pop(fd, None)
        self._close(fd)

    def _synced(self, fd: int) -> None:
        path = self._paths[fd]  # KeyError: synced after it was closed
        names, size = set(os.listdir(self.folder)), os.fstat(fd).st_size
        self.during()
        if path == self.folder:
            self._safe_names |= names
        else:
            self._safe_bytes[path.name] = max(size, self._safe_bytes.get(path.name, 0))

    def leave(self, to: Path, chance: random.Random) -> None:
        """What the next boot finds."""
        to.mkdir()
        for path in self.folder.glob("*.jsonl"):
            if path.name in self._safe_names or chance.random() < 0.5:
                (to / path.name).write_bytes(self._torn(path.read_bytes(), self._safe_bytes.get(path.name, 0), chance))
        shutil.copy(self.folder / "lock", to)

    @staticmethod
    def _torn(whole: bytes, safe: int, chance: random.Random) -> bytes:
        """The safe part, and of the rest some sectors; the file's length may have run ahead of its bytes."""
        data = bytearray(whole[: chance.choice([chance.randint(safe, len(whole)), len(whole)])])
        for start in range(safe - safe % SECTOR, len(data), SECTOR):
            first, end = max(start, safe), min(start + SECTOR, len(data))
            if chance.random() < 0.4:
                data[first:end] = bytes(end - first)
        return bytes(data)
