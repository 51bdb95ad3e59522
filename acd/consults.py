"""Agents' phones calling each other, and queues: the application for those calls. Neither recorded nor counted as
callers' calls; what comes of them may be an attended transfer, for which see engine/transfer.py."""

from dataclasses import replace

from acd.destinations import ToAgent, ToQueue
from acd.direct import Ring, order_for
from acd.parts import Part, Talk
from acd.service import AcdService
from engine.call import Call, Leg
from events.types import AgentState, ConnectedVia
from kernel.ids import AgentName

BUSY = 486
MISSED = 480


class Consults:
    def __init__(self, acd: AcdService) -> None:
        self._acd = acd

    async def run(self, call: Call, to: ToAgent | ToQueue) -> None:
        """Serve one call of an authenticated phone (`call.caller` is its address). While it lasts, no queue offers its
        agent a call."""
        roster = self._acd.roster
        agent = roster.of_phone(call.caller)
        if agent is not None and agent.state is AgentState.READY:
            self._acd.direct.talks(agent.profile.name, call)
        try:
            if isinstance(to, ToQueue):
                await call.answer()
                await self._acd.enqueue(call, to.name)
            else:
                await self._ring(call, to.name, agent.profile.name if agent is not None else None)
        finally:
            if agent is not None and agent.call == call.id:
                self._acd.direct.free(agent.profile.name, call)

    async def _ring(self, call: Call, to: AgentName, by: AgentName | None) -> None:
        acd = self._acd
        if to == by or acd.direct.busy(to):
            await call.reject(BUSY, "busy")
        call.ringing()
        talks: list[Talk] = []

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
        ring = acd.direct.start(call, to, order, answered)
        await acd.talks.until(ring, talks)
        if not talks:
            missed = ring.ended.result()
            await call.reject(missed[1] if missed is not None else MISSED, "not taken")
        await acd.follow(call, await acd.talks.run(talks[0]))
