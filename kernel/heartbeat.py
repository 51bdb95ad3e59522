"""A sign of life from an event loop: one octet to a pipe, again and again.

It comes from the loop itself, not from a thread, so that it stops when the loop does: in an endless loop, in a call
that blocks, in a process that was stopped. Whoever holds the other end of the pipe (app/watchdog.py) draws the
conclusion.
"""

import asyncio
import os
from contextlib import suppress

BEAT_EVERY = 0.5
"""Seconds."""


async def beat(fd: int) -> None:
    """Until cancelled. fd: of a pipe, which becomes non-blocking; below 0 there is nobody to tell, and this returns."""
    if fd < 0:
        return
    os.set_blocking(fd, False)
    while True:
        with suppress(OSError):  # full: there are beats enough in it; no reader: nobody to tell
            os.write(fd, b".")
        await asyncio.sleep(BEAT_EVERY)
