"""The ACD on a running event loop: carries out what the router decides, and tells it what came of it.

Theory of operation. All state changes are synchronous: one function call moves router, agent, visit and log together,
so no task can be cancelled between them, and each offer and each stay in a queue gets exactly one terminal event
however caller, agent and timers race. Tasks only wait (for a phone, a key, a prompt) and then make one such call.

A caller who hangs up cancels `enqueue`, which settles everything on its way out. A dial that was given up is
cancelled and left to end by itself; should it answer all the same, its leg is hung up and counts for nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from acd.agents import Command, In
from acd.destinations import Destinations
from acd.direct import Direct, Target
from acd.parts import Choice, Onward
from acd.pickup import PickUps
from acd.roster import SOFTPHONE, CommandResult, Roster
from acd.routing.model import (
    AgentProfile,
    Queue,
    RouterEvent,
    Tick,
    Waiting,
)
from acd.routing.router import Router
from acd.talks import Talks
from acd.visit import QueueOutcome, QueueResult, StayPlace
from acd.visits import Announcer, Visits
from engine.call import Call, Frame
from events.types import (
    AgentState,
    Event,
    Recorded,
    TransferKind,
)
from kernel.clock import Clock
from kernel.ids import AgentName, CallId, Ids, QueueName

Flow = Callable[[Call], Awaitable[None]]
TRANSFERRED = 5
"""Priority of a caller whom an agent sent to another queue, above that queue's own: he has waited once already."""


async def _nowhere(call: Call) -> None:
    """The call goes on behind its queue."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Where the numbers of the dialplan lead."""

    by_number: Mapping[str, Flow]
    removed: Flow = _nowhere
    """Takes up a call that a process before this one had there, when the number leads nowhere any more."""

    def of(self, number: str) -> Flow:
        return self.by_number.get(number, self.removed)


NO_FLOWS = Flows(MappingProxyType({}))


class EnqueuePlace(msgspec.Struct, omit_defaults=True):
    """The queue that a call is in, or the flow after it, as it is saved."""

    queue: str
    skills: dict[str, int] = {}
    priority: int = 0
    """Besides the queue's own."""
    flow: str = ""

    def again(self) -> "EnqueuePlace":
        return self


