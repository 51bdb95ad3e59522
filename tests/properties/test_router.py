"""Invariants of the router, over any sequence of events, with `match` (a few obvious lines) as its oracle."""

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from acd.routing.match import eligible, match
from acd.routing.model import (
    PRIORITY_SECONDS,
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
    Idle,
    Missed,
    Offer,
    Queue,
    RouterEvent,
    Strategy,
    Tick,
    Waiting,
    Withdraw,
    requirements,
)
from acd.routing.pools import SeatState
from acd.routing.router import Router
from events.types import QueueExit
from kernel.ids import AgentName, CallId, QueueName

SKILLS = ("a", "b", "c")
A, B, C = QueueName("a"), QueueName("b"), QueueName("c")
QUEUES = {
    A: Queue(name=A, skills={"a": 1}, max_wait=500.0, wait_unstaffed=True, strategy=Strategy.BEST_SKILL),
    B: Queue(name=B, skills={"b": 2}, max_calls=4, overflow_after=20.0, overflow_queues=(A, C)),
    C: Queue(name=C, unstaffed_grace=5.0, announce_first=0.0, announce_every=10.0, strategy=Strategy.SPARE_EXPERTS),
}
levels = st.dictionaries(st.sampled_from(SKILLS), st.integers(1, 4), max_size=3)
profiles = st.lists(st.tuples(levels, st.none() | st.frozensets(st.sampled_from([A, B, C]), min_size=1)), max_size=6)


def make_agents(made: list[tuple[dict[str, int], frozenset[QueueName] | None]]) -> list[AgentProfile]:
    return [
        AgentProfile(name=AgentName(f"agent{number}"), aor=f"{number}", skills=skills, queues=queues)
        for number, (skills, queues) in enumerate(made)
    ]


@dataclass
class Account:
    """What an outsider who only sees the decisions believes."""

    waiting: dict[CallId, Waiting] = field(default_factory=dict)
    ringing: dict[CallId, AgentName] = field(default_factory=dict)
    free: dict[AgentName, float] = field(default_factory=dict)
    entered: int = 0
    answered: int = 0
    left: int = 0
    flowed_out: int = 0


