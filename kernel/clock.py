"""The only place where real time is read. Everything else is given a Clock, or `now`."""

import time
from collections.abc import Callable


class Clock:
    """Monotonic seconds for timers, wall seconds for people; both from one source so that a jump of
    the machine's wall clock moves no timer and never turns the log back.

    monotonic: seconds from an arbitrary start; for an asyncio shell, `loop.time`.
    epoch: wall time (UTC, seconds since 1970) at the moment when `monotonic()` returned `origin`.
    """

    __slots__ = ("_machine", "monotonic", "offset")

    def __init__(
        self, monotonic: Callable[[], float], epoch: float, machine: Callable[[], float] | None = None
    ) -> None:
        """machine: what the machine's own wall clock shows; as `wall` when not given."""
        self.monotonic = monotonic
        self.offset = epoch - monotonic()
        """Wall seconds less monotonic ones: another process of this boot with the same has the same clock."""
        self._machine = machine or self.wall

    def wall(self) -> float:
        """UTC seconds since 1970, advancing exactly as `monotonic` does."""
        return self.offset + self.monotonic()

    def civil(self) -> float:
        """UTC seconds since 1970 as the machine shows them now, jumps and all: for opening hours, which follow the
        clock on the wall even when it was wrong at our start. Nothing may be timed by it."""
        return self._machine()

    def day(self) -> str:
        """Today's date in UTC, `2026-11-21`."""
        return time.strftime("%Y-%m-%d", time.gmtime(self.wall()))


def system_clock(monotonic: Callable[[], float] = time.monotonic, offset: float | None = None) -> Clock:
    """The machine's clock, its wall time read once, now; or, with the `offset` of another's clock, that one's."""
    return Clock(monotonic, time.time() if offset is None else monotonic() + offset, time.time)
