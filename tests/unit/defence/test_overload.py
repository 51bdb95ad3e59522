"""The controller against a server of which we know all: so much work a second, for a call, to refuse one."""

import random
from collections import deque

import pytest

from engine.overload import IN_TIME, LOWEST, Limits, Load, Overload
from events.types import CallsShed, Event, OverloadBegan, OverloadEnded

CAPACITY = 230.0
"""Calls a second that the modelled server can do."""
IDLE = 0.03
"""Share of its time that goes elsewhere."""
WORK = (1.0 - IDLE) / CAPACITY
HELPERS = 0.35
"""Share of a call's work that other processes do on the same core, before ours."""
REFUSAL = 0.00005
STEP = 0.01


class Server:
    """A server with a controller before it. Work of calls in progress is done first, then new calls are taken; what is
    refused at a glance is refused at once.

    first: share of a call's work that comes with its INVITE; the rest comes `later` seconds behind, give or take a
    third. unsteady: share of the processor that others may take from it."""

    def __init__(self, first: float = 0.4, later: float = 0.7, unsteady: float = 0.0) -> None:
        self.events: list[Event] = []
        self.overload = Overload(Limits(), self.events.append)
        self.ticks = 0
        self.backlog = self.helping = 0.0
        self.line: deque[tuple[float, str]] = deque()
        self.later: dict[int, float] = {}
        self.calls = 0
        self.admitted: list[int] = []
        self.late: list[float] = []
        self._first, self._later, self._unsteady = first, later, unsteady
        self._chance = random.Random(7)
        self.come: random.Random | None = None
        """By which calls come as they like, in heaps and gaps (Poisson); else evenly."""
        self._arriving = self._ran = self._could = 0.0

    @property
    def capacity(self) -> float:
        return CAPACITY * (1.0 - self._unsteady / 2)

    def step(self, offered: float) -> None:
        """offered: INVITEs a second."""
        now = self.ticks * STEP
        self._arriving += offered * STEP if self.come is None else _poisson(offered * STEP, self.come)
        while self._arriving >= 1.0:
            self._arriving -= 1.0
            self.calls += 1
            if self.overload.refuses(f"z9hG4bK{self.calls}", "trunk", now):
                self.backlog += REFUSAL
            else:
                self.line.append((now, f"z9hG4bK{self.calls}"))
        due = self.later.pop(self.ticks, 0.0)
        self.backlog += due * (1.0 - HELPERS)
        self.helping += due * HELPERS
        could = STEP * (1.0 - IDLE) * (1.0 - self._unsteady * self._chance.random())
        helped = min(could, self.helping)
        self.helping -= helped
        left = mine = could - helped
        left -= min(mine, self.backlog)
        self.backlog -= mine - left
        left = self._take(now, left)
        self.backlog += max(0.0, -left)
        ran = mine - max(0.0, left)
        self._ran += could if left <= 0 else ran * (1.0 + helped / could)
        self._could += could
        self.ticks += 1
        self.late.append(max(self.backlog, now - self.line[0][0] if self.line else 0.0))
        if self.ticks % 10 == 0:
            self.overload.sample(Load(self._ran / self._could, self.late[-1], 0.0, 0.0, 0.0, len(self.line)), now)
            self._ran = self._could = 0.0

    def _take(self, now: float, left: float) -> float:
        admitted = 0
        while self.line and left > 0:
            if self.overload.admit(self.line.popleft()[1], "trunk", now):
                admitted += 1
                left -= WORK * self._first * (1.0 - HELPERS)
                self.helping += WORK * self._first * HELPERS
                due = self.ticks + round(self._later * self._chance.uniform(0.66, 1.33) / STEP)
                self.later[due] = self.later.get(due, 0.0) + WORK * (1.0 - self._first)
            else:
                left -= REFUSAL
        self.admitted.append(admitted)
        return left

    def run(self, offered: float, seconds: float) -> float:
        """Calls admitted a second, as a share of what could be done beside the refusals."""
        start = len(self.admitted)
        for _ in range(round(seconds / STEP)):
            self.step(offered)
        most = self.capacity * (1.0 - max(0.0, offered - self.capacity) * REFUSAL)
        return sum(self.admitted[start:]) / seconds / min(offered, most)


