"""An agent's caller goes to a colleague, a queue or a flow. See talks.py for what holds throughout."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from acd.consultation import Consultations
from acd.destinations import Destination, Destinations, ToAgent, ToQueue
from acd.direct import Direct, Ring, order_for
from acd.parts import Choice, Handover, HandoverPlace, Onward, Part, Parts, Talk
from acd.roster import Roster
from acd.routing.model import Queue
from engine.call import Dial, Leg, Transfer
from events.types import (
    CallTransferred,
    ConnectedVia,
    EndedBy,
    Event,
    OfferResult,
    QueueExit,
    TransferKind,
    TransferResult,
)
from kernel.ids import AgentName


class Transfers:
    """refuses(queue): why a queue would take no more calls now."""

    def __init__(
        self,
        parts: Parts,
        consultations: Consultations,
        roster: Roster,
        destinations: Destinations,
        direct: Direct,
        *,
        emit: Callable[[Event], None],
        now: Callable[[], float],
        refuses: Callable[[Queue], QueueExit | None],
    ) -> None:
        self._parts = parts
        self._consultations = consultations
        self._roster = roster
        self._destinations = destinations
        self._direct = direct
        self._emit = emit
        self._now = now
        self._refuses = refuses

    async def carry_out(self, talk: Talk, asked: Transfer, was: HandoverPlace | None = None) -> Onward | None:
        """None: the talk goes on, with whoever `talk.part` is. was: how far a process before this one had got."""
        if was is not None:
            return await self._hand_over(talk, self._again(talk, asked, was))
        began = self._now()
        if asked.consulted:
            self._take(talk, asked, began)
            return None
        to = self._destinations.find(asked.target)
        match to:
            case ToAgent() if to.name == talk.part.agent or self._direct.busy(to.name):
                self._told(talk, asked, to, TransferResult.BUSY, began)
                asked.failed(486)
                return None
            case ToAgent():
                return await self._hand_over(talk, self._begin(talk, asked, to, began))
            case ToQueue() if self._refuses(to.queue) is not None:
                self._told(talk, asked, to, TransferResult.REFUSED, began)
                asked.failed(480)
                return None
            case None:
                asked.failed(404)
                return None
        self._told(talk, asked, to, TransferResult.COMPLETED, began)
        self._parts.release(talk.part, EndedBy.AGENT)
        talk.passed_on = True
        asked.done()
        return Onward(queue=to.queue) if isinstance(to, ToQueue) else Onward(flow=to.name)

    def _take(self, talk: Talk, asked: Transfer, began: float) -> None:
        """From the call of the agent's phone, whoever answered that, and through whatever queue."""
        leg = asked.take()
        consulted = self._parts.with_leg(leg) if leg is not None else None
        if leg is None or consulted is None:
            if leg is not None:
                leg.hangup("unknown")
            asked.failed(480)
            return
        part = consulted.part
        handover = Handover(asked, began, self._direct.immediate(talk.part.call, part.agent))
        self._switch(talk, handover, leg, 0.0)
        consulted.count()
        self._parts.release(part, EndedBy.SYSTEM)  # now: another process would not find its leg

    # --- to a colleague -----------------------------------------------------------------------------------------

    def _begin(self, talk: Talk, asked: Transfer, to: ToAgent, began: float) -> Handover:
        """His phone rings."""
        if asked.kind is TransferKind.BLIND:
            asked.progress()
        told = asked.kind is TransferKind.BLIND
        order = self._order(talk.part, to.name, asked)
        ring = self._direct.start(talk.part.call, to.name, order, partial(self._answered, talk), told=told)
        talk.ring, talk.handover = ring, Handover(asked, began, ring)
        return talk.handover

    def _again(self, talk: Talk, asked: Transfer, was: HandoverPlace) -> Handover:
        """It rings on, or it is over, and how. Who wanted to pick it up tries again."""
        call, told = talk.part.call, asked.kind is TransferKind.BLIND
        ring = self._direct.again(call, was.ring, partial(self._answered, talk), told=told)
        handover = talk.handover = Handover(asked, was.began, ring)
        talk.ring = ring
        for rival in was.rivals:
            self._direct.withdrawn(call.id, rival)
        if was.leg is not None:
            handover.leg, handover.rang, handover.consultation = call.leg_of(was.leg), was.rang, was.consultation
            ring.ended.set_result(None if handover.leg is not None else (OfferResult.FAILED, 480))
        elif was.missed is not None:
            ring.ended.set_result(was.missed)
        else:
            there = ring.agent in self._roster.agents
            self._direct.ring_on(ring, self._order(talk.part, ring.agent, asked) if there else None)
        return handover

    async def _hand_over(self, talk: Talk, handover: Handover) -> Onward | None:
        first = talk.part
        try:
            missed = await self._ringing(talk, handover)
            if missed is not None:
                self._consultations.over(talk, handover)  # his leg is lost
                self._in_vain(talk, handover, *missed)
                return await self._back(talk, first)
            if handover.leg is not None:
                await self._consult(talk, handover, handover.leg)
        except asyncio.CancelledError:
            if talk.handover is handover:  # nobody has the caller
                self._dismiss(talk, handover)
                self._told(talk, handover.asked, handover.to, TransferResult.ABANDONED, handover.began)
            raise  # `broken` withdraws what rings
        finally:
            talk.handover = None
        return None

    async def _ringing(self, talk: Talk, handover: Handover) -> tuple[TransferResult, int] | None:
        """Until his phone rings no more, while the first may hang up. None: he has answered."""
        watch = asyncio.get_running_loop().create_task(self._watch(talk.part))
        try:
            await asyncio.wait([handover.ring.ended])
        finally:
            watch.cancel()
        talk.ring = None
        missed = handover.ring.ended.result()
        if missed is None:
            return None
        result, status = missed
        if status == 487 and result is OfferResult.FAILED:
            return TransferResult.RETURNED, status
        return TransferResult(result.value), status

    async def _watch(self, part: Part) -> None:
        """An agent who hangs up while the phone of another rings for the caller has done his part."""
        await part.leg.wait_ended()
        self._parts.release(part, EndedBy.AGENT)

    def _answered(self, talk: Talk, ring: Ring, leg: Leg, rang: float) -> None:
        """He has the caller, or talks to the first before."""
        handover = talk.handover
        assert handover is not None
        if handover.asked.kind is TransferKind.BLIND:
            self._switch(talk, handover, leg, rang)
        else:
            handover.leg, handover.rang = leg, rang
            self._direct.talks(ring.agent, ring.call)

    async def _consult(self, talk: Talk, handover: Handover, leg: Leg) -> None:
        """Let the two talk, and do what is decided: the caller to the second, or back."""
        if await self._consultations.run(talk, handover, leg) is Choice.COMPLETE:
            self._direct.offered(handover.ring)
            self._switch(talk, handover, leg, handover.rang)
        else:
            self._dismiss(talk, handover)
            self._in_vain(talk, handover, TransferResult.RETURNED, 487)

    def _switch(self, talk: Talk, handover: Handover, leg: Leg, rang: float) -> None:
        """The caller is the second agent's from now."""
        first, talk.handover = talk.part, None
        self._told(talk, handover.asked, handover.to, TransferResult.COMPLETED, handover.began)
        self._parts.release(first, EndedBy.AGENT)
        self._parts.connected(talk, _next(first, handover.ring, leg), rang, rang)
        handover.asked.done()

    def _in_vain(self, talk: Talk, handover: Handover, result: TransferResult, status: int) -> None:
        talk.handover = None
        self._told(talk, handover.asked, handover.to, result, handover.began)
        handover.asked.failed(status)

    def _dismiss(self, talk: Talk, handover: Handover) -> None:
        """The second agent does not take the caller, if he has answered at all."""
        if handover.leg is not None:
            handover.leg.hangup("returned")
            self._direct.free(handover.ring.agent, talk.part.call)

    async def _back(self, talk: Talk, part: Part) -> Onward | None:
        """To the agent who has him still, or by ringing him once more; else to the queue."""
        if not part.released:
            return None
        if part.agent in self._roster.agents and not self._direct.busy(part.agent):

            def answered(ring: Ring, leg: Leg, rang: float) -> None:
                self._parts.connected(talk, _next(part, ring, leg), rang, rang)

            order = self._order(part, part.agent)
            ring = talk.ring = self._direct.start(part.call, part.agent, order, answered)
            await asyncio.wait([ring.ended])
            talk.ring = None
            if ring.ended.result() is None:
                return None
        return Onward(queue=part.home)

    # --- words ------------------------------------------------------------------------------------------------

    def _told(
        self,
        talk: Talk,
        asked: Transfer,
        to: Destination,
        result: TransferResult,
        began: float,
    ) -> None:
        part = talk.part
        self._emit(
            CallTransferred(
                call=part.call.id,
                agent=part.agent,
                kind=asked.kind,
                to_kind=to.kind,
                to=to.name,
                result=result,
                took=round(self._now() - began, 3),
            )
        )

    def _order(self, part: Part, to: AgentName, asked: Transfer | None = None) -> Dial:
        """Who consults waits with his ear on the line."""
        label = part.home.label or part.home.name if part.home is not None else part.agent
        order = order_for(self._roster.agents[to].profile, f"{label} · {part.agent}")
        consults = asked is not None and asked.kind is TransferKind.ATTENDED
        return replace(order, hearer=part.leg) if consults else order


def _next(part: Part, ring: Ring, leg: Leg) -> Part:
    """Of the agent who answered, after this part."""
    return Part(
        call=part.call,
        agent=ring.agent,
        offer=ring.offer,
        leg=leg,
        queue=None,
        home=part.home,
        via=ConnectedVia.TRANSFER,
        record=part.record,
    )
