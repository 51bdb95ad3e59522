"""When to start a process again: at once the first time, then later and later while it keeps dying."""

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STABLE_AFTER = 60.0
"""A process that was up this long has earned an immediate restart again."""


class Backoff:
    """Delays 0, 0.5, 1, 2 … 30 s; back to 0 after a stable run."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0.0

    def exited(self, up_for: float) -> float:
        """The process died after `up_for` seconds: seconds to wait before the next start."""
        delay = 0.0 if up_for >= STABLE_AFTER else self._next
        self._next = min(max(delay * 2, FIRST_DELAY), LONGEST_DELAY)
        return delay
