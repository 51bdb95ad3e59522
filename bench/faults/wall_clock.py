"""The wall clock of one hotline, set forward and back under its feet: a library that its processes are started with
(wall_clock.c) answers for the kernel.

libfaketime does not do for it: with version 0.9.10 `time.sleep` of Python 3.11 fails (EINVAL) when the monotonic clock
is to be left alone.
"""

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
COMPILERS = ("cc", "gcc", "clang")
AHEAD = struct.Struct("=q")


class CannotSet(Exception):
    """This machine lacks what it takes."""


class WallClock:
    """Files of it are made in `folder`. `environment`: of the processes that are to have it."""

    def __init__(self, folder: Path) -> None:
        """Raises CannotSet."""
        self.library = folder / "wall_clock.so"
        file = folder / "wall_clock"
        file.write_bytes(bytes(mmap.PAGESIZE))
        self._file = file
        _compile(self.library)
        self.environment = {"LD_PRELOAD": str(self.library), "CALLWRIGHT_WALL_CLOCK": str(file)}

    def ahead(self, seconds: int) -> None:
        """It is ahead of the machine's by so much from now on; behind it when that is negative."""
        with self._file.open("r+b") as file:
            file.write(AHEAD.pack(seconds))

    def rules(self, pid: int) -> bool:
        """Whether a process has this clock."""
        return str(self.library) in Path(f"/proc/{pid}/maps").read_text()


def compiler() -> str:
    """Raises CannotSet."""
    found = next((name for name in COMPILERS if shutil.which(name)), None)
    if found is None:
        raise CannotSet("no C compiler on this machine")
    return found


def _compile(library: Path) -> None:
    words = [compiler(), "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotSet(f"the clock cannot be made: {done.stderr[-300:]}")
