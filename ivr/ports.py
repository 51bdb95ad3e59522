"""What a flow needs of the world besides its call; wiring gives the real things, testing.py the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.call import Call
from events.types import Event
from ivr.hours import Calendar
from ivr.prompts import PromptBook
from kernel.clock import Clock

QueueOutcome = Literal["served", "timeout", "full", "no_agents", "key", "lost"]


class QueueEnd(Protocol):
    """How a stay in a queue ended, the caller's hang-up apart (which cancels the task)."""

    @property
    def outcome(self) -> str:
        """A QueueOutcome."""

    @property
    def digit(self) -> str:
        """The exit key, with outcome `key`."""


@dataclass(frozen=True, slots=True)
class QueueResult:
    """The plain QueueEnd."""

    outcome: QueueOutcome
    digit: str = ""


class QueuePort(Protocol):
    async def enqueue(self, call: Call, queue: str, *, skills: dict[str, int], priority: int) -> QueueEnd:
        """Wait in a queue and talk to an agent; returns when the talk is over or the call leaves the queue.

        skills: required besides the queue's own, skill → lowest level."""

    async def go_on(self, call: Call) -> bool:
        """Go on with a stay that a process before this one began for a node that is no more, and return at its end.
        False: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    emit: Callable[[Event], None]
    queue: QueuePort
    clock: Clock
    prompts: PromptBook
    calendars: Mapping[str, Calendar]
