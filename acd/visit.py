"""One call's stay in one queue: what it waits for, what rings for it, how it ended. State only; visits.py moves it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from acd.direct import Ring, RingPlace
from acd.parts import Part, Talk, TalkPlace
from acd.routing.model import AgentProfile, Queue, Waiting
from engine.call import Call, Dial, Leg
from kernel.ids import AgentName, OfferId

DISPLAY_MAX = 64


class QueueOutcome(StrEnum):
    """The words of the IVR's `enqueue` edges."""

    SERVED = "served"
    TIMEOUT = "timeout"
    FULL = "full"
    NO_AGENTS = "no_agents"
    KEY = "key"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class QueueResult:
    outcome: QueueOutcome
    digit: str = ""
    """The exit key, with outcome KEY."""


class StayPlace(msgspec.Struct, omit_defaults=True):
    """A call's stay in a queue as it is saved: it waits, or a phone rings for it, or it is in a talk, or out."""

    queued_at: float
    ringing: RingPlace | None = None
    talk: TalkPlace | None = None
    rivals: list[RingPlace] = []
    """Of which the log has heard."""
    outcome: str = ""
    """Of its QueueResult."""
    digit: str = ""


@dataclass(slots=True)
class Ringing:
    agent: AgentName
    offer: OfferId
    since: float
    task: "asyncio.Task[None] | None" = None

    def place(self) -> RingPlace:
        """For whoever goes on with it."""
        return RingPlace(self.agent, self.offer, self.since)


class Visit:
    """`settled` resolves once: an agent answered (`talk` is set) or the call left the queue (`result` is)."""

    __slots__ = (
        "announcing",
        "call",
        "keys",
        "over",
        "queue",
        "result",
        "resumed",
        "ringing",
        "rivals",
        "settled",
        "talk",
        "tasks",
        "waiting",
    )

    def __init__(self, call: Call, queue: Queue, waiting: Waiting) -> None:
        self.call = call
        self.queue = queue
        self.waiting = waiting
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ringing: Ringing | None = None
        self.rivals: list[Ring] = []
        """Rung for those who want to pick it up."""
        self.talk: Talk | None = None
        self.result: QueueResult | None = None
        self.resumed = False
        """It goes on from a process before this one: what it said is in the log."""
        self.over = False
        """Its terminal event is in the log; nothing may follow."""
        self.announcing: asyncio.Task[None] | None = None
        self.keys: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    def place(self) -> StayPlace:
        """For whoever goes on with it."""
        ringing, result = self.ringing, self.result
        return StayPlace(
            self.waiting.queued_at,
            None if ringing is None else ringing.place(),
            None if self.talk is None else self.talk.place(),
            [ring.place() for ring in self.rivals if ring.told and not ring.over],
            "" if result is None else result.outcome,
            "" if result is None else result.digit,
        )

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a part of the visit beside it. A part that fails takes the call down: `settled` raises its error."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self.settled.done():
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"after call {self.call.id} was settled", "exception": error, "task": task}
            )
        else:
            self.settle(error)

    def settle(self, error: BaseException | None = None) -> None:
        if self.settled.done():
            return
        if error is None:
            self.settled.set_result(None)
        else:
            self.settled.set_exception(error)

    def part(self, agent: AgentName, offer: OfferId, leg: Leg) -> Part:
        """Of the agent who answered."""
        return Part(
            call=self.call,
            agent=agent,
            offer=offer,
            leg=leg,
            queue=self.queue,
            home=self.queue,
            record=self.queue.record,
        )

    def waited(self, now: float) -> float:
        """Seconds from entry into the queue."""
        return round(now - self.waiting.queued_at, 3)

    def quiet(self) -> None:
        """Stop telling the position and listening for keys; neither may outlive the wait."""
        for task in (self.announcing, self.keys):
            if task is not None:
                task.cancel()
        self.announcing = self.keys = None


def order(visit: Visit, agent: AgentProfile, ring_for: float) -> Dial:
    """What the agent's phone is told: beside the caller's number, the caller's choice and name."""
    attributes = visit.call.attributes
    words = (attributes.get("choice") or visit.queue.label or visit.queue.name, visit.call.caller_name)
    text = " · ".join("".join(c for c in word if c.isprintable()).strip() for word in words if word)
    return Dial(aor=agent.aor, display=text[:DISPLAY_MAX], ring_for=ring_for, number=agent.phone, trunks=agent.trunks)
