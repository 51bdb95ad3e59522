"""The ACD on a running event loop: carries out what the router decides, and tells it what came of it.

Theory of operation. All state changes are synchronous: one function call moves router, agent, visit and log together,
so no task can be cancelled between them, and each offer and each stay in a queue gets exactly one terminal event
however caller, agent and timers race. Tasks only wait (for a phone, a key, a prompt) and then make one such call.

A caller who hangs up cancels `enqueue`, which settles everything on its way out. A dial that was given up is
cancelled and left to end by itself; should it answer all the same, its leg is hung up and counts for nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import msgspec

from acd import facts
from acd.agents import Command, In
from acd.destinations import Destinations
from acd.direct import Direct, Ring, Target
from acd.parts import Choice, Onward
from acd.pickup import PickUps
from acd.roster import SOFTPHONE, CommandResult, Roster
from acd.routing.model import (
    Admit,
    AgentProfile,
    Announce,
    Answered,
    CallEnters,
    CallLeaves,
    Decision,
    FlowOut,
    Missed,
    Offer,
    Queue,
    RouterEvent,
    Tick,
    Waiting,
    Withdraw,
)
from acd.routing.router import Router
from acd.talks import Talks
from acd.visit import QueueOutcome, QueueResult, Ringing, StayPlace, Visit, order
from engine.call import Call, Dialled, DialOutcome, Frame, Leg
from events.types import (
    AgentState,
    EndedBy,
    Event,
    OfferResult,
    QueueExit,
    Recorded,
    TransferKind,
    Withdrawal,
)
from kernel.clock import Clock
from kernel.ids import AgentName, CallId, Ids, OfferId, QueueName

Announcer = Callable[[Call, int, float], Sequence[str]]
"""(call, position, expected wait or -1) -> clips in the caller's language; () to stay silent this time."""
Flow = Callable[[Call], Awaitable[None]]
TRANSFERRED = 5
"""Priority of a caller whom an agent sent to another queue, above that queue's own: he has waited once already."""
RING_GRACE = 10.0
"""A dial that has not ended so long after `ring_for` is given up: whatever went wrong below, nobody stays stuck."""


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
        self._emit = emit
        self._now = clock.monotonic
        self._ids = ids
        self._announcer = announcer
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
        self.pick_ups = PickUps(self.roster, self.direct, self.ringing)
        self._visits: dict[CallId, Visit] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self._closing = False
        self._resuming: list[Visit] | None = None
        """Calls that go on, until all of them have come."""

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
                return self._lost(call, place, was)
            visit = self._open(call, queue, place, frame, was)
            await self._settled(visit)
            if visit.talk is None:
                assert visit.result is not None
                return visit.result
            return await self.talks.run(visit.talk)

    def _lost(self, call: Call, place: EnqueuePlace, was: StayPlace | None) -> QueueResult:
        """The queue in which a call waited is no more."""
        if was is not None:
            queue = Queue(name=QueueName(place.queue))
            visit = Visit(call, queue, Waiting(call=call.id, queue=queue.name, queued_at=was.queued_at))
            for rival in was.rivals:
                self.direct.withdrawn(call.id, rival)
            if was.ringing is not None:
                ringing = Ringing(was.ringing.agent, was.ringing.offer, was.ringing.since)
                self._emit(facts.withdrawn(visit, ringing, self._now(), Withdrawal.RESTART))
            self._emit(facts.flowed_out(visit, QueueExit.LOST, self._now()))
            call.queued = False
        return QueueResult(QueueOutcome.LOST)

    async def _settled(self, visit: Visit) -> None:
        try:
            await visit.settled
        except asyncio.CancelledError:
            self._broken(visit, EndedBy.SYSTEM if self._closing else EndedBy.CALLER)
            raise
        except Exception:
            self._broken(visit, EndedBy.SYSTEM)
            raise
        finally:
            self._quiet(visit, Withdrawal.CALLER_GONE)
            del self._visits[visit.call.id]

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
        return self.direct.targets() + [
            Target(visit.call, ringing.agent, ringing.since, True, visit.rivals, partial(self._picked_up, visit))
            for visit in self._visits.values()
            if (ringing := visit.ringing) is not None
        ]

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
        self._resuming = []
        self._tell(*self.roster.resume(agents))

    def resumed(self) -> None:
        """All calls go on now: queues are in order. Whom no call has any more is free."""
        entering, self._resuming = self._resuming or [], None
        waiting = [
            visit
            for visit in entering
            if self._visits.get(visit.call.id) is visit and not visit.over and not visit.settled.done()
        ]  # an agent may have answered while there was no process
        for visit in sorted(waiting, key=lambda visit: visit.waiting.rank):
            agent = visit.ringing.agent if visit.ringing is not None else None
            self._tell(CallEnters(visit.waiting, agent))
        for one in list(self.roster.agents.values()):
            name, state = one.profile.name, one.state
            if state is AgentState.OFFERED and not self._rings(name, one.call):
                self._tell(*self.roster.step(name, In.WITHDRAW))
            elif state is AgentState.ON_CALL and self.talks.of(name) is None and name not in self.direct.callers:
                self._tell(*self.roster.step(name, In.RELEASE, call=one.call))

    def release_offer(self, name: AgentName, call: Call) -> None:
        """An agent was rung for this call by a process before this one, and is no more."""
        agent = self.roster.agents.get(name)
        if agent is not None and agent.state is AgentState.OFFERED and agent.call == call.id:
            self._tell(*self.roster.step(name, In.WITHDRAW))

    def _rings(self, agent: AgentName, call: CallId | None) -> bool:
        visit = self._visits.get(call) if call is not None else None
        return visit is not None and visit.ringing is not None and visit.ringing.agent == agent

    def close(self) -> None:
        """Orderly stop: calls that wait leave their queue (lost). Who talks goes on until his task is cancelled."""
        self._closing = self.talks.closing = True
        for visit in list(self._visits.values()):
            if visit.talk is None and not visit.over:
                self._leave(visit, QueueExit.LOST)
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
                self._carry_out(decision)
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
            self._carry_out(decision)
        self._set_alarm(now)

    def _carry_out(self, decision: Decision) -> None:
        visit = self._visits[decision.call]
        match decision:
            case Admit(_, position):
                if not visit.resumed:
                    self._emit(facts.queued(visit, position))
            case Offer(_, agent, ring_for):
                self._ring(visit, agent, ring_for)
            case Withdraw(_, agent):
                self._agent_gone(visit, agent)
            case Announce(_, position, wait):
                self._announce(visit, position, wait)
            case FlowOut(_, why, _):
                self._flow_out(visit, why)

    # --- a call's way through ---------------------------------------------------------------------------------

    def _open(self, call: Call, queue: Queue, place: EnqueuePlace, frame: Frame, was: StayPlace | None) -> Visit:
        if call.id in self._visits:
            raise ValueError(f"{call.id} is in a queue already")
        waiting = Waiting(
            call=call.id,
            queue=queue.name,
            skills=place.skills,
            priority=queue.priority + place.priority,
            queued_at=self._now() if was is None else was.queued_at,
        )
        visit = self._visits[call.id] = Visit(call, queue, waiting)
        visit.resumed = was is not None
        frame.set(visit.place)
        if was is not None and self._resuming is not None:
            self._ring_on(visit, was)
            self._resuming.append(visit)
        else:
            self._tell(CallEnters(waiting))
        if not visit.over:
            call.queued = True
            visit.keys = visit.start(self._listen(visit))
            if queue.music:
                call.start_music(queue.music)
        return visit

    def _ring(self, visit: Visit, agent: AgentName, ring_for: float) -> None:
        ringing = visit.ringing = Ringing(agent, OfferId(self._ids.token(40)), self._now())
        self._emit(facts.offered(visit, ringing, ring_for))
        self.roster.step(agent, In.OFFER, call=visit.call.id)
        ringing.task = visit.start(self._dial(visit, ringing, ring_for))

    def _ring_on(self, visit: Visit, was: StayPlace) -> None:
        """The phone that rings goes on ringing, for what is left of its time. Who wanted to pick it up tries again."""
        for rival in was.rivals:
            self.direct.withdrawn(visit.call.id, rival)
        if was.ringing is None:
            return
        ringing = Ringing(was.ringing.agent, was.ringing.offer, was.ringing.since)
        agent = self.roster.agents.get(ringing.agent)
        if agent is None or agent.state is not AgentState.OFFERED or agent.call != visit.call.id:
            self._emit(facts.withdrawn(visit, ringing, self._now(), Withdrawal.RESTART))
            return
        visit.ringing = ringing
        left = max(0.0, ringing.since + visit.queue.ring_for - self._now())
        ringing.task = visit.start(self._dial(visit, ringing, left))

    async def _dial(self, visit: Visit, ringing: Ringing, ring_for: float) -> None:
        profile = self.roster.agents[ringing.agent].profile
        try:
            async with asyncio.timeout(ring_for + RING_GRACE):
                dialled = await visit.call.dial(order(visit, profile, ring_for))
        except TimeoutError:
            dialled = Dialled(DialOutcome.FAILED, None, 0, self._now() - ringing.since)
        if visit.ringing is ringing:
            visit.ringing = None
            self._dialled(visit, ringing, dialled, self._now() - ringing.since)
        elif dialled.leg is not None:
            dialled.leg.hangup("withdrawn")

    def _dialled(self, visit: Visit, ringing: Ringing, dialled: Dialled, rang: float) -> None:
        if dialled.leg is None:
            result = OfferResult(dialled.outcome.value)
            self._emit(facts.missed(visit, ringing, result, rang))
            self._tell(Missed(visit.call.id), *self.roster.miss(ringing.agent, result))
            return
        self._connected(visit, ringing.agent, ringing.offer, dialled.leg, rang)

    def _picked_up(self, visit: Visit, by: Ring, leg: Leg, rang: float) -> None:
        """Answered by an agent who was not offered it."""
        told = self._withdraw(visit, Withdrawal.PICKED_UP)
        self._connected(visit, by.agent, by.offer, leg, rang)
        self._tell(*told)

    def _connected(self, visit: Visit, agent: AgentName, offer: OfferId, leg: Leg, rang: float) -> None:
        visit.call.queued = False
        visit.talk = self.talks.begin(visit.part(agent, offer, leg), rang, visit.waited(self._now()))
        self._quiet(visit, Withdrawal.ANSWERED)
        visit.settle()
        self._tell(Answered(visit.call.id))

    def _agent_gone(self, visit: Visit, agent: AgentName) -> None:
        """The agent logged out, went not ready or lost the phone while it rang; his state is changed already."""
        ringing = _stop(visit)
        assert ringing is not None
        registered = self.roster.agents[agent].registered
        result = OfferResult.DECLINED if registered else OfferResult.UNREACHABLE
        self._emit(facts.missed(visit, ringing, result, self._now() - ringing.since))

    def _withdraw(self, visit: Visit, why: Withdrawal = Withdrawal.CALLER_GONE) -> list[RouterEvent]:
        """The call goes away. Stop what rings for it; returns what the router should hear of the agent afterwards."""
        ringing = _stop(visit)
        if ringing is None:
            return []
        self._emit(facts.withdrawn(visit, ringing, self._now(), why))
        return self.roster.step(ringing.agent, In.WITHDRAW)

    def _leave(self, visit: Visit, why: QueueExit, digit: str = "") -> None:
        """Out of the queue by an exit key or by our own fault, whatever rings."""
        told = self._withdraw(visit)
        self._flow_out(visit, why, digit)
        self._tell(CallLeaves(visit.call.id), *told)

    def _flow_out(self, visit: Visit, why: QueueExit, digit: str = "") -> None:
        visit.over = True
        visit.call.queued = False
        self._emit(facts.flowed_out(visit, why, self._now()))
        visit.result = QueueResult(QueueOutcome(why.value), digit)
        self._quiet(visit, Withdrawal.CALLER_GONE)
        if visit.queue.music:
            visit.call.stop_music()
        visit.settle()

    def _broken(self, visit: Visit, by: EndedBy) -> None:
        """`enqueue` ends by an exception: the caller hung up (or we stop), or a fault of ours."""
        if visit.over:
            return  # left the queue in the same moment: that stands
        now = self._now()
        if visit.talk is not None:  # gone between the answer and the bridge
            visit.over = True
            self.talks.broken(visit.talk, by)
            visit.talk.part.leg.hangup()
        elif by is EndedBy.SYSTEM:
            self._leave(visit, QueueExit.LOST)
        else:
            place = self.router.place(visit.call.id)
            told = self._withdraw(visit)
            visit.over = True
            self._emit(facts.abandoned(visit, place[0] if place is not None else 0, now))
            self._tell(CallLeaves(visit.call.id), *told)

    def _quiet(self, visit: Visit, why: Withdrawal) -> None:
        """The call waits no more: nothing of the waiting goes on, nor does anybody's wish to pick it up."""
        visit.quiet()
        for ring in visit.rivals:
            self.direct.withdraw(ring, why)

    # --- what the caller hears and presses --------------------------------------------------------------------

    def _announce(self, visit: Visit, position: int, wait: float) -> None:
        """Beside everything else: it holds up no offer, and an answer cuts it short."""
        if visit.announcing is not None and not visit.announcing.done():
            return
        clips = self._announcer(visit.call, position, wait)
        if clips:
            self._emit(facts.announced(visit, position, wait))
            visit.announcing = visit.start(self._play(visit, clips))

    async def _play(self, visit: Visit, clips: Sequence[str]) -> None:
        await visit.call.play(clips, barge_in=True)

    async def _listen(self, visit: Visit) -> None:
        """Take every key, so that none is left over for the flow; an exit key leaves the queue."""
        while True:
            digit = await visit.call.next_digit()
            if digit in visit.queue.exit_keys and not visit.settled.done():
                visit.keys = None
                self._leave(visit, QueueExit.KEY, digit)
                return


def _stop(visit: Visit) -> Ringing | None:
    """Give up the dial, if one is on."""
    ringing, visit.ringing = visit.ringing, None
    if ringing is not None and ringing.task is not None:
        ringing.task.cancel()
    return ringing


def _place(onward: Onward) -> EnqueuePlace:
    if onward.queue is None:
        return EnqueuePlace("", flow=onward.flow)
    return EnqueuePlace(onward.queue.name, priority=TRANSFERRED)
