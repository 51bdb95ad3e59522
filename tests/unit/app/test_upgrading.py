"""The order of an upgrade, and its end when something does not come up; time is a number."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from app.upgrading import READY_WITHIN, TRIES, Upgrade


class Named(NamedTuple):
    name: str


@dataclass(eq=False)
class Process:
    """As app.processes has them; `up` and `died` are what becomes of the new one."""

    name: str
    pid: int = 1
    heard_at: float = 0.0
    deaths: int = 0
    status: str = ""
    replaced: int = 0

    @property
    def spec(self) -> Named:
        return Named(self.name)

    @property
    def running(self) -> bool:
        return self.pid != 0

    def replace(self, _: float) -> None:
        self.replaced += 1
        self.pid, self.heard_at = 0, math.inf

    def up(self) -> None:
        self.pid, self.heard_at = 2, 1.0

    def died(self) -> None:
        self.deaths += 1
        self.status = "exit 1"


class World:
    def __init__(self) -> None:
        self.all: Any = {name: Process(name) for name in ("control", "media0", "media1", "ledger", "web")}
        self.new = [Process("media2", 3, math.inf), Process("media3", 4, math.inf)]
        self.ended: list[str] = []
        self.upgrade = Upgrade([*self.all.values()], lambda _: None, lambda: self.new, self.ended.append)  # type: ignore[arg-type,return-value]

    def through(self, *names: str) -> None:
        """These come up, one after the other."""
        for name in names:
            self.all[name].up()
            if name == "control":
                self.upgrade.ready()
            self.upgrade.tick(1.0)


def test_one_after_the_other_and_all_media_at_the_end() -> None:
    world = World()
    world.upgrade.begin(0.0)
    assert [process.replaced for process in world.all.values()] == [0, 0, 0, 1, 0]
    world.through("ledger", "web", "control")
    assert [process.replaced for process in world.all.values()] == [1, 0, 0, 1, 1]
    assert not world.ended
    world.new[0].up()
    world.upgrade.tick(2.0)
    assert not world.ended
    world.new[1].up()
    world.upgrade.tick(3.0)
    assert (world.ended, world.upgrade.busy) == ([""], False)


@pytest.mark.parametrize("before", [[], ["ledger"], ["ledger", "web"]])
def test_a_process_that_dies_at_each_start_ends_the_upgrade_before_its_time(before: list[str]) -> None:
    """What comes after it is not touched; what it died of earlier does not count."""
    world = World()
    order = ["ledger", "web", "control"]
    name, *untouched = order[len(before) :]
    world.all[name].deaths = 7
    world.upgrade.begin(0.0)
    world.through(*before)
    for _ in range(TRIES - 1):
        world.all[name].died()
        world.upgrade.tick(1.0)
    assert not world.ended
    world.all[name].died()
    world.upgrade.tick(1.0)
    why = f"{name} ended 3 times before it was up, the last time with exit 1; what comes after it was left as it was"
    assert (world.ended, world.upgrade.fault) == ([why], why)
    assert not any(world.all[other].replaced for other in untouched)
    world.upgrade.tick(READY_WITHIN + 1.0)
    assert len(world.ended) == 1


def test_a_media_process_that_dies_at_each_start_ends_it_too() -> None:
    world = World()
    world.upgrade.begin(0.0)
    world.through("ledger", "web", "control")
    world.new[0].up()
    for _ in range(TRIES):
        world.new[1].died()
    world.upgrade.tick(2.0)
    assert world.ended[0].startswith("media3 ended 3 times")


def test_one_that_hangs_ends_it_after_its_time() -> None:
    world = World()
    world.upgrade.begin(0.0)
    world.through("ledger")
    world.all["web"].pid = 5  # it runs, and gives no sign of life
    world.upgrade.tick(READY_WITHIN + 0.9)
    assert not world.ended
    world.upgrade.tick(READY_WITHIN + 1.0)
    assert world.ended == ["web did not come up within 30 s; what comes after it was left as it was"]
