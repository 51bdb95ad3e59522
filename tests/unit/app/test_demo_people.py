"""The demo's people under virtual time: what they do on the phone, and when."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from app.demo.people import (
    CODE_HEARD,
    MOST_CALLERS,
    VISITOR_TALK,
    Agent,
    Callers,
    Manner,
    Person,
    Room,
    Unavailable,
    someone,
)
from tests.support.virtual import run

CALM = Manner(ignores=0.0, declines=0.0, holds=0.0, breaks=0.0, talk_spread=0.0)


def now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


@dataclass(eq=False)
class FakeLine:
    """A call whose far end the test plays. trace: what was done here, with the time."""

    number: str = ""
    trace: list[str] = field(default_factory=list)
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def note(self, what: str) -> None:
        self.trace.append(f"{now():05.1f} {what}")

    def end(self, how: str) -> None:
        if not self.ended.done():
            self.ended.set_result(how)

    async def answer(self) -> None:
        self.note("answer")

    def decline(self) -> None:
        self.note("decline")
        self.end("here")

    def hangup(self) -> None:
        if not self.ended.done():
            self.note("hangup")
        self.end("here")

    def press(self, digit: str) -> bool:
        self.note(f"press {digit}")
        return True

    def speak(self, on: bool) -> None:
        self.note("speak" if on else "listen")

    async def hold(self, on: bool) -> bool:
        self.note("hold" if on else "resume")
        return True


def person(**changes: Any) -> Person:
    values: dict[str, Any] = {
        "number": "01055500001",
        "name": "",
        "keys": ((2.0, "9"), (3.0, "1")),
        "leaves_menu": False,
        "patience": 30.0,
        "ends_talk": True,
        "pitch": 120.0,
    }
    return Person(**{**values, **changes})


def later(seconds: float, do: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, do)


# --- callers --------------------------------------------------------------------------------------------------


def called(who: Person, play: Callable[[FakeLine, Room], object] = lambda line, room: None) -> list[str]:
    """The trace of one person's call, `play` arranging what the far end does."""

    async def scene() -> list[str]:
        line, room = FakeLine(), Room()

        async def place(_: Person) -> FakeLine:
            play(line, room)
            return line

        await Callers(place, room, random.Random(1), 1.0).call(who)
        assert who.number not in room
        return line.trace

    return run(scene())


def test_a_caller_presses_his_keys_and_gives_up_when_nobody_comes() -> None:
    assert called(person()) == ["002.0 press 9", "005.0 press 1", "035.0 hangup"]


def test_a_caller_who_is_greeted_talks_and_hangs_up_when_all_is_said() -> None:
    trace = called(person(), lambda line, room: later(20, lambda: room.greet("01055500001", 12.0)))
    assert trace == ["002.0 press 9", "005.0 press 1", "020.0 speak", "032.0 hangup"]


def test_a_caller_may_leave_the_end_to_the_agent() -> None:
    def play(line: FakeLine, room: Room) -> None:
        later(20, lambda: room.greet("01055500001", 12.0))
        later(33, lambda: line.end("there"))

    assert called(person(ends_talk=False), play)[-1] == "020.0 speak"


def test_a_caller_may_leave_in_the_menu() -> None:
    assert called(person(leaves_menu=True)) == ["002.0 press 9", "005.0 hangup"]


def test_a_caller_notices_that_the_hotline_has_hung_up() -> None:
    assert called(person(), lambda line, room: later(4, lambda: line.end("there"))) == ["002.0 press 9"]


def test_a_call_that_comes_to_nothing_is_taken_as_it_is() -> None:
    async def scene() -> None:
        async def place(_: Person) -> FakeLine:
            raise Unavailable("INVITE 1001: 503")

        room = Room()
        await Callers(place, room, random.Random(1), 1.0).call(person())
        assert "01055500001" not in room

    run(scene())


def population(seed: int, per_minute: float, seconds: float, stay: float) -> tuple[list[Person], int]:
    """Who calls in that time when each call lasts `stay`, and the most at once."""

    async def scene() -> tuple[list[Person], int]:
        seen: list[Person] = []
        most = 0

        async def place(who: Person) -> FakeLine:
            nonlocal most
            seen.append(who)
            most = max(most, callers.active)
            line = FakeLine()
            later(stay, lambda: line.end("there"))
            return line

        callers = Callers(place, Room(), random.Random(seed), per_minute)
        task = asyncio.create_task(callers.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])
        assert callers.active == 0
        return seen, most

    return run(scene())


def test_callers_come_as_often_as_asked_for() -> None:
    seen, _ = population(seed=7, per_minute=12.0, seconds=3600.0, stay=10.0)
    assert 640 < len(seen) < 800  # 720 expected, 27 the standard deviation


def test_equal_seeds_bring_equal_callers_however_long_their_calls_last() -> None:
    first, _ = population(seed=3, per_minute=6.0, seconds=600.0, stay=5.0)
    second, _ = population(seed=3, per_minute=6.0, seconds=600.0, stay=9.0)
    assert len(first) > 30
    assert first == second


def test_there_is_a_limit_to_how_many_call_at_once() -> None:
    _, most = population(seed=3, per_minute=600.0, seconds=60.0, stay=120.0)
    assert most == MOST_CALLERS


