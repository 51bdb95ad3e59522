"""A caller's talk with agents, one after another: what each agent's part was, and every way from one to the next.

Theory of operation. A `Part` is one agent's time in one call, told by CallConnected and, once, by CallReleased; it may
have several bridges, for a transfer that fails gives the caller back. `Talks.run` bridges the present part until the
talk is over. When a bridge ends with a transfer, the caller hears music and the agent's leg waits. The agent's part
ends when somebody else has the caller (an agent answered, a queue or flow took him) or when the agent hangs up; so his
talk time is what he talked, and nobody's is told twice. As in service.py, each change of state is one function call.

The caller is never dropped by a transfer: if the one called does not answer, the agent has him again; if the agent is
gone by then, his phone rings once more; and if he does not take up, the caller goes back to the head of the queue.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from acd.agents import In
from acd.destinations import Destination, Destinations, ToAgent, ToQueue
from acd.direct import NO_QUEUE, Direct, Ring, order_for
from acd.roster import Roster
from acd.routing.model import Handled, Queue
from engine.call import BridgeEnd, Call, Dial, Leg, Transfer
from events.types import (
    AgentConsulted,
    CallConnected,
    CallReleased,
    CallTransferred,
    ConnectedVia,
    EndedBy,
    Event,
    OfferResult,
    QueueExit,
    TransferKind,
    TransferResult,
)
from kernel.ids import AgentName, OfferId


class Onward(NamedTuple):
    """Where the caller goes on. Neither: nowhere, the talk is over."""

    queue: Queue | None = None
    flow: str = ""


@dataclass(slots=True, eq=False)
class Part:
    call: Call
    agent: AgentName
    offer: OfferId
    leg: Leg
    queue: Queue | None
    """That offered the call to the agent; None when a colleague did."""
    home: Queue | None
    """Where the caller waited last: its wrap-up holds, and the caller goes back there when all else fails."""
    via: ConnectedVia = ConnectedVia.QUEUE
    record: bool = False
    talked: float = 0.0
    held: float = 0.0
    released: bool = False


class Talk:
    """bridge_before: the call's `last_bridge` when the part began: of an earlier talk, not of this one."""

    def __init__(self, part: Part, bridge_before: BridgeEnd | None) -> None:
        self.part = part
        self.ring: Ring | None = None
        self.consult: asyncio.Future[None] | None = None
        """While two agents talk: done when it is decided."""
        self.completed = False
        """The decision: complete; else the caller goes back."""
        self.passed_on = False
        """To a queue or flow; or the agent's leg was, to another call."""
        self._counted = bridge_before

    def count(self) -> BridgeEnd | None:
        """Add the latest bridge to the part, unless it is in it already: then None."""
        end = self.part.call.last_bridge
        if end is None or end is self._counted:
            return None
        self._counted = end
        self.part.talked += end.talked
        self.part.held += end.held
        return end


