"""What the web knows: the journal, followed and folded."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from events.fold import LiveState
from events.journal import Tail
from metrics.exporter import Exporter

POLL_INTERVAL = 0.1
"""Seconds between looks at the end of the journal."""


class Feed:
    """live and exporter are as far as the journal was read; run() keeps them going.

    queues, agents: names of the configuration, so that they are shown before their first event.
    wall: UTC seconds since 1970.
    """

    def __init__(
        self, journal: Path, wall: Callable[[], float], *, queues: Iterable[str] = (), agents: Iterable[str] = ()
    ) -> None:
        self.live = LiveState()
        self.exporter = Exporter(self.live, queues=queues, agents=agents)
        self.wall = wall
        self.caught_up = False
        """Whether the end of the journal was reached once. Before that, what is shown is the past."""
        self._tail = Tail(journal)

    def step(self) -> bool:
        """Take in what is there, at most about a megabyte; False when nothing was. Raises JournalDamaged."""
        records = self._tail.poll()
        for record in records:
            self.live.apply(record)
        self.exporter.feed(records)
        self.caught_up = self.caught_up or not records
        return bool(records)

    async def run(self) -> None:
        """For ever. Raises JournalDamaged."""
        while True:
            more = self.step()
            await asyncio.sleep(0 if more else POLL_INTERVAL)
