"""When a process is too large, and when it is let be."""

import math
import signal
from typing import cast

import pytest

from app.growth import LOOK_EVERY, Growth
from app.plan import Spec
from app.processes import HAND_OVER, Process, Surroundings

MB = 1 << 20


class Large:
    """A process of so many MB; the sizes at which it was found too large, in `log`."""

    def __init__(self, used: int, limit: int) -> None:
        self.spec = Spec("web", "", (), memory=limit * MB)
        self.pid = 7
        self.used = used
        self.running = True
        self.kill_at = math.inf
        self.log: list[int] = []

    def outgrew(self, used: int) -> None:
        self.log.append(used // MB)
        self.kill_at = 100.0


def looks(process: Large, *sizes: int) -> list[int]:
    growth = Growth([cast(Process, process)], 0.0, lambda pid: process.used * MB)
    for number, process.used in enumerate(sizes, 1):
        growth.tick(number * LOOK_EVERY - 0.1)
        growth.tick(number * LOOK_EVERY)
    return process.log


def test_above_its_limit_it_is_ended_once() -> None:
    assert looks(Large(0, 100), 50, 100, 101, 150) == [101]


def test_no_limit() -> None:
    assert looks(Large(0, 0), 1_000_000) == []


def test_one_that_does_not_run_is_not_looked_at() -> None:
    process = Large(0, 100)
    process.running = False
    assert looks(process, 200) == []


@pytest.mark.parametrize(
    ("name", "ends_by"), [("control", HAND_OVER), ("web", signal.SIGTERM), ("media0", signal.SIGTERM)]
)
def test_control_leaves_its_calls_to_the_next_one(name: str, ends_by: signal.Signals) -> None:
    around = Surroundings(*[None] * len(Surroundings._fields))  # type: ignore[arg-type]
    assert Process(Spec(name, "", ()), around).ends_by is ends_by