class Talks:
    """refuses(queue): why a queue would take no more calls now."""

    def __init__(
        self,
        roster: Roster,
        destinations: Destinations,
        direct: Direct,
        *,
        emit: Callable[[Event], None],
        now: Callable[[], float],
        tell: Callable[..., None],
        refuses: Callable[[Queue], QueueExit | None],
    ) -> None:
        self._roster = roster
        self._destinations = destinations
        self._direct = direct
        self._emit = emit
        self._now = now
        self._tell = tell
        self._refuses = refuses
        self._talks: dict[AgentName, Talk] = {}
        self.closing = False

    def of(self, agent: AgentName) -> Talk | None:
        """The talk that an agent is in."""
        return self._talks.get(agent)

    def begin(self, part: Part, rang: float, waited: float) -> Talk:
        """The agent has answered."""
        talk = Talk(part, part.call.last_bridge)
        self._connected(talk, part, rang, waited)
        return talk

    def ask(self, agent: AgentName, to: str, kind: TransferKind) -> str:
        """Transfer the caller of an agent, as if the agent's phone had asked. Returns why not, "" when it is begun."""
        talk = self._talks.get(agent)
        if self._destinations.find(to) is None:
            return f"nobody and nothing is called {to!r} here"
        if talk is None or not talk.part.call.ask_transfer(to, kind):
            return f"{agent} talks to no caller"
        return ""

    def decide(self, agent: AgentName, *, complete: bool) -> str:
        """End a consultation: the caller to the second agent, or back to this one. Returns why not, "" when done."""
        talk = self._talks.get(agent)
        if talk is not None and talk.consult is not None and not talk.consult.done():
            talk.completed = complete
            talk.consult.set_result(None)
            return ""
        if talk is not None and talk.ring is not None and not complete:
            self._direct.withdraw(talk.ring)
            return ""
        return f"{agent} consults nobody"

    async def run(self, talk: Talk) -> Onward:
        """Until the talk is over or the caller goes on elsewhere. CancelledError passes when the caller hangs up."""
        try:
            while True:
                part = talk.part
                end = await part.call.bridge(part.leg, record=part.record)
                talk.count()
                if end.transfer is None:
                    talk.passed_on = end.taken
                    self.release(part, end.ended_by)
                    return Onward()
                onward = await self._transfer(talk, end.transfer)
                if onward is not None:
                    return onward
        except asyncio.CancelledError:
            self.broken(talk, EndedBy.SYSTEM if self.closing else EndedBy.CALLER)
            raise
        except Exception:
            self.broken(talk, EndedBy.SYSTEM)
            raise
        finally:
            if not talk.passed_on:  # the leg of a part that was passed on hears of it, and then ends by itself
                talk.part.leg.hangup()

    async def until(self, ring: Ring, talks: list[Talk]) -> None:
        """Wait for the end of a ringing that `begin`s a talk; settle either when the caller hangs up meanwhile."""
        try:
            await asyncio.wait([ring.ended])
        except asyncio.CancelledError:
            self._direct.withdraw(ring)
            for talk in talks:
                self.broken(talk, EndedBy.CALLER)
                talk.part.leg.hangup()
            raise

    def broken(self, talk: Talk, by: EndedBy) -> None:
        """The caller hung up, or we did: nobody can go on with this talk."""
        end = talk.count()
        if end is not None and end.transfer is None:
            by = end.ended_by
        if talk.ring is not None:
            self._direct.withdraw(talk.ring)
        self.release(talk.part, by)

    def release(self, part: Part, by: EndedBy) -> None:
        """The agent's part is over, however. May be repeated."""
        if part.released:
            return
        part.released = True
        if (talk := self._talks.get(part.agent)) is not None and talk.part is part:
            del self._talks[part.agent]
        self._emit(
            CallReleased(
                call=part.call.id,
                queue=part.queue.name if part.queue is not None else NO_QUEUE,
                agent=part.agent,
                talked=round(part.talked, 3),
                held=round(part.held, 3),
                ended_by=by,
                via=part.via,
            )
        )
        wrap_up = self._wrap_up(part)
        agent = self._roster.agents[part.agent]
        told = []
        if agent.call == part.call.id:  # not in another call already, to which he was taken
            told = self._roster.step(part.agent, In.RELEASE, call=part.call.id, lasts=wrap_up)
        handled = [Handled(part.queue.name, part.talked + wrap_up)] if part.queue is not None else []
        self._tell(*handled, *told)

    def _wrap_up(self, part: Part) -> float:
        if part.via is ConnectedVia.CONSULT:
            return 0.0
        own = self._roster.agents[part.agent].profile.wrap_up
        return own if own is not None else part.home.wrap_up if part.home is not None else 0.0

    def _connected(self, talk: Talk, part: Part, rang: float, waited: float) -> None:
        talk.part = part
        self._talks[part.agent] = talk
        self._emit(
            CallConnected(
                call=part.call.id,
                queue=part.queue.name if part.queue is not None else NO_QUEUE,
                agent=part.agent,
                offer=part.offer,
                waited=round(waited, 3),
                rang=round(rang, 3),
                via=part.via,
            )
        )
        self._direct.talks(part.agent, part.call)

    # --- transfers --------------------------------------------------------------------------------------------

    async def _transfer(self, talk: Talk, asked: Transfer) -> Onward | None:
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
        self.release(talk.part, EndedBy.AGENT)
        talk.passed_on = True
        asked.done()
        return Onward(queue=to.queue) if isinstance(to, ToQueue) else Onward(flow=to.name)

    def _take(self, talk: Talk, asked: Transfer, began: float) -> None:
        """From the call of the agent's phone, whoever answered that, and through whatever queue."""
        leg = asked.take()
        agent = next((name for name, other in self._talks.items() if other.part.leg is leg), None)
        if leg is None or agent is None:
            if leg is not None:
                leg.hangup("unknown")
            asked.failed(480)
            return
        ring = self._direct.immediate(talk.part.call, agent)
        self._switch(talk, asked, ToAgent(agent), ring, leg, 0.0, began)

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
            talk, to, lambda ring, leg, rang: self._switch(talk, asked, to, ring, leg, rang, began), asked, began
        )
        if result is None:
            return None
        self._told(talk, asked, to, result, began, by=first)
        asked.failed(status)
        return await self._back(talk, first)

    async def _ring(
        self,
        talk: Talk,
        to: ToAgent,
        answered: Callable[[Ring, Leg, float], None],
        asked: Transfer,
        began: float,
        *,
        told: bool = True,
    ) -> tuple[TransferResult | None, int]:
        """Ring an agent, while the first may hang up. (None, _): he answered."""
        first = talk.part
        ring = talk.ring = self._direct.start(first.call, to.name, self._order(first, to), answered, told=told)
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
        self.release(part, EndedBy.AGENT)

    def _switch(
        self, talk: Talk, asked: Transfer, to: ToAgent, ring: Ring, leg: Leg, rang: float, began: float
    ) -> None:
        """The caller is the second agent's from now."""
        first = talk.part
        self._told(talk, asked, to, TransferResult.COMPLETED, began)
        self.release(first, EndedBy.AGENT)
        second = Part(
            call=first.call,
            agent=to.name,
            offer=ring.offer,
            leg=leg,
            queue=None,
            home=first.home,
            via=ConnectedVia.TRANSFER,
            record=first.record,
        )
        self._connected(talk, second, rang, rang)
        asked.done()

    async def _back(self, talk: Talk, part: Part) -> Onward | None:
        """To the agent who has him still, or by ringing him once more; else to the queue."""
        if not part.released:
            return None
        if not self._direct.busy(part.agent):
            to = ToAgent(part.agent)

            def answered(ring: Ring, leg: Leg, rang: float) -> None:
                again = Part(
                    call=part.call,
                    agent=part.agent,
                    offer=ring.offer,
                    leg=leg,
                    queue=None,
                    home=part.home,
                    via=ConnectedVia.TRANSFER,
                    record=part.record,
                )
                self._connected(talk, again, rang, rang)

            ring = talk.ring = self._direct.start(part.call, part.agent, self._order(part, to), answered)
            await asyncio.wait([ring.ended])
            talk.ring = None
            if ring.ended.result() is None:
                return None
        return Onward(queue=part.home)

    # --- consultation by the engine ---------------------------------------------------------------------------

    async def _consult(self, talk: Talk, asked: Transfer, to: ToAgent, began: float) -> None:
        """Dial the second agent for the first, let them talk, and do what is decided: the caller to the second, or
        back. Whoever hangs up decides as well."""
        first = talk.part
        legs: list[tuple[Ring, Leg, float]] = []

        def answered(ring: Ring, leg: Leg, rang: float) -> None:
            legs.append((ring, leg, rang))
            self._direct.talks(to.name, first.call)

        try:
            result, status = await self._ring(talk, to, answered, asked, began, told=False)
        except asyncio.CancelledError:
            for _, leg, _ in legs:  # answered in the moment in which the caller hung up
                self._told(talk, asked, to, TransferResult.ABANDONED, began)
                self._consulted(first, to, self._now(), leg)
            raise
        if not legs:
            self._told(talk, asked, to, result or TransferResult.FAILED, began, by=first)
            asked.failed(status)
            return
        ((ring, leg, rang),) = legs
        decided = talk.consult = asyncio.get_running_loop().create_future()
        talk.completed = False
        talked = self._now()
        try:
            end = await first.call.join(first.leg, leg, decided)
        except asyncio.CancelledError:
            self._told(talk, asked, to, TransferResult.ABANDONED, began)
            self._consulted(first, to, talked, leg)
            raise
        finally:
            talk.consult = None
        if end.ended is first.leg or (end.ended is None and talk.completed):
            self._emit(self._consultation(first, to, talked))
            self._direct.offered(ring)
            self._switch(talk, asked, to, ring, leg, rang, began)
            return
        self._told(talk, asked, to, TransferResult.RETURNED, began)
        self._consulted(first, to, talked, leg)
        asked.failed(487)

    def _consulted(self, first: Part, to: ToAgent, began: float, leg: Leg) -> None:
        """The second agent does not take the call."""
        leg.hangup("returned")
        self._emit(self._consultation(first, to, began))
        self._direct.free(to.name, first.call)

    def _consultation(self, first: Part, to: ToAgent, began: float) -> AgentConsulted:
        talked = round(self._now() - began, 3)
        return AgentConsulted(call=first.call.id, agent=first.agent, with_agent=to.name, talked=talked)

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
