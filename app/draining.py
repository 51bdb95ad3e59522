"""Draining: no new calls from outside, and those in progress go on to their own end."""

import asyncio
from collections.abc import Callable

from engine.ua import UserAgent
from events.types import DrainBegan, DrainEnded, Event
from kernel.clock import Clock

LOOK_EVERY = 1.0
"""Seconds between two looks at how many calls are left."""
RAN_OUT = "drain_timeout"
"""Why a call was ended that outlasted the time for draining."""


class Draining:
    """Of one control process. `begin` any number of times, `end` once, before the calls are ended."""

    def __init__(self, ua: UserAgent, emit: Callable[[Event], None], clock: Clock) -> None:
        self._ua = ua
        self._emit = emit
        self._clock = clock
        self._began: float | None = None

    def begin(self, within: float) -> None:
        """From now on. within: seconds that whoever asked for it will wait."""
        self._ua.draining = True
        if self._began is None:
            self._began = self._clock.monotonic()
            self._emit(DrainBegan(calls=len(self._ua.calls), within=round(within, 3)))

    async def calls_left(self, tell: Callable[[int], None]) -> None:
        """Tell how many calls are in progress, now and whenever it has changed, until there is none."""
        told = -1
        while True:
            left = len(self._ua.calls)
            if left != told:
                tell(left)
            told = left
            if not left:
                return
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._ua.quiet.wait()
            except TimeoutError:
                pass

    def give_up(self) -> None:
        """Nobody wants the end any more: new calls are taken again."""
        self._ua.draining = False
        if self._began is not None:
            self._emit(DrainEnded(ended=0, lasted=round(self._clock.monotonic() - self._began, 3), given_up=True))
            self._began = None

    def end(self, reason: str) -> str:
        """The end of the process begins: why the calls that are left end."""
        if self._began is None:
            return reason
        self._emit(DrainEnded(ended=len(self._ua.calls), lasted=round(self._clock.monotonic() - self._began, 3)))
        return RAN_OUT
