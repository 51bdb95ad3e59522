"""Ringing one agent that no queue chose: for a colleague who consults, or passes a caller on."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import msgspec

from acd.agents import In
from acd.roster import Roster
from acd.routing.model import AgentProfile, AgentTaken, RouterEvent
from engine.call import Call, Dial, Dialled, DialOutcome, Leg
from events.types import (
    AgentState,
    CallOffered,
    Event,
    OfferMissed,
    OfferResult,
    OfferWithdrawn,
    Withdrawal,
)
from kernel.ids import AgentName, CallId, Ids, OfferId, QueueName

NO_QUEUE = QueueName("")
RING_FOR = 25.0
"""Seconds that the phone of one called by a colleague rings."""
RING_GRACE = 10.0
"""A dial that has not ended so long after `ring_for` is given up: whatever went wrong below, nobody stays stuck."""
BUSY = (AgentState.OFFERED, AgentState.ON_CALL)


class RingPlace(msgspec.Struct):
    """A phone that rings, as it is saved."""

    agent: AgentName
    offer: OfferId
    since: float


Missed = tuple[OfferResult, int]
"""Why an agent did not answer, and the SIP status."""


class Ring:
    """One phone rung. `ended` is done when it is over: with None when the agent answered (`answered` has been called
    by then), else with why not and the SIP status."""

    def __init__(
        self, call: Call, agent: AgentName, offer: OfferId, since: float, answered: "Answered", *, told: bool
    ) -> None:
        self.call = call
        self.agent = agent
        """Who is rung; at the end, who answered."""
        self.offer = offer
        self.since = since
        self.answered = answered
        self.told = told
        """The log knows of an offer."""
        self.reserved = False
        """The agent was ready: no queue offers him a call meanwhile."""
        self.over = False
        self.rivals: list[Ring] = []
        """Rung for those who want to pick it up."""
        self.task: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[Missed | None] = asyncio.get_running_loop().create_future()

    def place(self) -> RingPlace:
        """For whoever goes on with it."""
        return RingPlace(self.agent, self.offer, self.since)

    def places_of_rivals(self) -> list[RingPlace]:
        """Of those that ring, and of which the log knows."""
        return [rival.place() for rival in self.rivals if rival.told and not rival.over]


Answered = Callable[[Ring, Leg, float], None]
"""(ring, leg, rang): the agent took up; called in the same moment."""


class Target(NamedTuple):
    """Something that rings."""

    call: Call
    agent: AgentName
    """At whose phone."""
    since: float
    told: bool
    """The log knows of an offer."""
    rivals: list[Ring]
    """Rung to pick it up; withdrawn when it is over."""
    take: Callable[[Ring, Leg, float], None]
    """(ring, leg, rang): the agent of that ring has answered it."""


def order_for(profile: AgentProfile, display: str) -> Dial:
    """To the agent's phone, or the telephone of one who has only that."""
    return Dial(aor=profile.aor, display=display, ring_for=RING_FOR, number=profile.phone, trunks=profile.trunks)


