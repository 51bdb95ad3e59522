"""The router: told what happened, it decides what to do. Live calls, the simulator and tests use this same object.

Theory of operation. A *pool* is the set of calls of one queue that require the same skills, together with the free
agents who have them. Between two steps no pool has both a waiting call and a free agent, so a step needs to look only
at what it brings: a call that enters takes the best free agent of its pool; an agent who becomes free takes the best
call over his pools. Each offer reserves one call and one agent for each other, until `Answered`, `Missed` or
`CallLeaves` ends it; so a call is never offered twice at a time, nor an agent.

A call keeps its place (`Waiting.rank`) through missed offers. Order of agents: the queue's strategy, then longest
idle, then name. Events about calls or agents that are not known (any more) decide nothing.
"""

import heapq
import math
from collections.abc import Iterable

from acd.routing.estimate import WaitEstimate
from acd.routing.model import (
    Admit,
    AgentFree,
    AgentOut,
    AgentProfile,
    AgentTaken,
    Announce,
    Answered,
    CallEnters,
    CallLeaves,
    Decision,
    FlowOut,
    Handled,
    Missed,
    Offer,
    Queue,
    RouterEvent,
    Tick,
    Waiting,
    Withdraw,
    requirements,
)
from acd.routing.pools import CallRank, Index, Place, Pool, PoolKey, Seat, SeatState, add, position, remove
from events.types import QueueExit
from kernel.ids import AgentName, CallId, QueueName

Timer = tuple[float, int, CallId | PoolKey]
TIMERS_SLACK = 1000
"""Timers of calls that left are dropped when they are this many more than the calls."""


