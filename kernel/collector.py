"""Python's cyclic garbage collector and the C library's memory, told what these processes are like.

Left alone it walks over everything that lives each time that the heap has grown by a quarter: with 200 calls/s in the
last half minute's transactions that is a stall of 0.1 to 0.3 s every few seconds, for no gain, since calls leave no
cycles behind (tests/unit/engine/test_garbage.py holds them to that): what they drop goes by reference count.
"""

import ctypes
import gc
from collections.abc import Callable

YOUNG = 5000
"""New objects, less those gone, between two looks at the new ones: 1 ms each."""
MIDDLE = 5
"""Such looks between two at the survivors of the last ones: 5 ms each."""
SOMETIMES, NEVER = 20, 1_000_000
"""Looks of the middle kind between two at everything."""
IDLE_EVERY, BUSY_EVERY = 60.0, 3600.0
"""Seconds between two looks at everything: while there is nothing to hold up, and at most."""
LARGE = 256 * 1024
"""Octets from which on a block is the system's own, given back as soon as it is free. glibc raises this to the size of
whatever was freed last: then a snapshot of the calls is cut from the heap, at another place each time."""
SLACK = 1024 * 1024
"""Free octets that stay at the end of the heap."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""mallopt(3)."""


def settle(*, old: int = NEVER) -> None:
    """Call it when all that stays is there: it is never looked at again. old: how often all that came since is; NEVER
    leaves that to a Collector."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, old)
    if (option := _of_glibc("mallopt")) is not None:
        option(_M_MMAP_THRESHOLD, LARGE)
        option(_M_TRIM_THRESHOLD, SLACK)


class Collector:
    """Looks at everything when it hurts least, and gives back what a burst of calls has left empty."""

    def __init__(self, now: float) -> None:
        self._last = now

    def look(self, now: float, *, busy: bool) -> bool:
        """To be called every few seconds; whether it looked."""
        if now - self._last < (BUSY_EVERY if busy else IDLE_EVERY):
            return False
        gc.collect()
        trim()
        self._last = now
        return True


def trim() -> bool:
    """Give free pages in the middle of the C heap back to the system, which takes up to 15 ms; False where the C
    library is another than glibc."""
    give_back = _of_glibc("malloc_trim")
    if give_back is None:
        return False
    give_back(0)
    return True


def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None)
