"""fdatasync off the call path."""

import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from events.segments import sync_directory


class Syncer:
    """Syncs the journal's segments in a thread of its own.

    `written` and `rolled` are called by the writer's thread and never wait for the disk. Ages are seconds.
    A failed fdatasync leaves the age growing (it is exported); the next round tries again."""

    def __init__(self, directory: Path, fd: int, now: Callable[[], float], interval: float) -> None:
        self._directory = directory
        self._fd = fd
        self._now = now
        self._interval = interval
        self._oldest: float | None = None  # of the writes since the last round began
        self._in_round: float | None = None  # of those that the round under way (or failed) covers
        self._age_max = 0.0
        self._retired: deque[int] = deque()
        self._new_name = False
        self._guard = threading.Lock()  # one round at a time; the writer takes it only in sync() and close()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if interval > 0:
            self._thread = threading.Thread(target=self._run, name="journal-sync", daemon=True)
            self._thread.start()

    def written(self) -> None:
        if self._oldest is None:
            self._oldest = self._now()

    def rolled(self, fd: int) -> None:
        """The segment so far is complete: sync it first, then close it."""
        if self._fd >= 0:
            self._retired.append(self._fd)
        self._new_name = True
        self._fd = fd

    def age(self) -> float:
        oldest = self._in_round if self._in_round is not None else self._oldest
        return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    def take_age_max(self) -> float:
        age = max(self._age_max, self.age())
        self._age_max = 0.0
        return age

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.sync()
            except OSError:
                continue  # age() says so

    def sync(self) -> None:
        """One round, in the calling thread. Raises OSError."""
        with self._guard:
            if self._in_round is None:
                # Order matters: take the old mark before the sync, so that a write during it opens a new one.
                self._in_round, self._oldest = self._oldest, None
            if self._in_round is None:
                return
            fd = self._fd
            if self._new_name:
                self._new_name = False
                sync_directory(self._directory)
            for _ in range(len(self._retired)):  # not those that a roll adds from here on: this round must end
                retired = self._retired[0]
                os.fdatasync(retired)
                os.close(self._retired.popleft())
                fd = -1 if retired == fd else fd  # it was retired since we looked
            if fd >= 0:
                os.fdatasync(fd)
            self._age_max = max(self._age_max, self._now() - self._in_round)
            self._in_round = None

    def close(self) -> None:
        """End the thread. The current segment stays open: it is its writer's."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        while self._retired:
            os.close(self._retired.popleft())
