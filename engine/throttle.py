"""Saying something that anybody can provoke: once in a while, with how often it happened."""


class Throttle:
    """every: seconds between two times that it lets something be said."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._next = float("-inf")
        self._held_back = 0

    def take(self, now: float) -> int:
        """It happened once more. 0: say nothing now; n: say it, it happened n times since the last time."""
        self._held_back += 1
        if now < self._next:
            return 0
        count, self._held_back = self._held_back, 0
        self._next = now + self._every
        return count
