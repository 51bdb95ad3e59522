"""How much memory a process takes, and whether there is any for another call."""

import resource
from collections.abc import Callable
from typing import Literal

import structlog

ROOM_AGAIN = 0.95
"""Share of the limit below which calls are let in again."""

log = structlog.get_logger()


class Memory:
    """limit: bytes of the process, 0 for none. closed: told True when no new call is to be let in, False when again."""

    def __init__(self, limit: int, closed: Callable[[bool], None]) -> None:
        self._limit = limit
        self._closed = closed
        self._grown = self._waiting = False

    def look(self, used: int) -> None:
        """used: bytes now."""
        limit = self._limit * ROOM_AGAIN if self._grown else self._limit
        grown = bool(self._limit) and used > limit
        if grown is not self._grown:
            told = log.error if grown else log.info
            told("new calls are refused: control has grown too large" if grown else "calls again", mb=used >> 20)
            self._grown = grown
            self._closed(grown or self._waiting)

    def waits(self, full: bool) -> None:
        """Of the memory in which events wait for the disk hardly any is left, or enough again."""
        self._waiting = full
        self._closed(self._grown or full)


def resident_bytes(pid: int | Literal["self"] = "self") -> int:
    """What of it is in RAM; of a process that has ended, 0."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except (FileNotFoundError, ProcessLookupError):
        return 0
