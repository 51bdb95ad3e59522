"""The production router over simulated days."""

import random

import pytest

from acd.simulate import Demand, Simulation
from kernel.ids import QueueName
from tests.unit.acd.world import agent, queue

Q, R = QueueName("q"), QueueName("r")


def test_a_plain_queue_waits_as_erlang_c_says() -> None:
    """1 000 calls an hour of 120 s with 36 agents: SL15 60.46 %, ASA 24.83 s (field/kpi.md). 60 hours, one seed."""
    site = [queue("q", max_calls=10**6, announce_first=None)]
    demand = Demand(queue=Q, per_hour=1000, handle=120)
    agents = [agent(f"a{number:02}") for number in range(36)]
    tally = Simulation(site, agents, [demand], hours=60, chance=random.Random(7)).run()[Q]
    assert tally.offered == tally.answered
    assert tally.within(15.0) == pytest.approx(0.6046, abs=0.05)
    assert tally.asa() == pytest.approx(24.83, rel=0.25)


def test_every_call_of_a_day_has_one_outcome_and_seeds_repeat() -> None:
    def day(seed: int) -> list[tuple[int, int, int, int]]:
        site = [
            queue("q", skills={"a": 1}, max_wait=120.0, max_calls=30, overflow_after=20.0, overflow_queues=(R,)),
            queue("r", skills={"b": 1}, max_wait=300.0),
        ]
        demands = [
            Demand(queue=Q, per_hour=300, handle=180, patience=90.0),
            Demand(queue=R, per_hour=100, handle=60, patience=30.0),
        ]
        agents = [agent(f"a{number}", a=1 + number % 3, b=number % 2) for number in range(14)]
        tallies = Simulation(site, agents, demands, hours=8, chance=random.Random(seed)).run().values()
        return [(one.offered, one.answered, one.abandoned, one.flowed_out) for one in tallies]

    for offered, answered, abandoned, flowed_out in day(3):
        assert offered == answered + abandoned + flowed_out
        assert min(answered, abandoned) > 0
    assert day(3) == day(3) != day(4)