class AcdService:
    """One for a site. Make it, and call it, on the event loop. `emit` journals, and may not block."""

    def __init__(
        self,
        queues: Iterable[Queue],
        agents: Iterable[AgentProfile],
        *,
        emit: Callable[[Event], None],
        clock: Clock,
        ids: Ids,
        announcer: Announcer = lambda call, position, wait: (),
        flows: Flows = NO_FLOWS,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """wake: let what has changed be saved, though no event tells of it."""
        profiles = list(agents)
        self.router = Router(queues, profiles)
        self.roster = Roster(profiles, emit=emit, clock=clock, expired=self._agent_expired, wake=wake)
        self._now = clock.monotonic
        self._flows = flows
        self.destinations = Destinations(self.roster, self.router, flows.by_number)
        self.direct = Direct(self.roster, emit=emit, now=clock.monotonic, ids=ids, tell=self._tell)
        self.talks = Talks(
            self.roster,
            self.destinations,
            self.direct,
            emit=emit,
            now=clock.monotonic,
            tell=self._tell,
            refuses=lambda queue: self.router.refuses(queue.name, self._now()),
        )
        self._visits = Visits(
            self.router,
            self.roster,
            self.direct,
            self.talks,
            emit=emit,
            now=clock.monotonic,
            announcer=announcer,
            tell=self._tell,
        )
        self.pick_ups = PickUps(self.roster, self.direct, self.ringing)
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self._closing = False

    # --- what the flow calls ----------------------------------------------------------------------------------

    async def enqueue(
        self, call: Call, queue: str, *, skills: Mapping[str, int] | None = None, priority: int = 0
    ) -> QueueResult:
        """Wait in a queue and talk to an agent; returns when the talk is over or the call leaves the queue.

        skills: required besides the queue's own, skill -> lowest level. Raises KeyError for an unknown queue,
        ValueError for a call that is in a queue; CancelledError passes when the caller hangs up."""
        return await self._go(call, EnqueuePlace(queue, dict(skills or {}), priority))

    async def follow(self, call: Call, onward: Onward) -> QueueResult:
        """Where an agent sent the caller, and on from there."""
        return await self._go(call, _place(onward))

    async def go_on(self, call: Call) -> bool:
        """Whoever put a call into a queue is no more (a flow was changed): go on with what a process before this one
        began, and return at its end. False: nothing had begun."""
        with call.frame("enqueue") as frame:
            place = frame.was(EnqueuePlace)
            if place is not None:
                await self._queues(call, place, frame)
            return place is not None

    async def _go(self, call: Call, place: EnqueuePlace) -> QueueResult:
        with call.frame("enqueue") as frame:
            was = frame.was(EnqueuePlace)
            if was is None and place.queue and place.queue not in self.router.queues:
                raise KeyError(place.queue)
            return await self._queues(call, was or place, frame)

    async def _queues(self, call: Call, place: EnqueuePlace, frame: Frame) -> QueueResult:
        while place.queue:
            frame.set(place.again)
            stayed = await self._stay(call, place)
            if isinstance(stayed, QueueResult):
                return stayed
            place = _place(stayed)
        frame.set(place.again)
        if place.flow:
            await self._flows.of(place.flow)(call)
        return QueueResult(QueueOutcome.SERVED)

    async def _stay(self, call: Call, place: EnqueuePlace) -> QueueResult | Onward:
        """One queue, and the talks that it leads to."""
        with call.frame("stay") as frame:
            was = frame.was(StayPlace)
            if was is not None and was.outcome:
                return QueueResult(QueueOutcome(was.outcome), was.digit)
            if was is not None and was.talk is not None:
                return await self.talks.resume(call, was.talk)
            queue = self.router.queues.get(QueueName(place.queue))
            if queue is None:  # it was taken out of the site meanwhile
                if was is not None:
                    self._visits.lost(call, QueueName(place.queue), was)
                return QueueResult(QueueOutcome.LOST)
            waiting = Waiting(
                call=call.id,
                queue=queue.name,
                skills=place.skills,
                priority=queue.priority + place.priority,
                queued_at=self._now() if was is None else was.queued_at,
            )
            visit = self._visits.open(call, queue, waiting, frame, was)
            await self._visits.settled(visit)
            if visit.talk is None:
                assert visit.result is not None
                return visit.result
            return await self.talks.run(visit.talk)

    # --- what agents and phones do ----------------------------------------------------------------------------

    def agent_command(self, agent: str, command: str, reason: str = "", via: str = "api") -> CommandResult:
        """command: login | logout | ready | not_ready. Raises ValueError for another; a refusal is a value.

        During a call, logout and not_ready are kept until its end; while a phone rings they take the call off it."""
        result, told = self.roster.command(agent, Command(command), reason, via)
        self._tell(*told)
        return result

    def transfer(self, agent: str, to: str, *, consult: bool) -> str:
        """Pass on the caller whom an agent talks to: at once, or after the agent has talked to whoever is to take him
        (then `decide`). to: see Destinations.find. Returns why not, "" when it is begun."""
        return self.talks.ask(AgentName(agent), to, TransferKind.ATTENDED if consult else TransferKind.BLIND)

    def decide(self, agent: str, what: Choice) -> str:
        """How an agent's consultation goes on: hand the caller over, take him back, or talk all three. Returns why
        not, "" when done."""
        return self.talks.decide(AgentName(agent), what)

    def ringing(self) -> list[Target]:
        """What rings at agents' phones."""
        return self.direct.targets() + self._visits.targets()

    def phone_registered(self, aor: str) -> None:
        """A phone registered or refreshed (both: a refresh proves a phone alive that did not answer its INVITE)."""
        self._phone(aor, True)

    def phone_unregistered(self, aor: str) -> None:
        """The last binding of this address is gone."""
        self._phone(aor, False)

    def trunk_changed(self, trunk: str, up: bool) -> None:
        """Agents on telephones can be reached while a trunk to them is up."""
        for agent in list(self.roster.agents.values()):
            if trunk in agent.profile.trunks:
                self._tell(*self.roster.way(agent.profile.name, trunk, up))

    def restore(self, records: Iterable[Recorded]) -> None:
        """Take up the agents' states from the log, once, before the first call."""
        self._tell(*self.roster.restore(records))

    def resume(self, agents: Mapping[str, bytes]) -> None:
        """Go on with what a process before this one saved of its agents (`roster.save`), before its calls go on.

        Calls that enter then are kept until `resumed`, so that each has the place in its queue that it had."""
        self._visits.resume()
        self._tell(*self.roster.resume(agents))

    def resumed(self) -> None:
        """All calls go on now: queues are in order. Whom no call has any more is free."""
        self._visits.resumed()
        for one in list(self.roster.agents.values()):
            name, state = one.profile.name, one.state
            if state is AgentState.OFFERED and not self._rings(name, one.call):
                self._tell(*self.roster.step(name, In.WITHDRAW))
            elif state is AgentState.ON_CALL and not self._talks(name):
                self._tell(*self.roster.step(name, In.RELEASE, call=one.call))

    def release_offer(self, name: AgentName, call: Call) -> None:
        """An agent was rung for this call by a process before this one, and is no more."""
        agent = self.roster.agents.get(name)
        if agent is not None and agent.state is AgentState.OFFERED and agent.call == call.id:
            self._tell(*self.roster.step(name, In.WITHDRAW))

    def _rings(self, agent: AgentName, call: CallId | None) -> bool:
        visit = self._visits.get(call) if call is not None else None
        if visit is not None and visit.ringing is not None and visit.ringing.agent == agent:
            return True
        return any(ring.agent == agent and ring.call.id == call for ring in self.direct.rings)

    def _talks(self, agent: AgentName) -> bool:
        """To a caller, or to a colleague."""
        direct = self.direct
        return self.talks.of(agent) is not None or agent in direct.callers or agent in direct.consulted

    def close(self) -> None:
        """Orderly stop: calls that wait leave their queue (lost). Who talks goes on until his task is cancelled."""
        self._closing = self.talks.closing = True
        self._visits.close()
        if self._alarm is not None:
            self._alarm.cancel()
        self.roster.close()

    def _phone(self, aor: str, there: bool) -> None:
        agent = self.roster.of_phone(aor)
        if agent is not None:
            self._tell(*self.roster.way(agent.profile.name, SOFTPHONE, there))

    def _agent_expired(self, name: AgentName) -> None:
        self._tell(*self.roster.step(name, In.EXPIRE))

    # --- the router -------------------------------------------------------------------------------------------

    def _tell(self, *events: RouterEvent) -> None:
        now = self._now()
        for event in events:
            for decision in self.router.step(event, now):
                self._visits.carry_out(decision)
        self._set_alarm(now)

    def _set_alarm(self, now: float) -> None:
        deadline = self.router.deadline
        if deadline == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, deadline
        if deadline is not None and not self._closing:
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, deadline - now), self._tick)

    def _tick(self) -> None:
        """A timer may fire up to the loop's resolution early; what was due at `_alarm_at` is due now."""
        now = max(self._now(), self._alarm_at or 0.0)
        self._alarm_at = None
        for decision in self.router.step(Tick(), now):
            self._visits.carry_out(decision)
        self._set_alarm(now)


def _place(onward: Onward) -> EnqueuePlace:
    if onward.queue is None:
        return EnqueuePlace("", flow=onward.flow)
    return EnqueuePlace(onward.queue.name, priority=TRANSFERRED)