class Direct:
    """`tell` gives the router what it should hear."""

    def __init__(
        self,
        roster: Roster,
        *,
        emit: Callable[[Event], None],
        now: Callable[[], float],
        ids: Ids,
        tell: Callable[..., None],
    ) -> None:
        self._roster = roster
        self._emit = emit
        self._now = now
        self._ids = ids
        self._tell = tell
        self.rings: list[Ring] = []
        """Those that are not over."""

        self.callers: set[AgentName] = set()
        """Agents in a call that they made."""
        self.consulted: set[AgentName] = set()
        """Agents who talk to a colleague about his caller."""

    def targets(self) -> list[Target]:
        """What rings now."""
        return [
            Target(ring.call, ring.agent, ring.since, ring.told, ring.rivals, partial(self.picked_up, ring))
            for ring in self.rings
        ]

    def withdrawn(self, call: CallId, ring: RingPlace) -> None:
        """The process that had it rung is gone, and it rings no more."""
        self._tell_withdrawn(call, ring, Withdrawal.RESTART)

    def _tell_withdrawn(self, call: CallId, ring: RingPlace, why: Withdrawal) -> None:
        rang = round(self._now() - ring.since, 3)
        self._emit(OfferWithdrawn(call=call, queue=NO_QUEUE, agent=ring.agent, offer=ring.offer, rang=rang, why=why))

    def busy(self, agent: AgentName) -> bool:
        return self._roster.agents[agent].state in BUSY

    def new_offer(self) -> OfferId:
        return OfferId(self._ids.token(40))

    def start(
        self,
        call: Call,
        agent: AgentName,
        order: Dial,
        answered: Answered,
        *,
        told: bool = True,
    ) -> Ring:
        """Ring an agent who is not `busy`."""
        ring = Ring(call, agent, self.new_offer(), self._now(), answered, told=told)
        self.rings.append(ring)
        if told:
            self.offered(ring, order.ring_for)
        if self._roster.agents[agent].state is AgentState.READY:
            ring.reserved = True
            self._roster.step(agent, In.OFFER, call=call.id)
            self._tell(AgentTaken(agent, True))
        ring.task = asyncio.get_running_loop().create_task(self._dial(ring, order))
        return ring

    def again(self, call: Call, was: RingPlace, answered: Answered, *, told: bool) -> Ring:
        """One of a process before this one, which is over: see `ring_on`."""
        ring = Ring(call, was.agent, was.offer, was.since, answered, told=told)
        ring.over = True
        return ring

    def ring_on(self, ring: Ring, order: Dial | None) -> None:
        """It is not over: the phone goes on ringing, for what is left of its time. order: None when the site has the
        agent no more."""
        if order is None:
            if ring.told:
                self.withdrawn(ring.call.id, ring.place())
            ring.ended.set_result((OfferResult.FAILED, 480))
            return
        ring.over = False
        self.rings.append(ring)
        ring.reserved = True
        ring.reserved = self._still_reserved(ring)
        left = max(0.0, ring.since + order.ring_for - self._now())
        ring.task = asyncio.get_running_loop().create_task(self._dial(ring, replace(order, ring_for=left)))

    def immediate(self, call: Call, agent: AgentName, *, told: bool = True) -> Ring:
        """As if rung and answered in one moment: he is on the line already."""
        ring = Ring(call, agent, self.new_offer(), self._now(), lambda ring, leg, rang: None, told=told)
        ring.over = True
        if told:
            self.offered(ring)
        return ring

    def picked_up(self, ring: Ring, by: Ring, leg: Leg, rang: float) -> None:
        """What rings at one agent is answered by another, who was rung for it himself or is on the line already."""
        self._stop(ring, Withdrawal.PICKED_UP)
        ring.agent, ring.offer, ring.since, ring.reserved = by.agent, by.offer, by.since, by.reserved
        ring.answered(ring, leg, rang)
        ring.ended.set_result(None)

    def offered(self, ring: Ring, ring_for: float = 0.0) -> None:
        self._emit(
            CallOffered(
                call=ring.call.id, queue=NO_QUEUE, agent=ring.agent, offer=ring.offer, ring_for=ring_for, waited=0.0
            )
        )

    def withdraw(self, ring: Ring, why: Withdrawal = Withdrawal.CALLER_GONE) -> None:
        """The call goes away, or somebody else has it. Does nothing when the ringing is over."""
        if ring.over:
            return
        self._stop(ring, why)
        if not ring.ended.done():
            ring.ended.set_result((OfferResult.FAILED, 487))

    def _stop(self, ring: Ring, why: Withdrawal) -> None:
        self._over(ring, why)
        if ring.task is not None:
            ring.task.cancel()
        if ring.told:
            self._tell_withdrawn(ring.call.id, ring.place(), why)
        if self._still_reserved(ring):
            self._tell(*self._roster.step(ring.agent, In.WITHDRAW))

    def _over(self, ring: Ring, why: Withdrawal) -> None:
        """It rings no more, nor do those who wanted to pick it up; but for him who did, whose ring is over already."""
        ring.over = True
        self.rings.remove(ring)
        for rival in ring.rivals:
            self.withdraw(rival, why if why is Withdrawal.CALLER_GONE else Withdrawal.ANSWERED)

    def talks(self, agent: AgentName, call: Call) -> None:
        """The agent is in this call now, whatever his state was."""
        state = self._roster.agents.get(agent)
        if state is None:  # the site has him no more
            return
        offered = state.state is AgentState.OFFERED and state.call == call.id
        told: list[RouterEvent] = self._roster.step(agent, In.ANSWER if offered else In.DIRECT, call=call.id)
        if not offered:
            told = [AgentTaken(agent, True), *told]
        self._tell(*told)

    def free(self, agent: AgentName, call: Call) -> None:
        """Whoever called, or was only consulted, is back to what he did before."""
        state = self._roster.agents.get(agent)
        if state is not None and state.call == call.id:
            self._tell(*self._roster.step(agent, In.RELEASE, call=call.id))

    async def _dial(self, ring: Ring, order: Dial) -> None:
        try:
            async with asyncio.timeout(order.ring_for + RING_GRACE):
                dialled = await ring.call.dial(order)
        except TimeoutError:
            dialled = Dialled(DialOutcome.FAILED, None, 500, 0.0)
        if ring.over:
            if dialled.leg is not None:
                dialled.leg.hangup("withdrawn")
            return
        self._over(ring, Withdrawal.ANSWERED)
        rang = self._now() - ring.since
        if dialled.leg is not None:
            ring.answered(ring, dialled.leg, rang)
            ring.ended.set_result(None)
            return
        result = OfferResult(dialled.outcome.value)
        if ring.told:
            self._emit(
                OfferMissed(
                    call=ring.call.id,
                    queue=NO_QUEUE,
                    agent=ring.agent,
                    offer=ring.offer,
                    result=result,
                    rang=round(rang, 3),
                )
            )
        if self._still_reserved(ring):
            self._tell(*self._roster.miss(ring.agent, result))
        ring.ended.set_result((result, dialled.sip_status))

    def _still_reserved(self, ring: Ring) -> bool:
        agent = self._roster.agents[ring.agent]
        return ring.reserved and agent.state is AgentState.OFFERED and agent.call == ring.call.id
