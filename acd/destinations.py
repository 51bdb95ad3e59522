"""Whom an agent can call, and whom a caller can be transferred to: one set of names for both."""

from collections.abc import Container
from dataclasses import dataclass

from acd.roster import Roster
from acd.routing.model import Queue
from acd.routing.router import Router
from events.types import TransferTarget
from kernel.ids import AgentName, QueueName


@dataclass(frozen=True, slots=True)
class ToAgent:
    name: AgentName
    kind = TransferTarget.AGENT


@dataclass(frozen=True, slots=True)
class ToQueue:
    queue: Queue
    kind = TransferTarget.QUEUE

    @property
    def name(self) -> str:
        return self.queue.name


@dataclass(frozen=True, slots=True)
class ToFlow:
    name: str
    """The number that is mapped to it."""
    kind = TransferTarget.FLOW


Destination = ToAgent | ToQueue | ToFlow


class Destinations:
    """flows: the numbers that callers dial."""

    def __init__(self, roster: Roster, router: Router, flows: Container[str]) -> None:
        self._roster = roster
        self.queues = router.queues
        self._flows = flows

    def find(self, number: str) -> Destination | None:
        """By an agent's phone (`8002`) or name, a queue's name, or a number of the dialplan. Nothing outside the site
        can be reached so."""
        agent = self._roster.of_phone(number) or self._roster.agents.get(AgentName(number))
        if agent is not None:
            return ToAgent(agent.profile.name)
        queue = self.queues.get(QueueName(number))
        if queue is not None:
            return ToQueue(queue)
        return ToFlow(number) if number in self._flows else None
