"""A caller's talk with agents, one after another, and every way from one to the next.

Theory of operation. `Talks.run` bridges the present part (parts.py) until the talk is over. When a bridge ends with a
transfer, the caller hears music and the agent's leg waits, while transfers.py or, when the agent wants a word with a
colleague first, consultation.py brings the caller to whoever is to have him: `talk.part` says who that is.

The caller is never dropped by a transfer: if the one called does not answer, the agent has him again; if the agent is
gone by then, his phone rings once more; and if he does not take up, the caller goes back to the head of the queue.
"""

import asyncio
from collections.abc import Callable

from acd.consultation import Consultations
from acd.destinations import Destinations
from acd.direct import Direct, Ring
from acd.parts import Choice, HandoverPlace, Onward, Part, Parts, Talk, TalkPlace
from acd.roster import Roster
from acd.routing.model import Queue
from acd.transfers import Transfers
from engine.call import Call, Frame, Transfer
from events.types import EndedBy, Event, QueueExit, TransferKind, Withdrawal
from kernel.ids import AgentName


class Talks:
    """refuses(queue): why a queue would take no more calls now. tell: gives the router what it should hear."""

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
        self._destinations = destinations
        self._direct = direct
        self._parts = Parts(roster, direct, emit=emit, tell=tell)
        self._roster = roster
        self._transfers = Transfers(
            self._parts,
            Consultations(direct, emit=emit, now=now),
            roster,
            destinations,
            direct,
            emit=emit,
            now=now,
            refuses=refuses,
        )
        self.closing = False

    def of(self, agent: AgentName) -> Talk | None:
        """The talk that an agent is in."""
        return self._parts.of(agent)

    def begin(self, part: Part, rang: float, waited: float) -> Talk:
        """The agent has answered."""
        talk = Talk(part, part.call.last_bridge)
        self._parts.connected(talk, part, rang, waited)
        return talk

    def ask(self, agent: AgentName, to: str, kind: TransferKind) -> str:
        """Transfer the caller of an agent, as if the agent's phone had asked. Returns why not, "" when it is begun."""
        talk = self.of(agent)
        if self._destinations.find(to) is None:
            return f"nobody and nothing is called {to!r} here"
        if talk is None or not talk.part.call.ask_transfer(to, kind):
            return f"{agent} talks to no caller" if talk is None else f"{agent} is passing the caller on already"
        return ""

    def decide(self, agent: AgentName, what: Choice) -> str:
        """How a consultation goes on, or a conference. Returns why not, "" when it is done."""
        talk = self.of(agent)
        if talk is not None and talk.decide(what):
            return ""
        if talk is not None and talk.ring is not None and not talk.ring.over and what is Choice.RETURN:
            self._direct.withdraw(talk.ring, Withdrawal.TAKEN_BACK)
            return ""
        return f"{agent} consults nobody" if talk is None or not talk.conferring else "all of them talk already"

    async def run(self, talk: Talk) -> Onward:
        """Until the talk is over or the caller goes on elsewhere. CancelledError passes when the caller hangs up."""
        with talk.part.call.frame("talk") as frame:
            self._enter(talk, frame)
            return await self._run(talk)

    async def resume(self, call: Call, begun: TalkPlace) -> Onward:
        """Go on with a talk of a process before this one. begun: as it was when it began; it may have gone on since."""
        with call.frame("talk") as frame:
            place = frame.was(TalkPlace) or begun
            talk = self._again(call, place)
            if talk is None:
                return Onward()
            self._enter(talk, frame)
            asked = call.last_bridge.transfer if call.last_bridge is not None else None
            if asked is None and talk.part.released and talk.part.home is not None:
                return Onward(queue=talk.part.home)
            return await self._run(talk, asked, place.handover)

    def _enter(self, talk: Talk, frame: Frame) -> None:
        talk.frame = frame
        frame.set(talk.place)

    def _again(self, call: Call, place: TalkPlace) -> Talk | None:
        """None: the leg is gone. An agent or queue that the site has no more ends what it began."""
        queues = self._destinations.queues
        leg = call.leg_of(place.leg)
        if place.ring is not None:
            self._direct.withdrawn(call.id, place.ring)
        if leg is None:
            return None
        part = Part(
            call=call,
            agent=place.agent,
            offer=place.offer,
            leg=leg,
            queue=queues.get(place.queue, Queue(name=place.queue)) if place.queue is not None else None,
            home=queues.get(place.home) if place.home is not None else None,
            via=place.via,
            record=place.record,
            talked=place.talked,
            held=place.held,
            released=place.released,
        )
        talk = Talk(part, call.last_bridge if place.counted else None)
        if not place.counted:
            talk.count()
        if not part.released:
            self._parts.again(talk)
        return talk

    async def _run(self, talk: Talk, asked: Transfer | None = None, was: HandoverPlace | None = None) -> Onward:
        """asked, was: a transfer that is under way, and how far."""
        try:
            while True:
                if asked is None:
                    end = await talk.part.call.bridge(talk.part.leg, record=talk.part.record)
                    talk.count()
                    asked = end.transfer
                if asked is None:
                    talk.passed_on = end.taken
                    self._parts.release(talk.part, end.ended_by)
                    return Onward()
                onward = await self._transfers.carry_out(talk, asked, was)
                if onward is not None:
                    return onward
                asked = was = None
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
        self._parts.broken(talk, by)
