"""How many calls a trunk carries at once, and how many may begin in a second. Pure."""

from enum import StrEnum


class Full(StrEnum):
    """Why a trunk takes no call now."""

    CALLS = "too many calls"
    RATE = "too many calls a second"


class Limits:
    """max_calls: both directions together. calls_per_second: 0 for no limit; a second's worth (at least one call) may
    come at once, as calls do."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens", "calls", "max_calls")

    def __init__(self, max_calls: int, calls_per_second: float = 0.0) -> None:
        self.max_calls = max_calls
        self.calls = 0
        self._rate = calls_per_second
        self._burst = max(1.0, calls_per_second)
        self._tokens = self._burst
        self._at = 0.0

    def full(self, now: float) -> Full | None:
        """Why `take` would not be right now; None: there is room."""
        if self.calls >= self.max_calls:
            return Full.CALLS
        if self._rate > 0 and self._filled(now) < 1.0:
            return Full.RATE
        return None

    def take(self, now: float) -> None:
        """A call begins (`full` said None)."""
        self.calls += 1
        if self._rate > 0:
            self._tokens = self._filled(now) - 1.0
            self._at = now

    def release(self) -> None:
        """A call is over."""
        self.calls -= 1

    def _filled(self, now: float) -> float:
        return min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