class RouterMachine(RuleBasedStateMachine):
    """Random life of a site. Calls get ids from a shuffled space, so that id order is not arrival order."""

    @initialize(made=profiles, seed=st.integers(0, 1000))
    def start(self, made: list[tuple[dict[str, int], frozenset[QueueName] | None]], seed: int) -> None:
        self.agents = {agent.name: agent for agent in make_agents(made)}
        self.router = Router(QUEUES.values(), self.agents.values())
        self.books = Account()
        self.now = 1000.0
        self.numbers = iter(random.Random(seed).sample(range(10_000), 500))
        self.last_position: dict[CallId, int] = {}

    # --- what may happen

    @rule(queue=st.sampled_from([A, B, C]), skills=levels, priority=st.integers(-2, 3))
    def call_enters(self, queue: QueueName, skills: dict[str, int], priority: int) -> None:
        call = CallId(f"call{next(self.numbers):04}")
        need = {skill: level for skill, level in skills.items() if skill != "c"}
        waiting = Waiting(call=call, queue=queue, skills=need, priority=priority, queued_at=self.now)
        self.books.entered += 1
        self.books.waiting[call] = waiting
        decisions = self.tell(CallEnters(waiting))
        assert isinstance(decisions[0], Admit)

    @rule(pick=st.integers(0, 100))
    def call_leaves(self, pick: int) -> None:
        everyone = sorted([*self.books.waiting, *self.books.ringing])
        if everyone:
            call = everyone[pick % len(everyone)]
            self.books.left += 1
            self.books.waiting.pop(call, None)
            agent = self.books.ringing.pop(call, None)
            self.tell(CallLeaves(call))
            if agent is not None:
                self.agent_free_again(agent)

    @rule(pick=st.integers(0, 100), answers=st.booleans())
    def phone_rang(self, pick: int, answers: bool) -> None:
        if self.books.ringing:
            call = sorted(self.books.ringing)[pick % len(self.books.ringing)]
            del self.books.ringing[call]
            if answers:
                self.books.answered += 1
                del self.waits[call]
                self.tell(Answered(call))
            else:
                self.books.waiting[call] = self.waits[call]
                self.tell(Missed(call))

    @rule(pick=st.integers(0, 100), back=st.sampled_from([0.0, 3.0, 700.0]))
    def agent_free(self, pick: int, back: float) -> None:
        names = [name for name in sorted(self.agents) if name not in self.books.ringing.values()]
        if names:
            self.agent_free_again(names[pick % len(names)], back)

    @rule()
    def ringing_agents_are_told_free_again(self) -> None:
        for name in self.books.ringing.values():
            assert self.tell(AgentFree(name, self.now)) == []

    @rule(pick=st.integers(0, 100), out=st.booleans(), working=st.booleans())
    def agent_goes(self, pick: int, out: bool, working: bool) -> None:
        if self.agents:
            name = sorted(self.agents)[pick % len(self.agents)]
            self.books.free.pop(name, None)
            rang = [call for call, agent in self.books.ringing.items() if agent == name]
            decisions = self.tell(AgentOut(name) if out else AgentTaken(name, working))
            assert [one.call for one in decisions if isinstance(one, Withdraw)] == rang

    @rule(seconds=st.sampled_from([0.5, 4.0, 30.0, 600.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (deadline := self.router.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.tell(Tick())
        self.now = end

    # --- bookkeeping

    @property
    def waits(self) -> dict[CallId, Waiting]:
        if not hasattr(self, "_waits"):
            self._waits: dict[CallId, Waiting] = {}
        return self._waits

    def agent_free_again(self, name: AgentName, back: float = 0.0) -> None:
        """Of all calls that he may take the best is offered, in whichever pool it waits."""
        since = self.now - back
        idle = Idle(profile=self.agents[name], since=since)
        before = dict(self.books.waiting)
        best = min((before[call].rank for call in match(before.values(), [idle], QUEUES, self.now)), default=None)
        self.books.free[name] = since
        offers = [one for one in self.tell(AgentFree(name, since)) if isinstance(one, Offer)]
        if best is not None:
            [offer] = offers
            assert before[offer.call].rank <= best

    def tell(self, event: RouterEvent) -> list[Decision]:
        self.waits.update(self.books.waiting)
        decisions = self.router.step(event, self.now)
        for decision in decisions:
            self.book(decision)
        return decisions

    def book(self, decision: Decision) -> None:
        match decision:
            case Offer(call, name, _):
                waiting = self.books.waiting.pop(call)  # KeyError: offered twice, or never entered
                del self.books.free[name]  # KeyError: the agent was not free
                agent = self.agents[name]
                own = QUEUES[waiting.queue]
                others = own.overflow_queues if self.books_may_overflow(waiting) else ()
                opened = [own, *(QUEUES[other] for other in others)]
                assert any(eligible(agent, one.name, requirements(one, waiting.skills)) for one in opened)
                self.books.ringing[call] = name
            case Withdraw(call, name):
                assert self.books.ringing.pop(call) == name
                self.books.waiting[call] = self.waits[call]
            case FlowOut(call, why, _):
                waiting = self.books.waiting.pop(call)
                self.books.flowed_out += 1
                assert why is not QueueExit.NO_AGENTS or not QUEUES[waiting.queue].wait_unstaffed
            case Announce(call, position, _):
                assert call in self.books.waiting
                assert 1 <= position <= len(self.books.waiting) + len(self.books.ringing)

    def books_may_overflow(self, waiting: Waiting) -> bool:
        """At `overflow_after`, or from the start when its own queue had nobody then."""
        return bool(QUEUES[waiting.queue].overflow_queues)

    # --- what must hold after every step

    @invariant()
    def offered_is_the_sum_of_outcomes(self) -> None:
        books = self.books
        now_here = len(books.waiting) + len(books.ringing)
        assert books.entered == books.answered + books.left + books.flowed_out + now_here
        assert now_here == sum(self.router.depth(queue) for queue in QUEUES)

    @invariant()
    def nobody_waits_who_could_be_served(self) -> None:
        idle = [Idle(profile=self.agents[name], since=since) for name, since in self.books.free.items()]
        assert match(self.books.waiting.values(), idle, QUEUES, self.now - 0.001) == {}

    @invariant()
    def seats_agree_with_the_books(self) -> None:
        ringing = set(self.books.ringing.values())
        for name in self.agents:
            state, _ = self.router.seat(name)
            assert (state is SeatState.FREE) == (name in self.books.free)
            assert (state is SeatState.RESERVED) == (name in ringing)

    @invariant()
    def positions_are_1_to_n_in_order(self) -> None:
        for queue in QUEUES:
            line = [waiting for waiting in self.router.waiting() if waiting.queue == queue]
            places = [self.router.place(waiting.call) for waiting in line]
            assert [place[0] for place in places if place is not None] == list(range(1, len(line) + 1))
            assert line == sorted(line, key=lambda waiting: waiting.rank)


RouterMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRouter = RouterMachine.TestCase


calls = st.lists(
    st.builds(
        lambda number, queue, skills, priority, at: Waiting(
            call=CallId(f"call{number}"), queue=queue, skills=skills, priority=priority, queued_at=at
        ),
        st.integers(0, 999),
        st.sampled_from([A, C]),
        st.dictionaries(st.sampled_from(SKILLS), st.integers(1, 3), max_size=2),
        st.integers(-1, 2),
        st.sampled_from([0.0, 10.0, 70.0]),
    ),
    unique_by=lambda waiting: waiting.call,
    max_size=12,
)


@given(
    made=profiles,
    waiting=calls,
    since=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=6, max_size=6),
    rnd=st.randoms(),
)
def test_match_ignores_input_order_and_never_offers_twice_nor_unskilled(
    made: list[tuple[dict[str, int], frozenset[QueueName] | None]],
    waiting: list[Waiting],
    since: list[float],
    rnd: random.Random,
) -> None:
    idle = [Idle(profile=agent, since=at) for agent, at in zip(make_agents(made), since, strict=False)]
    pairs = match(waiting, idle, QUEUES, 100.0)
    assert len(set(pairs.values())) == len(pairs)
    by_call = {one.call: one for one in waiting}
    by_name = {one.profile.name: one.profile for one in idle}
    for call, name in pairs.items():
        one = by_call[call]
        assert eligible(by_name[name], one.queue, requirements(QUEUES[one.queue], one.skills))
    rnd.shuffle(waiting)
    rnd.shuffle(idle)
    assert match(waiting, idle, QUEUES, 100.0) == pairs


@given(made=profiles, waiting=calls, rnd=st.randoms())
def test_router_pairs_as_match_does_in_any_order_of_events(
    made: list[tuple[dict[str, int], frozenset[QueueName] | None]], waiting: list[Waiting], rnd: random.Random
) -> None:
    """Agents first, then calls best first: the router's indexes give what the plain function gives. Agents who become
    free in any order, at times told in any order, are taken in the order of `since`."""
    agents = make_agents(made)
    since = {agent.name: float(rnd.randint(0, 3)) for agent in agents}
    order = agents[:]
    rnd.shuffle(order)
    router = Router(QUEUES.values(), agents)
    for agent in order:
        router.step(AgentFree(agent.name, since[agent.name]), 100.0)
    told: dict[CallId, AgentName] = {}
    for call in sorted(waiting, key=lambda one: one.rank):
        for decision in router.step(CallEnters(call), 100.0):
            if isinstance(decision, Offer):
                told[decision.call] = decision.agent
    idle = [Idle(profile=agent, since=since[agent.name]) for agent in agents]
    served = [one for one in waiting if one.call in told or router.place(one.call) is not None]
    assert told == match(served, idle, QUEUES, 100.0)


@given(priorities=st.lists(st.integers(0, 5), max_size=200))
@settings(max_examples=25)
def test_no_call_starves(priorities: list[int]) -> None:
    """However many calls of higher priority keep coming, an old one is overtaken only by those who came within their
    head start of it."""
    queue = Queue(name=C, wait_unstaffed=True, max_calls=10_000)
    agent = AgentProfile(name=AgentName("ann"), aor="1")
    router = Router([queue], [agent])
    router.step(CallEnters(Waiting(call=CallId("old"), queue=C, queued_at=0.0)), 0.0)
    now, served_at = 0.0, None
    free = [one for one in router.step(AgentFree(agent.name, 0.0), 0.0) if isinstance(one, Offer)]
    assert free[0].call == "old"
    router.step(Missed(CallId("old")), 0.0)  # back to its place, and now the others come
    for number, priority in enumerate([*priorities, *[5] * 100]):
        now += 10.0
        router.step(CallEnters(Waiting(call=CallId(f"c{number}"), queue=C, priority=priority, queued_at=now)), now)
        [offer] = [one for one in router.step(AgentFree(agent.name, now), now) if isinstance(one, Offer)]
        router.step(Answered(offer.call), now)
        if offer.call == "old":
            served_at = now
            break
    assert served_at is not None
    assert served_at <= 5 * PRIORITY_SECONDS + 10.0
