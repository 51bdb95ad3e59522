"""A synthetic day on the production router: callers who lose patience, agents who talk and wrap up.

Pure but for the given source of chance; the same arguments and seed give the same day. Agents answer at once.
"""

import heapq
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from acd.routing.model import (
    AgentFree,
    AgentProfile,
    Answered,
    CallEnters,
    CallLeaves,
    FlowOut,
    Handled,
    Offer,
    Queue,
    RouterEvent,
    Tick,
    Waiting,
)
from acd.routing.router import Router
from kernel.ids import AgentName, CallId, QueueName


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Poisson arrivals for one queue; handling time and patience are exponential with these means."""

    queue: QueueName
    per_hour: float
    handle: float
    """Seconds of talk and wrap-up."""
    patience: float | None = None
    """None: nobody hangs up."""


@dataclass(slots=True)
class Tally:
    """Offered = answered + abandoned + flowed_out, once the day is over."""

    offered: int = 0
    answered: int = 0
    abandoned: int = 0
    flowed_out: int = 0
    waits: list[float] = field(default_factory=list)
    """Of answered calls, in order of answer."""

    def asa(self) -> float:
        """Average speed of answer; 0 when nothing was answered."""
        return sum(self.waits) / len(self.waits) if self.waits else 0.0

    def within(self, seconds: float) -> float:
        """Share of all offered calls that were answered within so long (SL-3 with flow-outs in the denominator)."""
        return sum(wait <= seconds for wait in self.waits) / self.offered if self.offered else 0.0


class Simulation:
    """Call `run` once."""

    def __init__(
        self,
        queues: Iterable[Queue],
        agents: Sequence[AgentProfile],
        demands: Sequence[Demand],
        *,
        hours: float,
        chance: random.Random,
    ) -> None:
        self.router = Router(queues, agents)
        self.tallies = {name: Tally() for name in self.router.queues}
        self._agents = agents
        self._demands = {demand.queue: demand for demand in demands}
        self._end = hours * 3600.0
        self._chance = chance
        self._todo: list[tuple[float, int, RouterEvent | Demand]] = []
        self._serial = 0
        self._calls: dict[CallId, Waiting] = {}

    def run(self) -> dict[QueueName, Tally]:
        """Play the day until nothing more can happen. Announcements need an end: give queues `max_wait` or callers
        patience."""
        for agent in self._agents:
            self._step(AgentFree(agent.name, 0.0), 0.0)
        for demand in self._demands.values():
            self._next_arrival(demand, 0.0)
        while self._todo or self.router.deadline is not None:
            deadline = self.router.deadline
            if deadline is not None and (not self._todo or deadline <= self._todo[0][0]):
                self._step(Tick(), deadline)
            else:
                self._happen(*heapq.heappop(self._todo))
        return self.tallies

    def _happen(self, now: float, _: int, event: RouterEvent | Demand) -> None:
        if isinstance(event, Demand):
            self._arrive(event, now)
            self._next_arrival(event, now)
        elif not isinstance(event, CallLeaves):
            self._step(event, now)
        elif event.call in self._calls:
            self.tallies[self._calls.pop(event.call).queue].abandoned += 1
            self._step(event, now)

    def _at(self, when: float, what: RouterEvent | Demand) -> None:
        self._serial += 1
        heapq.heappush(self._todo, (when, self._serial, what))

    def _next_arrival(self, demand: Demand, now: float) -> None:
        when = now + self._chance.expovariate(demand.per_hour / 3600.0)
        if when < self._end:
            self._at(when, demand)

    def _arrive(self, demand: Demand, now: float) -> None:
        call = CallId(f"{self._serial:09}")
        waiting = self._calls[call] = Waiting(call=call, queue=demand.queue, queued_at=now)
        self.tallies[demand.queue].offered += 1
        self._step(CallEnters(waiting), now)
        if demand.patience is not None and call in self._calls:
            self._at(now + self._chance.expovariate(1.0 / demand.patience), CallLeaves(call))

    def _step(self, event: RouterEvent, now: float) -> None:
        for decision in self.router.step(event, now):
            if isinstance(decision, Offer):
                self._serve(decision.call, decision.agent, now)
            elif isinstance(decision, FlowOut):
                self.tallies[self._calls.pop(decision.call).queue].flowed_out += 1

    def _serve(self, call: CallId, agent: AgentName, now: float) -> None:
        waiting = self._calls.pop(call)
        tally = self.tallies[waiting.queue]
        tally.answered += 1
        tally.waits.append(now - waiting.queued_at)
        handle = self._chance.expovariate(1.0 / self._demands[waiting.queue].handle)
        self._step(Answered(call), now)
        self._at(now + handle, AgentFree(agent, now + handle))
        self._step(Handled(waiting.queue, handle), now)
