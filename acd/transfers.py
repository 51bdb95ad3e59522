"""An agent's caller goes to a colleague, a queue or a flow. See talks.py for what holds throughout."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from acd.consultation import Consultations
from acd.destinations import Destination, Destinations, ToAgent, ToQueue
from acd.direct import Answered, Direct, Ring, order_for
from acd.parts import Choice, Onward, Part, Parts, Talk
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

    async def carry_out(self, talk: Talk, asked: Transfer) -> Onward | None:
        """None: the talk goes on, with whoever `talk.part` is."""
        began = self._now()
        if asked.consulted:
            self._take(talk, asked, began)
            return None
        to = self._destinations.find(asked.target)
        match to:
            case ToAgent():
                return await self._to_agent(talk, asked, to, began)
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
        ring = self._direct.immediate(talk.part.call, part.agent)
        self._switch(talk, asked, ring, leg, 0.0, began)
        consulted.count()
        self._parts.release(part, EndedBy.SYSTEM)  # now: another process would not find its leg

    async def _to_agent(self, talk: Talk, asked: Transfer, to: ToAgent, began: float) -> Onward | None:
        first = talk.part
        if to.name == first.agent or self._direct.busy(to.name):
            self._told(talk, asked, to, TransferResult.BUSY, began)
            asked.failed(486)
            return None
        if asked.kind is TransferKind.ATTENDED:
            await self._consult(talk, asked, to, began)
            return None
        asked.progress()
        result, status = await self._ring(
            talk, to, lambda ring, leg, rang: self._switch(talk, asked, ring, leg, rang, began), asked, began
        )
        if result is None:
            return None
        self._told(talk, asked, to, result, began, by=first)
        asked.failed(status)
        return await self._back(talk, first)

    async def _consult(self, talk: Talk, asked: Transfer, to: ToAgent, began: float) -> None:
        """Dial the second agent for the first, let them talk, and do what is decided: the caller to the second, or
        back."""
        first = talk.part
        legs: list[tuple[Ring, Leg, float]] = []

        def answered(ring: Ring, leg: Leg, rang: float) -> None:
            legs.append((ring, leg, rang))
            self._direct.talks(ring.agent, first.call)

        try:
            result, status = await self._ring(talk, to, answered, asked, began, told=False)
        except asyncio.CancelledError:
            for ring, leg, _ in legs:  # answered in the moment in which the caller hung up
                self._told(talk, asked, to, TransferResult.ABANDONED, began)
                self._consultations.dismiss(first.call, ring.agent, leg)
            raise
        if not legs:
            self._told(talk, asked, to, result or TransferResult.FAILED, began, by=first)
            asked.failed(status)
            return
        ((ring, leg, rang),) = legs
        to = ToAgent(ring.agent)  # who picked it up, maybe
        try:
            decided = await self._consultations.run(talk, to.name, leg)
        except asyncio.CancelledError:
            self._told(talk, asked, to, TransferResult.ABANDONED, began)
            raise
        if decided is Choice.COMPLETE:
            self._direct.offered(ring)
            self._switch(talk, asked, ring, leg, rang, began)
        else:
            self._told(talk, asked, to, TransferResult.RETURNED, began)
            asked.failed(487)

    async def _ring(
        self,
        talk: Talk,
        to: ToAgent,
        answered: Answered,
        asked: Transfer,
        began: float,
        *,
        told: bool = True,
    ) -> tuple[TransferResult | None, int]:
        """Ring an agent, while the first may hang up. (None, _): he answered."""
        first = talk.part
        order = self._order(first, to)
        if asked.kind is TransferKind.ATTENDED:  # he waits with his ear on the line
            order = replace(order, hearer=first.leg)
        ring = talk.ring = self._direct.start(first.call, to.name, order, answered, told=told)
        watch = asyncio.get_running_loop().create_task(self._watch(first))
        try:
            await asyncio.wait([ring.ended])
        except asyncio.CancelledError:
            if not ring.over:
                self._told(talk, asked, to, TransferResult.ABANDONED, began, by=first)
            raise  # `broken` withdraws it
        finally:
            watch.cancel()
        talk.ring = None
        missed = ring.ended.result()
        if missed is None:
            return None, 200
        result, status = missed
        if status == 487 and result is OfferResult.FAILED:
            return TransferResult.RETURNED, status
        return TransferResult(result.value), status

    async def _watch(self, part: Part) -> None:
        """An agent who hangs up while the phone of another rings for the caller has done his part."""
        await part.leg.wait_ended()
        self._parts.release(part, EndedBy.AGENT)

    def _switch(self, talk: Talk, asked: Transfer, ring: Ring, leg: Leg, rang: float, began: float) -> None:
        """The caller is the second agent's from now."""
        first = talk.part
        self._told(talk, asked, ToAgent(ring.agent), TransferResult.COMPLETED, began)
        self._parts.release(first, EndedBy.AGENT)
        self._parts.connected(talk, _next(first, ring, leg), rang, rang)
        asked.done()

    async def _back(self, talk: Talk, part: Part) -> Onward | None:
        """To the agent who has him still, or by ringing him once more; else to the queue."""
        if not part.released:
            return None
        if part.agent in self._roster.agents and not self._direct.busy(part.agent):

            def answered(ring: Ring, leg: Leg, rang: float) -> None:
                self._parts.connected(talk, _next(part, ring, leg), rang, rang)

            order = self._order(part, ToAgent(part.agent))
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
        by: Part | None = None,
    ) -> None:
        part = by or talk.part
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

    def _order(self, part: Part, to: ToAgent) -> Dial:
        label = part.home.label or part.home.name if part.home is not None else part.agent
        return order_for(self._roster.agents[to.name].profile, f"{label} · {part.agent}")


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
