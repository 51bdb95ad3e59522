"""Routing decisions at scale: `python -m bench.routing` prints one JSON line.

10 000 agents with 1-8 of 50 skills at random levels, 5 000 calls waiting in 50 queues that require one or two skills.
Steady state: each round one agent finishes (and takes the best call he may) and one call arrives; a second phase has
agents idle instead of calls waiting, so that each arrival chooses among thousands. Every `Router.step` is timed.
"""

import json
import random
import resource
import time

from acd.routing.model import (
    AgentFree,
    AgentProfile,
    Answered,
    CallEnters,
    Decision,
    Offer,
    Queue,
    RouterEvent,
    Waiting,
)
from acd.routing.router import Router
from kernel.ids import AgentName, CallId, QueueName

AGENTS, WAITING, SKILLS, ROUNDS = 10_000, 5_000, 50, 10_000
NOW = 10_000.0


def site(chance: random.Random) -> Router:
    skills = [f"s{number}" for number in range(SKILLS)]
    queues = [
        Queue(
            name=QueueName(f"q{number}"),
            skills={skill: chance.randint(1, 5) for skill in chance.sample(skills, chance.choice([1, 1, 2]))},
            max_calls=10**6,
            wait_unstaffed=True,
        )
        for number in range(SKILLS)
    ]
    agents = [
        AgentProfile(
            name=AgentName(f"agent{number:05}"),
            aor=str(number),
            skills={skill: chance.randint(1, 10) for skill in chance.sample(skills, chance.randint(1, 8))},
        )
        for number in range(AGENTS)
    ]
    return Router(queues, agents)


class Load:
    """Steps a router, and times each step."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.router = site(self.chance)
        self.queues = list(self.router.queues)
        self.agents = list(self.router.agents)
        self.chance.shuffle(self.agents)
        self.now = NOW
        self.calls = 0
        self.offers = 0
        self.times: list[int] = []

    def step(self, event: RouterEvent) -> list[Decision]:
        self.now += 0.0002
        start = time.perf_counter_ns()
        decisions = self.router.step(event, self.now)
        self.times.append(time.perf_counter_ns() - start)
        for decision in decisions:
            if isinstance(decision, Offer):
                self.offers += 1
                self.step(Answered(decision.call))
        return decisions

    def arrive(self) -> None:
        self.calls += 1
        waiting = Waiting(
            call=CallId(f"c{self.calls:07}"),
            queue=self.chance.choice(self.queues),
            priority=self.chance.choice([0, 0, 0, 1, 3]),
            queued_at=self.now,
        )
        self.step(CallEnters(waiting))

    def finish(self) -> None:
        agent = self.agents[self.chance.randrange(len(self.agents))]
        self.step(AgentFree(agent, self.now))


def measure(seed: int) -> dict[str, float]:
    load = Load(seed)
    while sum(load.router.depth(queue) for queue in load.queues) < WAITING:
        load.arrive()
    load.times.clear()
    load.offers = 0
    start = time.perf_counter()
    for _ in range(ROUNDS):
        load.finish()
        load.arrive()
    busy = summary(load, time.perf_counter() - start)
    for agent in load.agents:  # everyone finishes: the queues drain, and thousands are idle
        load.step(AgentFree(agent, load.now))
    load.times.clear()
    load.offers = 0
    start = time.perf_counter()
    for _ in range(ROUNDS):
        load.arrive()
        load.finish()
    quiet = summary(load, time.perf_counter() - start)
    return {f"busy_{key}": value for key, value in busy.items()} | {
        f"idle_{key}": value for key, value in quiet.items()
    }


def summary(load: Load, elapsed: float) -> dict[str, float]:
    times = sorted(load.times)
    return {
        "p50_ms": round(times[len(times) // 2] / 1e6, 4),
        "p99_ms": round(times[int(len(times) * 0.99)] / 1e6, 4),
        "max_ms": round(times[-1] / 1e6, 3),
        "steps_per_s": round(len(times) / elapsed),
        "offers_per_s": round(load.offers / elapsed),
    }


def main() -> None:
    runs = [measure(seed) for seed in (1, 2, 3)]
    worst = max(max(run["busy_p99_ms"], run["idle_p99_ms"]) for run in runs)
    conditions = {
        "agents": AGENTS,
        "waiting": WAITING,
        "skills": SKILLS,
        "queues": SKILLS,
        "rounds": ROUNDS,
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    figure = {
        "name": "routing_decision_p99",
        "value": worst,
        "unit": "ms",
        "target": "< 1",
        "conditions": conditions,
        "runs": runs,
    }
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
