"""The journal's files: names, and what to do about a broken end.

A segment is named by the seq of its first line: `00000000000000000001.jsonl`. Only the last one grows. After a
process death its last line may be cut short; after a power cut, pages of the last 200 ms may be missing anywhere.
Both are repaired alike: the longest prefix with gapless seq stays. Cut-off bytes that hold whole lines are kept
beside it (`….torn-OFFSET`) for people to look at; half a line took effect nowhere, and is dropped.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from events.codec import BadLine, decode, head

SAVED: Final = b"~"
"""First byte of a line that is no event: see journal.py."""
MAX_LINE = 1 << 20
"""Longest line, in bytes. `Journal.append` refuses more, so one read of this size always meets a newline."""
_DOUBTED = 8 << 20
"""Bytes at the end of the last segment that are read back wholly at start, event by event; before them, far older than
the last sync, it is enough that lines are JSON and their numbers follow each other."""
_NEAR = 1 << 16
"""Bytes that are read through rather than bisected further."""
_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Where a journal goes on, and what opening it had to repair."""

    last_seq: int
    last_at: float
    path: Path | None
    """The segment to append to; None in an empty journal."""
    cut_bytes: int
    set_aside: tuple[Path, ...]


def last_time(directory: Path) -> float:
    """UTC seconds of the last event, without repairing anything; 0.0 when none can be read."""
    return next((at for _, path in reversed(segments(directory)) if (at := _last(path)[1]) > 0), 0.0)


def segment_path(directory: Path, first: int) -> Path:
    return directory / f"{first:020d}{_SUFFIX}"


def segments(directory: Path) -> list[tuple[int, Path]]:
    """(first seq, path) of each, in order. Empty when the directory does not exist (yet)."""
    try:
        names = [entry.name for entry in os.scandir(directory)]
    except FileNotFoundError:
        return []
    stems = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
    return sorted((int(stem), segment_path(directory, int(stem))) for stem in stems if stem.isdecimal())


def begins(directory: Path) -> int:
    """Number of the first event that is kept; 1 as long as none was removed."""
    found = segments(directory)
    return found[0][0] if found else 1


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, line with its newline); the last may lack it."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            yield offset, line
            offset += len(line)


def find(fd: int, first: int, seq: int) -> tuple[int, int]:
    """(seq, offset) of a line of this segment at or shortly before `seq`, by bisection of the file.

    Wherever a line can't be read the search stays before it, so damage is met by the reader that goes on from here."""
    low, high = 0, os.fstat(fd).st_size
    found = (first, 0)
    while high - low > _NEAR:
        middle = (low + high) // 2
        chunk = os.pread(fd, MAX_LINE * 2, middle)
        begin = chunk.find(b"\n") + 1
        while begin and chunk.startswith(SAVED, begin):
            begin = chunk.find(b"\n", begin) + 1
        end = chunk.find(b"\n", begin) + 1
        if not begin or not end:
            high = middle
            continue
        try:
            number, _ = head(chunk[begin:end])
        except BadLine:
            return found
        if number > seq:
            high = middle
        else:
            low, found = middle, (number, middle + begin)
    return found


def recover(directory: Path) -> Recovery:
    """Repair the end of the journal. Cost: reads the last segment once (about 1 s for 1 GB), and those before it of
    which something is within the last 8 MB."""
    found = segments(directory)
    aside: list[Path] = []
    cut = 0
    while found:
        begin = _doubted(found)
        seq, at = _last(found[begin - 1][1]) if begin else (found[0][0] - 1, 0.0)
        kept, seq, at, lost = _follow(found[begin:], seq, at)
        for _, path in found[begin + kept :]:  # behind a hole: they hang in the air
            cut += path.stat().st_size
            aside.append(path.rename(path.with_name(path.name + ".torn-0")))
        del found[begin + kept :]
        if not kept:
            continue
        path = found[-1][1]
        if lost:
            aside += _cut(path, path.stat().st_size - lost)
        if lost or aside:
            sync_directory(directory)
        return Recovery(seq, at, path, cut + lost, tuple(aside))
    return Recovery(0, 0.0, None, cut, tuple(aside))


def _doubted(found: list[tuple[int, Path]]) -> int:
    """Index of the first segment of which something is within the last _DOUBTED bytes."""
    left = _DOUBTED
    for index in range(len(found) - 1, 0, -1):
        left -= found[index][1].stat().st_size
        if left <= 0:
            return index
    return 0


def _follow(found: list[tuple[int, Path]], seq: int, at: float) -> tuple[int, int, float, int]:
    """(how many of these segments go on without a gap after `seq`, last seq, its time, bytes to cut off the last)."""
    kept = lost = 0
    for first, path in found:
        if first != seq + 1 or lost:
            break
        seq, at, good = _scan(path, seq, at)
        lost = path.stat().st_size - good
        kept += 1
    return kept, seq, at, lost


def _scan(path: Path, seq: int, at: float) -> tuple[int, float, int]:
    """seq and at of the last line of the good prefix, and its length in bytes."""
    good = 0
    doubted = path.stat().st_size - _DOUBTED
    for offset, line in lines(path):
        if line.startswith(SAVED) and line.endswith(b"\n"):
            good = offset + len(line)
            continue
        try:
            number, when = head(line)
            if offset >= doubted:
                decode(line)
        except BadLine:
            break
        if number != seq + 1 or not line.endswith(b"\n"):
            break
        seq, at, good = number, when, offset + len(line)
    return seq, at, good


def _last(path: Path) -> tuple[int, float]:
    """seq and at of the last event; (-1, 0.0) when the last line is not whole, or no event is there."""
    size = path.stat().st_size
    window = MAX_LINE + 1
    with path.open("rb") as file:
        while True:
            file.seek(max(0, size - window))
            tail = file.read()
            if not tail.endswith(b"\n"):
                return -1, 0.0
            whole = tail.split(b"\n")[0 if window >= size else 1 : -1]
            last = next((line for line in reversed(whole) if not line.startswith(SAVED)), b"")
            if last or window >= size:
                break
            window *= 4
    try:
        return head(last)
    except BadLine:
        return -1, 0.0


def _cut(path: Path, size: int) -> list[Path]:
    """Truncate to `size` bytes; what whole lines are cut off go to a file beside it."""
    with path.open("r+b") as file:
        file.seek(size)
        rest = file.read()
        kept = []
        if b"\n" in rest:
            aside = path.with_name(f"{path.name}.torn-{size}")
            try:
                aside.write_bytes(rest)
                kept.append(aside)
            except OSError:  # a full disk: calls must be answered all the same, and these lines took no effect
                aside.unlink(missing_ok=True)
        file.truncate(size)
        os.fsync(file.fileno())
    return kept


def sync_directory(directory: Path) -> None:
    """Make new, renamed and removed names in it survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