class Router:
    """One for a site. A step costs O(pools of the agent concerned x log calls); it raises only on our own faults."""

    def __init__(self, queues: Iterable[Queue], agents: Iterable[AgentProfile]) -> None:
        self.queues: dict[QueueName, Queue] = {queue.name: queue for queue in queues}
        self.agents: dict[AgentName, AgentProfile] = {agent.name: agent for agent in agents}
        self._index = Index(self.agents)
        self._places: dict[CallId, Place] = {}
        self._lines: dict[QueueName, list[CallRank]] = {name: [] for name in self.queues}
        self._estimates = {name: WaitEstimate() for name in self.queues}
        self._timers: list[Timer] = []
        self._serial = 0
        for queue in self.queues.values():
            self._index.pool(queue, queue.skills)

    # --- questions --------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When to step with Tick; may be too early, never too late."""
        return self._timers[0][0] if self._timers else None

    def depth(self, queue: QueueName) -> int:
        """Calls that wait or ring."""
        return len(self._lines[queue])

    def place(self, call: CallId) -> tuple[int, float] | None:
        """Position (1 is next) and expected wait (-1: unknown) of a call in its queue; None when it is in none."""
        place = self._places.get(call)
        return None if place is None else self._outlook(place)

    def waiting(self) -> list[Waiting]:
        """Every call in a queue, best first within each queue."""
        return [self._places[rank[2]].waiting for line in self._lines.values() for rank in line]

    def refuses(self, name: QueueName, now: float) -> QueueExit | None:
        """Why a call would not be let into a queue now."""
        queue = self.queues[name]
        if len(self._lines[name]) >= queue.max_calls:
            return QueueExit.FULL
        place = self._place(Waiting(call=CallId(""), queue=name), queue)
        return QueueExit.NO_AGENTS if self._deserted(place, now) else None

    def offered(self, call: CallId) -> AgentName | None:
        """The agent whose phone rings for this call."""
        place = self._places.get(call)
        return place.agent if place is not None else None

    def seat(self, agent: AgentName) -> tuple[SeatState, float]:
        """State, and since when he is idle when it is FREE."""
        seat = self._index.seats[agent]
        return seat.state, seat.since

    # --- the step ---------------------------------------------------------------------------------------------

    def step(self, event: RouterEvent, now: float) -> list[Decision]:
        """What follows from this event, in the order to carry out. Raises KeyError for an unknown queue or agent."""
        out: list[Decision] = []
        match event:
            case CallEnters(waiting, agent):
                self._enter(waiting, agent, now, out)
            case CallLeaves(call) | Answered(call) | Missed(call):
                if (place := self._places.get(call)) is not None:
                    self._call_event(event, place, now, out)
            case AgentFree() | AgentTaken() | AgentOut():
                self._agent_event(event, self._index.seats[event.agent], now, out)
            case Handled(queue, seconds) if queue in self._estimates:  # else the site has it no more
                self._estimates[queue].handled(seconds)
            case Tick():
                self._tick(now, out)
        return out

    # --- calls ------------------------------------------------------------------------------------------------

    def _enter(self, waiting: Waiting, agent: AgentName | None, now: float, out: list[Decision]) -> None:
        if waiting.call in self._places:
            raise ValueError(f"{waiting.call} is in a queue already")
        queue = self.queues[waiting.queue]
        place = self._place(waiting, queue)
        line = self._lines[queue.name]
        number = position(line, place.rank)
        out.append(Admit(waiting.call, number))
        if agent is not None:
            self._join(place, now)
            self._pair(place, agent)
        elif len(line) >= queue.max_calls:
            out.append(FlowOut(waiting.call, QueueExit.FULL, number))
        elif self._deserted(place, now):
            out.append(FlowOut(waiting.call, QueueExit.NO_AGENTS, number))
        elif now >= place.leave_at:
            out.append(FlowOut(waiting.call, QueueExit.TIMEOUT, number))
        else:
            self._join(place, now)
            self._seek(place, now, out)

    def _join(self, place: Place, now: float) -> None:
        """Into the line, and its timers."""
        call, queue = place.waiting.call, place.queue
        self._places[call] = place
        for pool in (*place.pools, *place.later):
            pool.calls += 1
        add(self._lines[queue.name], place.rank)
        self._arm(place.leave_at, call)
        self._arm(place.overflow_at, call)
        if queue.announce_first is not None:
            place.announce_at = now + queue.announce_first
            if queue.announce_first > 0:
                self._arm(place.announce_at, call)

    def _place(self, waiting: Waiting, queue: Queue) -> Place:
        others = [self.queues[name] for name in queue.overflow_queues]
        own, *later = [self._index.pool(one, requirements(one, waiting.skills)) for one in (queue, *others)]
        place = Place(waiting, queue, own, later)
        if own.staffed == 0:
            place.widen()
        return place

    def _call_event(self, event: CallLeaves | Answered | Missed, place: Place, now: float, out: list[Decision]) -> None:
        agent = place.agent
        if isinstance(event, CallLeaves):
            self._forget(place, now)
        elif isinstance(event, Answered):  # by the agent who was asked, or by one who picked it up
            queue, working = place.queue.name, self._working(place)
            self._forget(place, now)
            self._estimates[queue].answered(working, self.depth(queue) > 0, now)
        elif agent is not None:
            self._unreserve(place)
            self._set_working(self._index.seats[agent], False)
            self._back(place, now, out)

    def _seek(self, place: Place, now: float, out: list[Decision]) -> None:
        """Offer the call to the best free agent of its first pool that has one, or let it wait in all of them."""
        if now >= place.overflow_at:
            place.widen()
        for pool in place.pools:
            if pool.idle:
                self._reserve(place, pool.idle[0][2], out)
                return
        place.seeking = True
        for pool in place.pools:
            add(pool.waiting, place.rank)
            if pool.staffed == 0 and not pool.queue.wait_unstaffed:
                self._arm(pool.unstaffed_since + pool.queue.unstaffed_grace, pool.key)
        if place.announce_at <= now:
            self._announce(place, now, out)

    def _unseek(self, place: Place) -> None:
        place.seeking = False
        for pool in place.pools:
            remove(pool.waiting, place.rank)

    def _back(self, place: Place, now: float, out: list[Decision]) -> None:
        """A missed or withdrawn call wants its place again, unless its time is over."""
        if now >= place.leave_at:
            self._flow_out(place, QueueExit.TIMEOUT, now, out)
        elif self._deserted(place, now):
            self._flow_out(place, QueueExit.NO_AGENTS, now, out)
        else:
            self._seek(place, now, out)

    def _flow_out(self, place: Place, why: QueueExit, now: float, out: list[Decision]) -> None:
        number = position(self._lines[place.queue.name], place.rank)
        self._forget(place, now)
        out.append(FlowOut(place.waiting.call, why, number))

    def _forget(self, place: Place, now: float) -> None:
        """Out of every index. An agent reserved for it is taken, at work, until told otherwise."""
        queue = place.queue.name
        if place.seeking:
            self._unseek(place)
        if place.agent is not None:
            self._unreserve(place)
        remove(self._lines[queue], place.rank)
        for pool in (*place.pools, *place.later):
            pool.calls -= 1
        del self._places[place.waiting.call]
        if not self._lines[queue]:
            self._estimates[queue].emptied()

    # --- agents -----------------------------------------------------------------------------------------------

    def _agent_event(
        self, event: AgentFree | AgentTaken | AgentOut, seat: Seat, now: float, out: list[Decision]
    ) -> None:
        match event:
            case AgentFree(agent, since):
                self._agent_free(agent, seat, since, out)
            case AgentTaken(agent, working):
                place = self._leave_seat(agent, seat, out)
                self._staff(seat)
                seat.state = SeatState.TAKEN
                self._set_working(seat, working)
                if place is not None:
                    self._back(place, now, out)
            case AgentOut(agent):
                place = self._leave_seat(agent, seat, out)
                self._set_working(seat, False)
                self._unstaff(seat, now)
                if place is not None:
                    self._back(place, now, out)

    def _agent_free(self, name: AgentName, seat: Seat, since: float, out: list[Decision]) -> None:
        if seat.state is SeatState.RESERVED:
            return  # told twice: the offer goes on
        if seat.state is SeatState.FREE:
            self._index.unfree(name, seat)
        self._staff(seat)
        seat.state = SeatState.TAKEN
        seat.since = since
        self._set_working(seat, True)
        best: Pool | None = None
        for pool, _ in seat.pools:
            if pool.waiting and (best is None or pool.waiting[0] < best.waiting[0]):
                best = pool
        if best is None:
            self._index.free(name, seat)
        else:
            place = self._places[best.waiting[0][2]]
            self._unseek(place)
            self._reserve(place, name, out)

    def _leave_seat(self, name: AgentName, seat: Seat, out: list[Decision]) -> Place | None:
        """The agent takes no call now. Returns the call whose ringing this ended, if one rang."""
        if seat.state is SeatState.FREE:
            self._index.unfree(name, seat)
            seat.state = SeatState.TAKEN
        if seat.state is not SeatState.RESERVED or seat.call is None:
            return None
        place = self._places[seat.call]
        self._unreserve(place)
        out.append(Withdraw(place.waiting.call, name))
        return place

    def _reserve(self, place: Place, name: AgentName, out: list[Decision]) -> None:
        self._pair(place, name)
        out.append(Offer(place.waiting.call, name, place.queue.ring_for))

    def _pair(self, place: Place, name: AgentName) -> None:
        seat = self._index.seats[name]
        if seat.state is SeatState.FREE:
            self._index.unfree(name, seat)
        seat.state = SeatState.RESERVED
        seat.call = place.waiting.call
        place.agent = name

    def _unreserve(self, place: Place) -> None:
        assert place.agent is not None
        seat = self._index.seats[place.agent]
        seat.state, seat.call, place.agent = SeatState.TAKEN, None, None

    def _set_working(self, seat: Seat, working: bool) -> None:
        if seat.working is not working:
            seat.working = working
            for pool, _ in seat.pools:
                pool.working += 1 if working else -1

    def _staff(self, seat: Seat) -> None:
        if seat.state is SeatState.OUT:
            for pool, _ in seat.pools:
                pool.staffed += 1

    def _unstaff(self, seat: Seat, now: float) -> None:
        if seat.state is SeatState.OUT:
            return
        seat.state = SeatState.OUT
        for pool, _ in seat.pools:
            pool.staffed -= 1
            if pool.staffed == 0:
                pool.unstaffed_since = now
                if pool.waiting and not pool.queue.wait_unstaffed:
                    self._arm(now + pool.queue.unstaffed_grace, pool.key)

    def _deserted(self, place: Place, now: float) -> bool:
        """Nobody is there who could ever take the call, for long enough to say so."""
        return not place.queue.wait_unstaffed and all(
            pool.staffed == 0 and now >= pool.unstaffed_since + place.queue.unstaffed_grace
            for pool in (*place.pools, *place.later)
        )

    # --- time -------------------------------------------------------------------------------------------------

    def _arm(self, when: float, subject: CallId | PoolKey) -> None:
        if when == math.inf:
            return
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, subject))
        if len(self._timers) > 4 * len(self._places) + TIMERS_SLACK:
            self._timers = [timer for timer in self._timers if isinstance(timer[2], tuple) or timer[2] in self._places]
            heapq.heapify(self._timers)

    def _tick(self, now: float, out: list[Decision]) -> None:
        """Run what is due. A timer only says when to look; the place or pool says what is due."""
        while self._timers and self._timers[0][0] <= now:
            subject = heapq.heappop(self._timers)[2]
            if isinstance(subject, tuple):
                self._desert(self._index.pools.get(subject), now, out)
            elif (place := self._places.get(subject)) is not None and place.seeking:
                self._due(place, now, out)

    def _due(self, place: Place, now: float, out: list[Decision]) -> None:
        if now >= place.leave_at:
            self._flow_out(place, QueueExit.TIMEOUT, now, out)
        elif now >= place.overflow_at:
            self._unseek(place)
            self._seek(place, now, out)
        elif now >= place.announce_at:
            self._announce(place, now, out)

    def _desert(self, pool: Pool | None, now: float, out: list[Decision]) -> None:
        for rank in list(pool.waiting) if pool is not None and pool.staffed == 0 else ():
            place = self._places[rank[2]]
            if self._deserted(place, now):
                self._flow_out(place, QueueExit.NO_AGENTS, now, out)

    def _announce(self, place: Place, now: float, out: list[Decision]) -> None:
        """Never while a phone rings: a call that comes back from a missed offer is told at once when it was due."""
        number, wait = self._outlook(place)
        out.append(Announce(place.waiting.call, number, wait))
        place.announce_at = now + place.queue.announce_every if place.queue.announce_every > 0 else math.inf
        self._arm(place.announce_at, place.waiting.call)

    def _outlook(self, place: Place) -> tuple[int, float]:
        queue = place.queue.name
        number = position(self._lines[queue], place.rank)
        return number, self._estimates[queue].estimate(number, self._working(place))

    def _working(self, place: Place) -> int:
        """Agents at work who may take this call. Those in two of its pools count twice: overflow makes it a guess."""
        return sum(pool.working for pool in place.pools)
