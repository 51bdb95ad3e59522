"""Token buckets by key, in a table that no flood can make grow."""

from collections.abc import Hashable
from typing import NamedTuple

TABLE_LIMIT = 16_384
"""Keys remembered. Whoever is forgotten has a full bucket again: with so many sources only the limits over all sources
together help, and those have one key."""


class Rate(NamedTuple):
    per_second: float
    burst: float
    """How many may come at once after a quiet time; ≥ 1."""


class Buckets:
    """One bucket for each key, full at first.

    Kept is one number for each: the time at which its bucket will be full again (the generic cell rate algorithm, which
    gives what counting tokens gives). Cost of a take: two dictionary operations.
    """

    def __init__(self, rate: Rate, limit: int = TABLE_LIMIT) -> None:
        self._each = 1.0 / rate.per_second
        self._room = (rate.burst - 1.0) * self._each
        self._full_at: dict[Hashable, float] = {}
        self._limit = limit

    def take(self, key: Hashable, now: float) -> bool:
        """One token; False when there is none (the try itself then costs nothing)."""
        table = self._full_at
        full_at = table.get(key)
        if full_at is None:
            if len(table) >= self._limit:
                del table[next(iter(table))]
            table[key] = now + self._each
            return True
        if full_at <= now:
            table[key] = now + self._each
            return True
        if full_at - now > self._room:
            return False
        table[key] = full_at + self._each
        return True

    def __len__(self) -> int:
        return len(self._full_at)
