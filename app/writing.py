"""Events on their way to the journal, whatever the disk does.

While the disk takes nothing (full, over quota, read-only, failing) calls go on, and their events wait in memory, in
order. From CLOSE_AT of that memory on no new calls are let in, so that those in progress have the rest of it. When the
disk takes events again all are written, and one event more says what happened; nobody has to do anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import structlog

from events.journal import MAX_BUFFER, Journal, JournalFull
from events.types import Event, JournalWaited
from kernel.clock import Clock

log = structlog.get_logger()

CLOSE_AT = 0.75
"""Share of the memory for events from which on new calls are refused …"""
OPEN_BELOW = 0.5
"""… until it has fallen to this."""
SAY_EVERY = 30.0
"""Seconds between two complaints."""


class Health(TypedDict):
    """How the journal is, for those whom the journal can't tell: `callwright status`, /readyz, /metrics."""

    waiting_bytes: int
    waiting_since: float | None
    """UTC seconds; None: the disk takes events."""
    lost: int
    closed: bool
    """New calls are refused."""
    why: str


@dataclass(slots=True)
class _Wait:
    since: float
    why: str
    said_at: float
    lost: int = 0
    closed: bool = False


class Writing:
    """closed: told True when new calls must be refused, False when they may come again."""

    def __init__(self, journal: Journal, clock: Clock, closed: Callable[[bool], None]) -> None:
        self._journal = journal
        self._clock = clock
        self._closed = closed
        self._wait: _Wait | None = None

    def emit(self, event: Event) -> None:
        """Append. An event that finds no room is lost, counted and told of."""
        try:
            self._journal.append(event)
        except JournalFull as error:
            wait = self._wait or self._begin(str(error))
            if not wait.lost:
                log.critical("events are lost: the disk is full and so is our memory for them", error=str(error))
            wait.lost += 1

    def commit(self) -> None:
        """Write what waits; when that is not possible, say so and keep it. Raises what a subscriber raised."""
        try:
            self._journal.commit()
        except JournalFull as error:
            self._waiting(self._wait or self._begin(str(error)))
        else:
            if self._wait is not None:
                self._end(self._wait)

    @property
    def health(self) -> Health:
        wait = self._wait
        return Health(
            waiting_bytes=self._journal.waiting_bytes if wait else 0,
            waiting_since=wait.since if wait else None,
            lost=wait.lost if wait else 0,
            closed=bool(wait and wait.closed),
            why=wait.why if wait else "",
        )

    def _begin(self, why: str) -> _Wait:
        log.critical("the journal cannot be written; calls go on, events wait in memory", error=why)
        self._wait = _Wait(self._clock.wall(), why, self._clock.monotonic())
        return self._wait

    def _waiting(self, wait: _Wait) -> None:
        share = self._journal.waiting_bytes / MAX_BUFFER
        if not wait.closed and share >= CLOSE_AT:
            wait.closed = True
            log.critical("new calls are refused: too many events wait for the disk", error=wait.why)
            self._closed(True)
        elif wait.closed and share < OPEN_BELOW:
            wait.closed = False
            self._closed(False)
        now = self._clock.monotonic()
        if now - wait.said_at >= SAY_EVERY:
            wait.said_at = now
            waiting = self._journal.waiting_bytes
            log.critical("the journal still cannot be written", error=wait.why, waiting_bytes=waiting, lost=wait.lost)

    def _end(self, wait: _Wait) -> None:
        self._wait = None
        lasted = self._clock.wall() - wait.since
        log.warning("the journal is written again", seconds=round(lasted, 1), lost=wait.lost)
        if wait.closed:
            self._closed(False)
        self.emit(JournalWaited(since=wait.since, lasted=lasted, lost=wait.lost, why=wait.why))
        self.commit()