def _poisson(mean: float, chance: random.Random) -> int:
    """How many come in a time in which so many do on average."""
    number, left = 0, chance.expovariate(1.0)
    while left < mean:
        number, left = number + 1, left + chance.expovariate(1.0)
    return number


KINDS = pytest.mark.parametrize(
    ("kind", "least"),
    [({}, 0.92), ({"unsteady": 0.3}, 0.92), ({"first": 0.8}, 0.92), ({"first": 0.2, "later": 0.5}, 0.82)],
    ids=["usual", "unsteady", "at once", "most of it later"],
)


def test_below_its_limit_nothing_is_refused() -> None:
    server = Server()
    assert server.run(0.85 * CAPACITY, 60) == pytest.approx(1.0, abs=0.01)
    assert server.events == []


def test_who_is_in_time_refuses_nobody_however_much_he_does() -> None:
    """A processor that is all taken does what it can."""
    overload = Overload(Limits(), lambda event: None)
    for step in range(600):
        overload.sample(Load(1.0, Limits().lag * IN_TIME * 0.99, 0.0, 0.0, 0.0), step / 10)
        assert not overload.refuses(str(step), "", step / 10)
    for step in range(600, 610):
        overload.sample(Load(1.0, Limits().lag * IN_TIME, 0.0, 0.0, 0.0), step / 10)
    assert overload.shedding


def test_nearly_all_of_what_can_be_done_is_done() -> None:
    """Calls that come by chance, 19 for 20 that the server can do."""
    server = Server()
    server.come = random.Random(3)
    server.run(0.8 * CAPACITY, 10)
    came, admitted = server.calls, len(server.admitted)
    server.run(0.95 * CAPACITY, 120)
    assert sum(server.admitted[admitted:]) >= 0.99 * (server.calls - came)


@KINDS
@pytest.mark.parametrize("times", [1.0, 1.5, 2.0, 3.0, 5.0])
def test_goodput_stays_flat_past_the_limit(times: float, kind: dict[str, float], least: float) -> None:
    server = Server(**kind)
    server.run(0.8 * server.capacity, 10)
    assert server.run(times * server.capacity, 10) >= 0.8  # finding it
    assert server.run(times * server.capacity, 40) >= least
    assert max(server.late) < 1.2
    refused = server.calls - sum(server.admitted) - len(server.line)
    assert refused or times == 1.0
    assert not refused or isinstance(server.events[0], OverloadBegan)


@KINDS
def test_five_times_the_limit_is_left_behind_at_once(kind: dict[str, float], least: float) -> None:
    server = Server(**kind)
    server.run(0.8 * server.capacity, 10)
    server.run(5 * server.capacity, 20)
    server.run(0.75 * server.capacity, 1)
    assert server.run(0.75 * server.capacity, 10) >= 0.99
    assert not server.overload.shedding
    assert isinstance(server.events[-1], OverloadEnded)


def test_a_burst_on_a_server_that_knows_nothing_of_itself_yet() -> None:
    server = Server()
    server.run(5 * CAPACITY, 10)
    assert server.run(5 * CAPACITY, 20) >= 0.85


def test_every_refusal_is_told_once() -> None:
    server = Server()
    server.run(2 * CAPACITY, 30)
    server.run(0.1 * CAPACITY, 10)
    shed = sum(event.count for event in server.events if isinstance(event, CallsShed))
    assert shed == server.calls - sum(server.admitted) > 0
    assert shed == sum(event.shed for event in server.events if isinstance(event, OverloadEnded))
    assert sum(isinstance(event, CallsShed) for event in server.events) <= 62


