"""Recording files: stereo 16 bit 8 kHz WAV whose header is written last, and the repair of those that a crash left."""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from engine.media.plane import PlaneError

HEADER_SIZE = 44
FRAME_SIZE = 4
"""Octets of one stereo sample."""
RATE = 8000
MAX_PATH = 1024


def header(frames: int) -> bytes:
    """RIFF header for so many stereo frames. A recording under way says 0."""
    size = frames * FRAME_SIZE
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 2, RATE, RATE * FRAME_SIZE, FRAME_SIZE, 16),
        *(b"data", size),
    )


def resolve(folder: Path, path: str) -> Path:
    """Where a recording goes: `path` under `folder` (both as given; folder resolved).

    Raises PlaneError for an absolute path elsewhere, any `..`, a symlink that leads out, or a name that is no .wav."""
    root = folder.resolve()
    given = Path(path)
    if len(path) > MAX_PATH or ".." in given.parts or "\0" in path or given.suffix != ".wav":
        raise PlaneError(f"recording {path!r}: not a .wav below the recordings folder")
    target = (root / given.parent).resolve() / given.name
    if not target.is_relative_to(root) or target == root:
        raise PlaneError(f"recording {path!r}: outside of the recordings folder")
    return target


def create(folder: Path, path: str) -> int:
    """Open a new recording and write its header; returns the descriptor. Never overwrites, never follows a link.

    Raises PlaneError, with the reason of the operating system."""
    target = resolve(folder, path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            if os.write(descriptor, header(0)) < HEADER_SIZE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(descriptor)
            target.unlink()
            raise
    except OSError as error:
        raise PlaneError(f"recording {path!r}: {error.strerror}") from error
    return descriptor


def write(descriptor: int, frames: bytes) -> tuple[int, int]:
    """All frames into a new recording, and its true header: as many whole ones as the disk takes.

    Returns how many those are, and the errno of what stopped it (0: nothing)."""
    done = stopped = 0
    while done < len(frames) and not stopped:
        try:
            done += os.pwrite(descriptor, frames[done:], HEADER_SIZE + done)
        except OSError as error:
            stopped = error.errno or errno.EIO
    whole = done // FRAME_SIZE
    os.ftruncate(descriptor, HEADER_SIZE + whole * FRAME_SIZE)
    os.pwrite(descriptor, header(whole), 0)
    return whole, stopped


def unfinished(folder: Path) -> Iterator[Path]:
    """Recordings under `folder` whose header disagrees with their size, in order of name."""
    for path in sorted(folder.rglob("*.wav")):
        if not path.is_symlink() and path.is_file() and _unfinished(path):
            yield path


def _unfinished(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(HEADER_SIZE)
    frames, rest = divmod(max(0, path.stat().st_size - HEADER_SIZE), FRAME_SIZE)
    return _ours(head) and (rest != 0 or head != header(frames))


def _ours(head: bytes) -> bool:
    """Cut short, or one of our headers with any sizes."""
    blank = header(0)
    if len(head) < HEADER_SIZE:
        return blank.startswith(head[:4])
    return head[:4] + head[8:40] == blank[:4] + blank[8:40]


def repair(path: Path) -> float:
    """Make a recording that a crash cut short playable: whole frames, true header. Returns its seconds.

    Only for files that nobody writes. Raises OSError."""
    frames = max(0, path.stat().st_size - HEADER_SIZE) // FRAME_SIZE
    with path.open("r+b") as file:
        file.truncate(HEADER_SIZE + frames * FRAME_SIZE)
        file.write(header(frames))
    return frames / RATE


def repair_all(folder: Path) -> dict[str, float]:
    """Repair every unfinished recording; returns path relative to `folder` -> seconds."""
    return {path.relative_to(folder).as_posix(): repair(path) for path in unfinished(folder)}
