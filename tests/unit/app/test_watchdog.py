"""When a silence counts, and when it does not."""

import math
from typing import cast

from app.plan import Spec
from app.processes import Process
from app.watchdog import Watchdog


class Silent:
    """A process that beats while `alive`; what was done to it, in `log`."""

    def __init__(self, limit: float) -> None:
        self.spec = Spec("control", "", (), stalls_after=limit)
        self.heard_at = self.kill_at = math.inf
        self.alive = True
        self.log: list[str] = []

    def listen(self, now: float) -> None:
        if self.alive:
            self.heard_at = now

    def stalled(self, silent_for: float) -> None:
        self.log.append(f"stalled for {silent_for:g}")
        self.heard_at = math.inf

    def kill(self, *, for_good: bool) -> None:
        self.log.append("killed")


def looks(process: Silent, watchdog: Watchdog, first: float, last: float) -> None:
    """Look every half second from `first` to `last`."""
    for half in range(int(first * 2), int(last * 2) + 1):
        watchdog.tick(half / 2)


def watching(process: Silent) -> Watchdog:
    return Watchdog([cast(Process, process)], 0.0)


def test_a_silence_longer_than_the_limit_is_a_stall() -> None:
    process = Silent(3.0)
    watchdog = watching(process)
    looks(process, watchdog, 0.5, 10)
    process.alive = False
    looks(process, watchdog, 10.5, 13)
    assert process.log == []
    looks(process, watchdog, 13.5, 20)
    assert process.log == ["stalled for 3.5"]


def test_nobody_is_blamed_when_everything_stood_still() -> None:
    """A frozen container, a stopped virtual machine: an hour between two looks. The silence begins anew after it."""
    process = Silent(3.0)
    watchdog = watching(process)
    looks(process, watchdog, 0.5, 10)
    process.alive = False
    looks(process, watchdog, 3610, 3613)
    assert process.log == []
    looks(process, watchdog, 3613.5, 3614)
    assert process.log == ["stalled for 3.5"]


def test_one_that_has_not_begun_to_beat_is_starting() -> None:
    process = Silent(3.0)
    process.alive = False
    looks(process, watching(process), 0.5, 100)
    assert process.log == []


def test_without_a_limit_silence_is_allowed() -> None:
    process = Silent(0.0)
    watchdog = watching(process)
    looks(process, watchdog, 0.5, 1)
    process.alive = False
    looks(process, watchdog, 1.5, 100)
    assert process.log == []


def test_the_kill_comes_after_the_stacks() -> None:
    process = Silent(3.0)
    process.kill_at = 5.2
    looks(process, watching(process), 0.5, 5)
    assert process.log == []
    looks(process, watching(process), 5.5, 5.5)
    assert process.log == ["killed"]
