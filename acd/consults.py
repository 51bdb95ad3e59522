"""Agents' phones calling each other, and queues: the application for those calls. Neither recorded nor counted as
callers' calls; what comes of them may be an attended transfer, for which see engine/transfer.py."""

from dataclasses import replace

import msgspec

from acd.destinations import ToAgent, ToQueue
from acd.direct import Ring, RingPlace, order_for
from acd.parts import Onward, Part, Talk, TalkPlace
from acd.service import AcdService
from engine.call import Call, Frame, Leg
from events.types import AgentState, ConnectedVia
from kernel.ids import AgentName

BUSY = 486
MISSED = 480


class ConsultPlace(msgspec.Struct, omit_defaults=True):
    """As it is saved: a phone rings, or two talk, or the caller goes on elsewhere."""

    ring: RingPlace | None = None
    talk: TalkPlace | None = None
    over: bool = False


class Consults:
    def __init__(self, acd: AcdService) -> None:
        self._acd = acd

    async def run(self, call: Call, to: ToAgent | ToQueue) -> None:
        """Serve one call of an authenticated phone (`call.caller` is its address). While it lasts, no queue offers its
        agent a call."""
        direct, agent = self._acd.direct, self._acd.roster.of_phone(call.caller)
        with call.frame("consult") as frame:
            if agent is not None:
                direct.callers.add(agent.profile.name)
            if agent is not None and agent.state is AgentState.READY:
                direct.talks(agent.profile.name, call)
            try:
                if isinstance(to, ToQueue):
                    await call.answer()
                    await self._acd.enqueue(call, to.name)
                else:
                    await self._ring(call, to.name, agent.profile.name if agent is not None else None, frame)
            finally:
                if agent is not None:
                    direct.callers.discard(agent.profile.name)
                if agent is not None and agent.call == call.id:
                    direct.free(agent.profile.name, call)

    async def go_on(self, call: Call) -> None:
        """A call of a process before this one, to whom the site does not know any more."""
        with call.frame("consult") as frame:
            was = frame.was(ConsultPlace)
            if was is not None and was.ring is not None:
                self._acd.direct.withdrawn(call.id, was.ring)
                self._acd.release_offer(was.ring.agent, call)
            if was is not None and was.talk is not None:
                await self._acd.talks.resume(call, was.talk)
            else:
                await self._acd.go_on(call)

    async def _ring(self, call: Call, to: AgentName, by: AgentName | None, frame: Frame) -> None:
        acd, was = self._acd, frame.was(ConsultPlace)
        if was is not None and was.over:
            await acd.follow(call, Onward())
            return
        talks: list[Talk] = []
        place = ConsultPlace()
        if was is not None and was.talk is not None:
            frame.set(lambda: was)
            onward = await acd.talks.resume(call, was.talk)
        else:
            ring = self._start(call, to, by, talks, was)
            if ring is None:
                await call.reject(BUSY, "busy")
                return
            frame.set(lambda: place if place.over else _place(ring, talks))
            await acd.talks.until(ring, talks)
            if not talks:
                missed = ring.ended.result()
                await call.reject(missed[1] if missed is not None else MISSED, "not taken")
            onward = await acd.talks.run(talks[0])
        place.over = True
        frame.set(lambda: place)
        await acd.follow(call, onward)

    def _start(
        self, call: Call, to: AgentName, by: AgentName | None, talks: list[Talk], was: "ConsultPlace | None"
    ) -> Ring | None:
        """Ring the colleague, anew when a process before this one did; None: busy. A talk comes into `talks`."""
        acd = self._acd
        if was is not None and was.ring is not None:
            acd.direct.withdrawn(call.id, was.ring)
            acd.release_offer(to, call)
        if to == by or acd.direct.busy(to):
            return None
        call.ringing()

        def answered(ring: Ring, leg: Leg, rang: float) -> None:
            part = Part(
                call=call,
                agent=ring.agent,
                offer=ring.offer,
                leg=leg,
                queue=None,
                home=None,
                via=ConnectedVia.CONSULT,
            )
            talks.append(acd.talks.begin(part, rang, rang))

        order = replace(order_for(acd.roster.agents[to].profile, by or ""), caller_hears=True)
        return acd.direct.start(call, to, order, answered)


def _place(ring: Ring, talks: list[Talk]) -> ConsultPlace:
    if talks:
        return ConsultPlace(talk=talks[0].place())
    return ConsultPlace(ring=ring.place())
