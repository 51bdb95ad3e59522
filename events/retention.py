"""Old segments of the journal go when nobody needs them any more.

A segment may go when every reader that keeps a mark (a snapshot, or the ledger's) is past its last event: whatever
dies then starts from its mark, if the journal has that very record still. What goes is the beginning, so what is left
is gapless. ORIGIN keeps the time of record 1, by which a database knows the journal that its tables came from.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from events.codec import BadLine, head
from events.segments import segments, sync_directory
from events.snapshots import floors, folder

ORIGIN = "origin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """0: no such limit. Without any, all is kept for ever."""

    seconds: float = 0.0
    """How long an event is kept."""
    size: int = 0
    """Bytes that the journal may take. The segment that is being written is kept whatever its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    first_seq: int
    """Of what is left."""
    segments: int
    size: int
    """Bytes."""
    blocked_by: str = ""
    """Whose mark keeps more that ought to go; "" for nobody's."""


def origin(directory: Path) -> float | None:
    """Time of record 1, which may be gone; None while the journal is empty."""
    try:
        return float((directory / ORIGIN).read_text())
    except (FileNotFoundError, ValueError):
        pass
    found = segments(directory)
    return _first_at(found[0][1]) if found else None


def trim(directory: Path, policy: Policy, needed: Collection[str], now: float) -> Trimmed:
    """Remove what the policy does not keep and nobody needs. needed: names of marks that must be there.

    now: UTC seconds, to compare with the files' times. Raises OSError."""
    found = segments(directory)
    marks = floors(folder(directory))
    floor = min((marks.get(name, 0) for name in {*needed, *marks}), default=0)
    left = sum(path.stat().st_size for _, path in found)
    gone: list[Path] = []
    size = 0
    blocked = ""
    for (_, path), (after, _) in pairwise(found):
        status = path.stat()
        old = policy.seconds > 0 and now - status.st_mtime > policy.seconds
        if not old and not (policy.size > 0 and left > policy.size):
            break
        if after - 1 >= floor:
            blocked = min({*needed, *marks}, key=lambda name: marks.get(name, 0))
            break
        gone.append(path)
        left -= status.st_size
        size += status.st_size
    if gone:
        _remove(directory, gone)
    first = found[len(gone)][0] if found else 1
    return Trimmed(first_seq=first, segments=len(gone), size=size, blocked_by=blocked)


def _remove(directory: Path, gone: list[Path]) -> None:
    """The oldest first, so that a power cut leaves no gap."""
    at = _first_at(gone[0])
    if at is not None and not (directory / ORIGIN).exists():
        _write_origin(directory, at)
    for path in gone:
        path.unlink()
        sync_directory(directory)


def _write_origin(directory: Path, at: float) -> None:
    temporary = directory / f"{ORIGIN}.tmp"
    with temporary.open("w") as file:
        file.write(repr(at))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(directory / ORIGIN)
    sync_directory(directory)


def _first_at(path: Path) -> float | None:
    """Of the first event in a segment."""
    with path.open("rb") as file:
        for line in file:
            try:
                return head(line)[1]
            except BadLine:
                continue  # something saved
    return None
