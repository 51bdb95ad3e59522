"""The calls in queues: each offer and each stay is carried out here, as the router decides, and told to it and to the
log. For how that goes together see service.py."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from acd import facts
from acd.agents import In
from acd.direct import RING_GRACE, Direct, Ring, Target
from acd.roster import Roster
from acd.routing.model import (
    Admit,
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
    Waiting,
    Withdraw,
)
from acd.routing.router import Router
from acd.talks import Talks
from acd.visit import QueueOutcome, QueueResult, Ringing, StayPlace, Visit, order
from engine.call import Call, Dialled, DialOutcome, Frame, Leg
from events.types import AgentState, EndedBy, Event, OfferResult, QueueExit, Withdrawal
from kernel.ids import AgentName, CallId, OfferId, QueueName

Announcer = Callable[[Call, int, float], Sequence[str]]
"""(call, position, expected wait or -1) -> clips in the caller's language; () to stay silent this time."""


class Visits:
    """`tell` gives the router what it should hear."""

    def __init__(
        self,
        router: Router,
        roster: Roster,
        direct: Direct,
        talks: Talks,
        *,
        emit: Callable[[Event], None],
        now: Callable[[], float],
        announcer: Announcer,
        tell: Callable[..., None],
    ) -> None:
        self._router = router
        self._roster = roster
        self._direct = direct
        self._talks = talks
        self._emit = emit
        self._now = now
        self._announcer = announcer
        self._tell = tell
        self._visits: dict[CallId, Visit] = {}
        self._closing = False
        self._resuming: list[Visit] | None = None
        """Calls that go on, until all of them have come."""

    def get(self, call: CallId) -> Visit | None:
        return self._visits.get(call)

    def targets(self) -> list[Target]:
        """What rings for them."""
        return [
            Target(visit.call, ringing.agent, ringing.since, True, visit.rivals, partial(self._picked_up, visit))
            for visit in self._visits.values()
            if (ringing := visit.ringing) is not None
        ]

    def close(self) -> None:
        """Who waits leaves his queue (lost)."""
        self._closing = True
        for visit in list(self._visits.values()):
            if visit.talk is None and not visit.over:
                self._leave(visit, QueueExit.LOST)

    def resume(self) -> None:
        """Calls that enter from now are kept until `resumed`."""
        self._resuming = []

    def resumed(self) -> None:
        """They enter their queues, in the order that they had."""
        entering, self._resuming = self._resuming or [], None
        waiting = [
            visit
            for visit in entering
            if self._visits.get(visit.call.id) is visit and not visit.over and not visit.settled.done()
        ]  # an agent may have answered while there was no process
        for visit in sorted(waiting, key=lambda visit: visit.waiting.rank):
            agent = visit.ringing.agent if visit.ringing is not None else None
            self._tell(CallEnters(visit.waiting, agent))

    def lost(self, call: Call, name: QueueName, was: StayPlace) -> None:
        """The queue in which a call waited is no more."""
        queue = Queue(name=name)
        visit = Visit(call, queue, Waiting(call=call.id, queue=queue.name, queued_at=was.queued_at))
        for rival in was.rivals:
            self._direct.withdrawn(call.id, rival)
        if was.ringing is not None:
            ringing = Ringing(was.ringing.agent, was.ringing.offer, was.ringing.since)
            self._emit(facts.withdrawn(visit, ringing, self._now(), Withdrawal.RESTART))
        self._emit(facts.flowed_out(visit, QueueExit.LOST, self._now()))
        call.queued = False

    async def settled(self, visit: Visit) -> None:
        """Returns when an agent has answered or the call has left; whatever else ends it is settled here."""
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

    def open(self, call: Call, queue: Queue, waiting: Waiting, frame: Frame, was: StayPlace | None) -> Visit:
        """It waits from now, or goes on as it `was`. Raises ValueError when the call is in a queue."""
        if call.id in self._visits:
            raise ValueError(f"{call.id} is in a queue already")
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

    def carry_out(self, decision: Decision) -> None:
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

    def _ring(self, visit: Visit, agent: AgentName, ring_for: float) -> None:
        ringing = visit.ringing = Ringing(agent, self._direct.new_offer(), self._now())
        self._emit(facts.offered(visit, ringing, ring_for))
        self._roster.step(agent, In.OFFER, call=visit.call.id)
        ringing.task = visit.start(self._dial(visit, ringing, ring_for))

    def _ring_on(self, visit: Visit, was: StayPlace) -> None:
        """The phone that rings goes on ringing, for what is left of its time. Who wanted to pick it up tries again."""
        for rival in was.rivals:
            self._direct.withdrawn(visit.call.id, rival)
        if was.ringing is None:
            return
        ringing = Ringing(was.ringing.agent, was.ringing.offer, was.ringing.since)
        agent = self._roster.agents.get(ringing.agent)
        if agent is None or agent.state is not AgentState.OFFERED or agent.call != visit.call.id:
            self._emit(facts.withdrawn(visit, ringing, self._now(), Withdrawal.RESTART))
            return
        visit.ringing = ringing
        left = max(0.0, ringing.since + visit.queue.ring_for - self._now())
        ringing.task = visit.start(self._dial(visit, ringing, left))

    async def _dial(self, visit: Visit, ringing: Ringing, ring_for: float) -> None:
        profile = self._roster.agents[ringing.agent].profile
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
            self._tell(Missed(visit.call.id), *self._roster.miss(ringing.agent, result))
            return
        self._connected(visit, ringing.agent, ringing.offer, dialled.leg, rang)

    def _picked_up(self, visit: Visit, by: Ring, leg: Leg, rang: float) -> None:
        """Answered by an agent who was not offered it."""
        told = self._withdraw(visit, Withdrawal.PICKED_UP)
        self._connected(visit, by.agent, by.offer, leg, rang)
        self._tell(*told)

    def _connected(self, visit: Visit, agent: AgentName, offer: OfferId, leg: Leg, rang: float) -> None:
        visit.call.queued = False
        visit.talk = self._talks.begin(visit.part(agent, offer, leg), rang, visit.waited(self._now()))
        self._quiet(visit, Withdrawal.ANSWERED)
        visit.settle()
        self._tell(Answered(visit.call.id))

    def _agent_gone(self, visit: Visit, agent: AgentName) -> None:
        """The agent logged out, went not ready or lost the phone while it rang; his state is changed already."""
        ringing = _stop(visit)
        assert ringing is not None
        registered = self._roster.agents[agent].registered
        result = OfferResult.DECLINED if registered else OfferResult.UNREACHABLE
        self._emit(facts.missed(visit, ringing, result, self._now() - ringing.since))

    def _withdraw(self, visit: Visit, why: Withdrawal = Withdrawal.CALLER_GONE) -> list[RouterEvent]:
        """The call goes away. Stop what rings for it; returns what the router should hear of the agent afterwards."""
        ringing = _stop(visit)
        if ringing is None:
            return []
        self._emit(facts.withdrawn(visit, ringing, self._now(), why))
        return self._roster.step(ringing.agent, In.WITHDRAW)

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
            self._talks.broken(visit.talk, by)
            visit.talk.part.leg.hangup()
        elif by is EndedBy.SYSTEM:
            self._leave(visit, QueueExit.LOST)
        else:
            place = self._router.place(visit.call.id)
            told = self._withdraw(visit)
            visit.over = True
            self._emit(facts.abandoned(visit, place[0] if place is not None else 0, now))
            self._tell(CallLeaves(visit.call.id), *told)

    def _quiet(self, visit: Visit, why: Withdrawal) -> None:
        """The call waits no more: nothing of the waiting goes on, nor does anybody's wish to pick it up."""
        visit.quiet()
        for ring in visit.rivals:
            self._direct.withdraw(ring, why)

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