@pytest.mark.parametrize("name", ["lag", "transactions", "journal", "media"])
def test_each_measure_sheds_alone(name: str) -> None:
    events: list[Event] = []
    overload = Overload(Limits(), events.append)
    limit = getattr(Limits(), name)
    for n in range(9):
        overload.sample(Load(0, 0, 0, 0, 0)._replace(**{name: limit * 0.99}), n / 10)
        assert not overload.shedding
    for n in range(5):
        overload.sample(Load(0, 0, 0, 0, 0)._replace(**{name: limit}), 1 + n / 10)
    assert overload.shedding
    assert isinstance(events[0], OverloadBegan)
    assert events[0].cause == name


def test_the_first_moment_after_a_start_is_no_overload() -> None:
    """It is all work, of the start and for what has gathered meanwhile; whether that lasts only time can tell."""
    server = Server()
    server.overload.sample(Load(busy=1.0, lag=0.0, transactions=0, journal=0.0, media=0.0), 5000.0)
    server.overload.sample(Load(busy=1.0, lag=0.0, transactions=0, journal=0.0, media=0.0), 5000.1)
    assert server.overload.pressure < 0.5
    assert server.events == []


def test_one_stall_is_no_overload() -> None:
    """A disk that hangs for three seconds: nothing ran meanwhile, and when it is over it is over."""
    overload = Overload(Limits(), lambda event: None)
    overload.sample(Load(0.5, 0.0, 0.1, 0.1, 0.0), 0.1)
    overload.sample(Load(0.1, 3.0, 0.1, 3.0, 0.0), 3.2)
    assert not overload.shedding


def test_a_little_is_always_let_in() -> None:
    """Else nobody would know when it is over."""
    overload = Overload(Limits(), lambda event: None)
    now = 0.0
    for _ in range(1000):
        now += 0.1
        overload.sample(Load(1, 10, 1, 100, 1), now)
    assert overload.rate == LOWEST
    assert sum(overload.admit(str(n), "", now + n / 100) for n in range(1000)) >= LOWEST * 9


def test_the_same_invite_again_is_refused_again_in_the_same_words() -> None:
    overload = Overload(Limits(), lambda event: None)
    overload.sample(Load(0, 0, 0, 0, 1), 0.1)
    refused = next(str(n) for n in range(100) if not overload.admit(str(n), "", 0.1))
    assert not overload.admit(refused, "", 0.6)
    assert overload.retry_after(refused) == overload.retry_after(refused)
    assert {overload.retry_after(f"z9hG4bK{n}") for n in range(100)} == set(range(3, 11))


def test_while_closed_nothing_is_let_in_and_each_refusal_is_told() -> None:
    """The memory for events is nearly used up: what is left is for the calls in progress."""
    told: list[Event] = []
    overload = Overload(Limits(), told.append)
    overload.closed = "memory"
    idle = Load(0.0, 0.0, 0.0, 0.0, 0.0)
    for step in range(1, 100):
        overload.sample(idle, step / 10)
        assert not overload.admit(str(step), "", step / 10)
    overload.closed = ""
    for step in range(100, 200):
        overload.sample(idle, step / 10)
    assert overload.admit("x", "", 20.0)
    assert not overload.shedding
    assert sum(event.count for event in told if isinstance(event, CallsShed)) == 99
    assert [event.cause for event in told if isinstance(event, OverloadBegan)] == ["memory"]


def test_a_line_of_new_calls_is_overload_at_once() -> None:
    """Without waiting for a median: half a second's worth of them, as soon as we know what a call takes."""
    overload = Overload(Limits(), lambda event: None)
    for step in range(20):
        for n in range(10):
            overload.admit(f"{step} {n}", "", step / 10)
        overload.sample(Load(0.5, 0.0, 0.0, 0.0, 0.0, 20 * step), step / 10)
        assert not overload.shedding or 20 * step >= 95, "100 calls a second take half of the processor"
    assert overload.shedding