def test_people_differ_but_each_makes_sense() -> None:
    chance = random.Random(11)
    crowd = [someone(chance) for _ in range(500)]
    assert len({who.number for who in crowd}) > 450
    assert all(who.keys and all(key in "12307 9" for _, key in who.keys) for who in crowd)
    assert all(0 < who.patience <= 300 for who in crowd)
    assert 0 < sum(who.leaves_menu for who in crowd) < 100


# --- agents ---------------------------------------------------------------------------------------------------


@dataclass
class Office:
    """One agent, the codes he dials, and the room in which he meets callers."""

    manner: Manner
    room: Room = field(default_factory=Room)
    codes: list[str] = field(default_factory=list)
    refuse: int = 0

    def __post_init__(self) -> None:
        self.agent = Agent(self._dial, self.room, random.Random(5), self.manner)

    async def _dial(self, code: str) -> FakeLine:
        if self.refuse:
            self.refuse -= 1
            raise Unavailable("503")
        self.codes.append(f"{now():05.1f} {code}")
        return FakeLine()


def worked(manner: Manner, day: Callable[[Office], Coroutine[Any, Any, None]]) -> list[str]:
    """The codes dialled while `day` goes on."""

    async def scene() -> list[str]:
        office = Office(manner)
        work = asyncio.create_task(office.agent.work())
        await asyncio.sleep(10)
        await day(office)
        work.cancel()
        await asyncio.wait([work])
        return [code.partition(" ")[2] for code in office.codes]

    return run(scene())


def test_an_agent_logs_in_and_says_that_he_is_ready() -> None:
    async def day(_: Office) -> None:
        await asyncio.sleep(3600)

    assert worked(CALM, day) == ["*11", "*13"]


def test_an_agent_whose_phone_rings_does_not_listen_to_the_end_of_a_confirmation() -> None:
    async def scene() -> None:
        office = Office(CALM)
        work = asyncio.create_task(office.agent.work())
        await asyncio.sleep(CODE_HEARD + 2.0)  # *13 was dialled, and is still being confirmed
        line = FakeLine("visitor")
        office.agent.rings(line)
        await asyncio.sleep(CALM.answers_after[1])
        assert [entry.partition(" ")[2] for entry in line.trace] == ["answer", "speak"]
        work.cancel()
        await asyncio.wait([work])

    run(scene())


def test_an_agent_dials_again_when_the_hotline_did_not_answer() -> None:
    async def scene() -> list[str]:
        office = Office(CALM, refuse=2)
        work = asyncio.create_task(office.agent.work())
        await asyncio.sleep(20)
        work.cancel()
        await asyncio.wait([work])
        return [code.partition(" ")[2] for code in office.codes]

    assert run(scene()) == ["*11", "*13"]


def test_an_agent_answers_greets_and_hangs_up_if_the_caller_does_not() -> None:
    async def day(office: Office) -> None:
        who = person(ends_talk=False)
        greeted = office.room.enter(who)
        line = FakeLine(who.number)
        office.agent.rings(line)
        assert await line.ended == "here"
        what = [entry.partition(" ")[2] for entry in line.trace]
        assert what == ["answer", "speak", "hangup"]
        assert round(greeted.result(), 6) == CALM.talk_median

    assert worked(CALM, day) == ["*11", "*13"]


def test_an_agent_has_time_for_the_visitor() -> None:
    async def day(office: Office) -> None:
        line = FakeLine("visitor")
        office.agent.rings(line)
        began = now()
        await line.ended
        assert now() - began >= VISITOR_TALK

    worked(CALM, day)


def test_an_agent_who_lets_it_ring_comes_back_later() -> None:
    async def day(office: Office) -> None:
        line = FakeLine("x")
        office.agent.rings(line)
        await asyncio.sleep(6)
        line.end("there")
        assert line.trace == []
        await asyncio.sleep(20)

    assert worked(Manner(ignores=1.0), day) == ["*11", "*13", "*13"]


def test_a_caller_who_is_gone_before_the_answer_is_not_answered() -> None:
    async def day(office: Office) -> None:
        line = FakeLine("x")
        office.agent.rings(line)
        line.end("there")
        await asyncio.sleep(20)
        assert line.trace == []

    worked(CALM, day)


def test_an_agent_may_decline() -> None:
    async def day(office: Office) -> None:
        line = FakeLine("x")
        office.agent.rings(line)
        await line.ended
        assert [entry.partition(" ")[2] for entry in line.trace] == ["decline"]

    worked(Manner(ignores=0.0, declines=1.0), day)


def test_an_agent_may_hold_and_takes_a_break_after_the_call() -> None:
    async def day(office: Office) -> None:
        who = person(ends_talk=False)
        office.room.enter(who)
        line = FakeLine(who.number)
        office.agent.rings(line)
        await line.ended
        what = [entry.partition(" ")[2] for entry in line.trace]
        assert what == ["answer", "speak", "hold", "listen", "resume", "speak", "hangup"]
        await asyncio.sleep(60)

    manner = Manner(ignores=0.0, declines=0.0, holds=1.0, breaks=1.0)
    assert worked(manner, day) == ["*11", "*13", "*141", "*13"]
