"""What the demo knows of the hotline: its journal, followed and folded, as any reader may do."""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from app.demo.words import words
from events.fold import LiveState
from events.journal import Tail

LOOK_EVERY: Final = 0.1
KEPT: Final = 200


class Feed:
    """live: now. recent: (UTC seconds, words) of the last events, the newest last."""

    def __init__(self, journal: Path, wall: Callable[[], float]) -> None:
        self.live = LiveState()
        self.recent: deque[tuple[float, str]] = deque(maxlen=KEPT)
        self.wall = wall
        self._tail = Tail(journal)

    def step(self) -> bool:
        """Take in what is new; False when nothing is. Raises JournalDamaged."""
        records = self._tail.poll()
        for record in records:
            if said := words(record.event, self.live):
                self.recent.append((record.at, said))
            self.live.apply(record)
        return bool(records)

    async def run(self) -> None:
        """For ever."""
        while True:
            self.step()
            await asyncio.sleep(LOOK_EVERY)

    def close(self) -> None:
        """Read to the end, then let go."""
        while self.step():
            pass
        self._tail.close()
