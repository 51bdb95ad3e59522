"""Who talks to whom: each agent's part in a call, told by CallConnected and, once, by CallReleased.

A part may have several bridges, for a transfer that fails gives the caller back. It ends when somebody else has the
caller (an agent answered, a queue or flow took him) or when the agent hangs up; so his talk time is what he talked, and
nobody's is told twice. As in service.py, each change of state is one function call.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from acd.agents import In
from acd.destinations import ToAgent
from acd.direct import NO_QUEUE, Direct, Missed, Ring, RingPlace
from acd.roster import Roster
from acd.routing.model import Handled, Queue
from engine.call import BridgeEnd, Call, Frame, Leg, Transfer
from events.types import CallConnected, CallReleased, ConnectedVia, EndedBy, Event
from kernel.ids import AgentName, LegId, OfferId, QueueName


class Choice(StrEnum):
    """Of an agent who has asked a colleague."""

    COMPLETE = "complete"
    """The colleague takes the caller."""
    RETURN = "return"
    """The agent takes him back."""
    CONFERENCE = "conference"
    """All three talk; then one of the others decides who stays."""


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


class Consultation(msgspec.Struct, omit_defaults=True):
    """An agent and the colleague whom he has asked talk, until something is decided."""

    began: float
    conferring: bool = False
    """The caller is with them."""
    decided: Choice | None = None
    starred: bool = False
    """`*` was the latest key of the agent's phone."""


class HandoverPlace(msgspec.Struct, omit_defaults=True):
    """A Handover as it is saved."""

    began: float
    ring: RingPlace
    rivals: list[RingPlace] = []
    missed: Missed | None = None
    leg: LegId | None = None
    rang: float = 0.0
    consultation: Consultation | None = None


class Handover:
    """A transfer to a colleague that is under way: his phone rings, or the agent talks to him about it."""

    def __init__(self, asked: Transfer, began: float, ring: Ring) -> None:
        self.asked = asked
        self.began = began
        self.ring = ring
        self.leg: Leg | None = None
        """Of the colleague, when he has answered and has not the caller yet …"""
        self.rang = 0.0
        """… and after how many seconds he did."""
        self.consultation: Consultation | None = None

    @property
    def to(self) -> ToAgent:
        """Who is rung; at the end, who answered."""
        return ToAgent(self.ring.agent)

    def place(self) -> HandoverPlace:
        """For whoever goes on with it."""
        ring = self.ring
        return HandoverPlace(
            began=self.began,
            ring=ring.place(),
            rivals=ring.places_of_rivals(),
            missed=ring.ended.result() if ring.ended.done() else None,
            leg=None if self.leg is None else self.leg.id,
            rang=self.rang,
            consultation=self.consultation,
        )


class TalkPlace(msgspec.Struct, omit_defaults=True):
    """A Talk as it is saved."""

    agent: AgentName
    offer: OfferId
    leg: LegId
    queue: QueueName | None
    home: QueueName | None
    via: ConnectedVia
    record: bool
    talked: float
    held: float
    counted: bool
    """The call's last bridge is in these seconds already."""
    released: bool = False
    handover: HandoverPlace | None = None
    ring: RingPlace | None = None
    """The agent's own phone rings once more."""


class Talk:
    """bridge_before: the call's `last_bridge` when the part began: of an earlier talk, not of this one."""

    def __init__(self, part: Part, bridge_before: BridgeEnd | None) -> None:
        self.part = part
        self.ring: Ring | None = None
        """A phone that rings for the caller."""
        self.handover: Handover | None = None
        self.decision: asyncio.Future[None] | None = None
        """While the agent and a colleague talk, with the caller or without: done when it is decided."""
        self.frame: Frame | None = None
        self.passed_on = False
        """To a queue or flow; or the agent's leg was, to another call."""
        self._counted = bridge_before

    @property
    def consultation(self) -> Consultation | None:
        return self.handover.consultation if self.handover is not None else None

    @property
    def conferring(self) -> bool:
        """All three talk."""
        return self.consultation is not None and self.consultation.conferring

    def place(self) -> TalkPlace:
        """For whoever goes on with it."""
        part, handover, ring = self.part, self.handover, self.ring
        return TalkPlace(
            agent=part.agent,
            offer=part.offer,
            leg=part.leg.id,
            queue=None if part.queue is None else part.queue.name,
            home=None if part.home is None else part.home.name,
            via=part.via,
            record=part.record,
            talked=part.talked,
            held=part.held,
            counted=part.call.last_bridge is self._counted,
            released=part.released,
            handover=None if handover is None else handover.place(),
            ring=None if ring is None or ring.over or handover is not None else ring.place(),
        )

    def count(self) -> BridgeEnd | None:
        """Add the latest bridge to the part, unless it is in it already: then None."""
        end = self.part.call.last_bridge
        if end is None or end is self._counted:
            return None
        self._counted = end
        self.part.talked += end.talked
        self.part.held += end.held
        return end

    def undecided(self, consultation: Consultation) -> "asyncio.Future[None]":
        """Done when something is decided; it may be already."""
        self.decision = asyncio.get_running_loop().create_future()
        if consultation.decided is not None:
            self.decision.set_result(None)
        return self.decision

    def decide(self, what: Choice) -> bool:
        """False: there is nothing to decide, or not this."""
        if self.consultation is None or self.decision is None or self.decision.done():
            return False
        if self.conferring and what is Choice.CONFERENCE:
            return False
        self.consultation.decided = what
        self.decision.set_result(None)
        if self.frame is not None:
            self.frame.set(self.place)  # lest it is forgotten: no event tells of it
        return True


class Parts:
    """`tell` gives the router what it should hear."""

    def __init__(
        self, roster: Roster, direct: Direct, *, emit: Callable[[Event], None], tell: Callable[..., None]
    ) -> None:
        self._roster = roster
        self._direct = direct
        self._emit = emit
        self._tell = tell
        self._talks: dict[AgentName, Talk] = {}

    def of(self, agent: AgentName) -> Talk | None:
        """The talk that an agent is in."""
        return self._talks.get(agent)

    def with_leg(self, leg: Leg) -> Talk | None:
        """The talk whose present part has this leg."""
        return next((talk for talk in self._talks.values() if talk.part.leg is leg), None)

    def connected(self, talk: Talk, part: Part, rang: float, waited: float) -> None:
        """The caller is this part's agent's from now."""
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

    def again(self, talk: Talk) -> None:
        """It goes on from a process before this one: what it said is in the log."""
        self._talks[talk.part.agent] = talk

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
        agent = self._roster.agents.get(part.agent)  # None: the site has him no more
        told = []
        if agent is not None and agent.call == part.call.id:  # not in another call already, to which he was taken
            told = self._roster.step(part.agent, In.RELEASE, call=part.call.id, lasts=wrap_up)
        handled = [Handled(part.queue.name, part.talked + wrap_up)] if part.queue is not None else []
        self._tell(*handled, *told)

    def _wrap_up(self, part: Part) -> float:
        if part.via is ConnectedVia.CONSULT:
            return 0.0
        agent = self._roster.agents.get(part.agent)
        own = agent.profile.wrap_up if agent is not None else None
        return own if own is not None else part.home.wrap_up if part.home is not None else 0.0
