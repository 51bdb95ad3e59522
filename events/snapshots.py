"""Folds kept beside the journal, so that a start replays only what came after.

A snapshot is one file, `NAME.SEQ.snap`: a JSON line that says what it is, then the payload, which is the owner's own
affair. It stands for the fold of records 1 to `seq`. It is written to a temporary name, synced and renamed, so a reader
never meets half of one; the last two of a name are kept, and one that can't be read gives way to the one before it.
A snapshot is only ever a short cut: without any, the same state comes out of the journal.
"""

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from events.journal import holds
from events.segments import sync_directory

KEPT: Final = 2
"""Of each name."""
_SUFFIX: Final = ".snap"
_SEQ_DIGITS: Final = 20

log = structlog.get_logger()


class _Head(msgspec.Struct):
    name: str
    seq: int
    at: float
    version: int
    size: int
    """Bytes of payload …"""
    crc: int
    """… and their CRC-32."""


class _Unfit(Exception):
    """Why a file is passed over."""


class Snapshots:
    """Those of one fold of a journal. version: of the payload's form."""

    def __init__(self, journal: Path, name: str, version: int) -> None:
        self._journal = journal
        self._name = name
        self._version = version
        self._failing = False

    def save(self, seq: int, at: float, payload: bytes) -> None:
        """The fold of records 1 to `seq`, the last of which is of time `at`. That it can't be written is logged, once
        until one was written again. Blocks for two fsyncs."""
        try:
            save(folder(self._journal), self._name, seq, self._version, payload, at=at)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("no snapshot could be written; a restart reads more of the log", error=str(error))
            self._failing = True

    def load(self) -> tuple[int, bytes] | None:
        """(seq, payload) of the newest that fits and whose last record the journal still has."""
        return load(
            folder(self._journal),
            self._name,
            self._version,
            stands=lambda seq, at: holds(self._journal, seq, at),
        )


def folder(journal: Path) -> Path:
    """Where the snapshots of a journal's folds are: in its own folder, so that they move and go with it."""
    return journal / "snapshots"


def save(directory: Path, name: str, seq: int, version: int, payload: bytes, *, at: float = 0.0) -> Path:
    """Write the fold of records 1 to `seq`, durably, and drop all but the last KEPT of this name.

    version: of the payload's form; `load` takes no other. at: of record `seq`, for `load`'s `stands`.
    Blocks for two fsyncs. Raises OSError; what was there before is still there then."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.{seq:0{_SEQ_DIGITS}d}{_SUFFIX}"
    head = msgspec.json.encode(_Head(name, seq, at, version, len(payload), zlib.crc32(payload)))
    temporary = directory / f"{name}.tmp"  # one writer for each name: what a dead one left is written over
    try:
        with temporary.open("wb") as file:
            file.write(head + b"\n")
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()  # a full disk wants its bytes back
        raise
    sync_directory(directory)
    files = _files(directory, name)
    before = [old for number, old in files if number <= seq]
    later = [old for number, old in files if number > seq]  # of a history that is no more: a power cut, a new database
    for old in (*before[:-KEPT], *later):
        old.unlink(missing_ok=True)
    return path


def load(
    directory: Path, name: str, version: int, *, stands: Callable[[int, float], bool] = lambda _seq, _at: True
) -> tuple[int, bytes] | None:
    """(seq, payload) of the newest that is whole, of this version, and stands; None: replay from the beginning.

    stands(seq, at): whether the journal (still) has that very record; after a power cut a snapshot may know more than
    the journal kept (see `events.journal.holds`). What is passed over is logged. Raises nothing."""
    for seq, path in reversed(_files(directory, name)):
        try:
            head, payload = _read(path)
            if (head.name, head.seq) != (name, seq):
                raise _Unfit(f"it says it is {head.name} at {head.seq}")
            if head.version != version:
                raise _Unfit(f"it is of version {head.version}, ours is {version}")
            if not stands(seq, head.at):
                raise _Unfit(f"the journal has no such record {seq}")
        except (OSError, _Unfit) as error:
            log.warning("snapshot passed over", path=str(path), reason=str(error))
            continue
        return seq, payload
    return None


def floors(directory: Path) -> dict[str, int]:
    """Name → seq of the oldest snapshot kept. Records after the least of these may still be asked for."""
    found: dict[str, int] = {}
    for name in {path.name.split(".")[0] for path in _snaps(directory)}:
        if files := _files(directory, name):
            found[name] = files[0][0]
    return found


def _snaps(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.suffix == _SUFFIX]
    except FileNotFoundError:
        return []


def _files(directory: Path, name: str) -> list[tuple[int, Path]]:
    """(seq, path) of a name's, oldest first."""
    found = []
    for path in _snaps(directory):
        begin, _, stem = path.name.removesuffix(_SUFFIX).rpartition(".")
        if begin == name and stem.isdecimal():
            found.append((int(stem), path))
    return sorted(found)


def _read(path: Path) -> tuple[_Head, bytes]:
    first, newline, payload = path.read_bytes().partition(b"\n")
    try:
        head = msgspec.json.decode(first, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _Unfit(f"it begins with no header: {error}") from error
    if not newline or len(payload) != head.size:
        raise _Unfit(f"{len(payload)} bytes instead of {head.size}")
    if zlib.crc32(payload) != head.crc:
        raise _Unfit("its bytes are not those that were written")
    return head, payload
