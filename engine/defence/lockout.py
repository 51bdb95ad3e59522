"""Who has misbehaved too often, and for how long nobody listens to him: each block in a row is twice as long."""

from collections.abc import Hashable
from typing import NamedTuple

TABLE_LIMIT = 16_384
"""Keys remembered; the one that came first is forgotten first."""


class Terms(NamedTuple):
    """Times in seconds."""

    strikes: int
    """As many within `within` and the key is blocked."""
    within: float
    first: float
    """How long the first block lasts; the next twice as long, and so on."""
    longest: float
    """No block lasts longer; after as long a good behaviour all is forgotten."""


class _Record:
    __slots__ = ("began", "blocked_until", "blocks", "dropped", "strikes")

    def __init__(self, now: float) -> None:
        self.began = now
        self.strikes = 0
        self.blocks = 0
        self.blocked_until = 0.0
        self.dropped = 0


class Block(NamedTuple):
    """A block that has just begun."""

    seconds: float
    times: int
    """1 for the first."""


class Lockout:
    """Strikes and blocks by key. Time never goes back."""

    def __init__(self, terms: Terms, limit: int = TABLE_LIMIT) -> None:
        self._terms = terms
        self._limit = limit
        self._records: dict[Hashable, _Record] = {}
        self._blocked: set[Hashable] = set()

    def blocks(self, key: Hashable, now: float) -> bool:
        """Whether this key is blocked; then this counts one message dropped."""
        if key not in self._blocked:
            return False
        record = self._records[key]
        if now >= record.blocked_until:
            return False
        record.dropped += 1
        return True

    def strike(self, key: Hashable, now: float, weight: int = 1) -> Block | None:
        """Note a misdeed. The block that it leads to, if any; none while one lasts."""
        record = self._records.get(key)
        if record is None:
            if len(self._records) >= self._limit:
                self._forget(next(iter(self._records)))
            record = self._records[key] = _Record(now)
        if now < record.blocked_until:
            return None
        self._age(record, now)
        record.strikes += weight
        if record.strikes < self._terms.strikes:
            return None
        record.strikes = 0
        seconds = min(self._terms.first * 2.0 ** min(record.blocks, 32), self._terms.longest)
        record.blocks += 1
        record.blocked_until = now + seconds
        self._blocked.add(key)
        return Block(seconds, record.blocks)

    def pardon(self, key: Hashable) -> None:
        """Good behaviour: strikes are forgotten, a block goes on."""
        record = self._records.get(key)
        if record is not None:
            record.strikes = 0

    def release(self, key: Hashable) -> bool:
        """Forget all of a key, at an operator's word. False when it was not blocked."""
        blocked = key in self._blocked
        self._forget(key)
        return blocked

    def ended(self, now: float) -> list[tuple[Hashable, int]]:
        """Blocks that ended since the last call, with how many messages each dropped. Forgets what is old."""
        over = [key for key in self._blocked if now >= self._records[key].blocked_until]
        out = []
        for key in over:
            self._blocked.discard(key)
            record = self._records[key]
            out.append((key, record.dropped))
            record.dropped = 0
        self._prune(now)
        return out

    def current(self, now: float) -> list[tuple[Hashable, float]]:
        """Blocked keys and the seconds that each block still lasts."""
        left = ((key, self._records[key].blocked_until - now) for key in self._blocked)
        return [(key, seconds) for key, seconds in left if seconds > 0]

    def __len__(self) -> int:
        return len(self._records)

    def _age(self, record: _Record, now: float) -> None:
        if now - record.began > self._terms.within:
            record.began, record.strikes = now, 0
        if record.blocks and now - record.blocked_until > self._terms.longest:
            record.blocks = 0

    def _prune(self, now: float) -> None:
        """From the oldest on, as far as there is nothing worth remembering."""
        while self._records:
            key, record = next(iter(self._records.items()))
            quiet_since = max(record.began + self._terms.within, record.blocked_until + self._terms.longest)
            if key in self._blocked or now < quiet_since:
                return
            del self._records[key]

    def _forget(self, key: Hashable) -> None:
        self._records.pop(key, None)
        self._blocked.discard(key)
