"""The controller against a server of which we know all: so much work a second, for a call, to refuse one."""

import pytest

from engine.overload import LOWEST, Limits, Load, Overload
from events.types import CallsShed, Event, OverloadBegan, OverloadEnded

CAPACITY = 400.0
"""Calls a second that the modelled server can do: 2.5 ms of work each."""
WORK = 1.0 / CAPACITY
REFUSAL = 0.0001
LATER = 1.0
"""Half of a call's work comes with the INVITE, half a second later with its BYE."""


class Server:
    """A queue of work with a controller before it. One step is 0.1 s."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.overload = Overload(Limits(), self.events.append)
        self.now = 0.0
        self.backlog = 0.0
        self.later: dict[int, float] = {}
        self.calls = 0
        self.admitted: list[int] = []
        self.waited: list[float] = []

    def step(self, offered: float) -> None:
        """offered: INVITEs a second in this step."""
        step = round(self.now * 10)
        self.backlog += self.later.pop(step, 0.0)
        admitted = 0
        for n in range(round(offered / 10)):
            self.calls += 1
            if self.overload.admit(f"z9hG4bK{self.calls}", "trunk", self.now + n / offered):
                admitted += 1
                self.backlog += WORK / 2
                done = step + round(LATER * 10)
                self.later[done] = self.later.get(done, 0.0) + WORK / 2
            else:
                self.backlog += REFUSAL
        self.waited.append(max(0.0, self.backlog - 0.1))
        busy = min(1.0, self.backlog / 0.1)
        self.backlog = max(0.0, self.backlog - 0.1)
        self.now = round(self.now + 0.1, 1)
        self.admitted.append(admitted)
        self.overload.sample(Load(busy, self.waited[-1], 0.0, 0.0, 0.0), self.now)

    def run(self, offered: float, seconds: float) -> float:
        """Calls admitted a second in the last two thirds."""
        start = len(self.admitted)
        for _ in range(round(seconds * 10)):
            self.step(offered)
        settled = self.admitted[start + (len(self.admitted) - start) // 3 :]
        return sum(settled) / len(settled) * 10


def test_below_its_limit_nothing_is_refused() -> None:
    server = Server()
    assert server.run(0.85 * CAPACITY, 60) == pytest.approx(0.85 * CAPACITY, rel=0.01)
    assert server.events == []


@pytest.mark.parametrize("times", [1.5, 2.0, 3.0])
def test_goodput_stays_flat_past_the_limit(times: float) -> None:
    server = Server()
    server.run(0.8 * CAPACITY, 10)
    goodput = server.run(times * CAPACITY, 60)
    spare = CAPACITY * (1 - times * CAPACITY * REFUSAL)
    assert goodput >= 0.85 * spare
    assert max(server.waited[-300:]) < 0.5
    assert isinstance(server.events[0], OverloadBegan)


def test_five_times_the_limit_is_survived_and_left_behind() -> None:
    server = Server()
    server.run(0.8 * CAPACITY, 10)
    server.run(5 * CAPACITY, 30)
    assert max(server.waited[-100:]) < 1.0
    assert server.run(0.8 * CAPACITY, 60) >= 0.75 * CAPACITY
    assert not server.overload.shedding
    assert isinstance(server.events[-1], OverloadEnded)


def test_every_refusal_is_told_once() -> None:
    server = Server()
    server.run(2 * CAPACITY, 30)
    server.run(0.1 * CAPACITY, 30)
    shed = sum(event.count for event in server.events if isinstance(event, CallsShed))
    assert shed == server.calls - sum(server.admitted)
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
