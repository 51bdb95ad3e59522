"""Who calls and who answers in the demo: what they do and when, by seeded chance. They know phones only as `Line`, so
that tests give them others and let hours pass at once."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

MOST_CALLERS: Final = 120
"""At once. Each has its own stream of audio, made here in Python; beyond that nobody new calls."""
VISITOR_TALK: Final = 180.0
"""How long an agent stays with a caller who is none of ours: the person in front of the screen."""
CODE_HEARD: Final = 8.0
"""Seconds that an agent listens at most to a feature code's confirmation; he hangs up earlier when the phone rings."""
CODE_TRIES: Final = 5
GIVEN: Final = (
    "张伟",
    "王芳",
    "李强",
    "刘洋",
    "陈静",
    "赵敏",
    "Anna Kowalski",
    "John Smith",
    "Priya Nair",
    "Tom Brown",
)


class Unavailable(Exception):
    """The call came to nothing; people take it as it is."""


class Line(Protocol):
    """One call, as the one who holds the receiver has it."""

    number: str
    """Of the caller, on the display of the phone that rings."""
    ended: asyncio.Future[str]

    async def answer(self) -> None: ...
    def decline(self) -> None: ...
    def hangup(self) -> None: ...
    def press(self, digit: str) -> bool: ...
    def speak(self, on: bool) -> None: ...
    async def hold(self, on: bool) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A caller, decided before he dials."""

    number: str
    name: str
    """"" when his network sends none."""
    keys: tuple[tuple[float, str], ...]
    """(seconds after the answer or the key before, digit)"""
    leaves_menu: bool
    """Hangs up when he should press his last key."""
    patience: float
    """Seconds he waits for a person, after his last key."""
    ends_talk: bool
    """Hangs up first; otherwise the agent does."""
    pitch: float
    """Of the voice, Hz."""


def someone(chance: random.Random) -> Person:
    """The next caller. Every number is out of a block kept for fiction or of no subscriber."""
    english = chance.random() < 0.3
    choice = chance.choices("1230", (40, 30, 15, 15))[0]
    keys = [(chance.uniform(2.0, 8.0), choice)]  # most people know the menu, and press while it greets them
    if english:
        keys = [(chance.uniform(6.0, 11.0), "9"), (chance.uniform(2.0, 6.0), choice)]
    if chance.random() < 0.05:
        keys.append((chance.uniform(3.0, 6.0), "7"))  # pressed by mistake; means nothing by then
    return Person(
        number=f"0105550{chance.randrange(10_000):04}",
        name=chance.choice(GIVEN) if chance.random() < 0.6 else "",
        keys=tuple(keys),
        leaves_menu=chance.random() < 0.06,
        patience=min(chance.lognormvariate(math.log(45.0), 0.7), 300.0),
        ends_talk=chance.random() < 0.6,
        pitch=chance.uniform(90.0, 230.0),
    )


class Room:
    """What a caller hears: whether a person has answered. Stands in for ears, for both sides."""

    def __init__(self) -> None:
        self._callers: dict[str, tuple[Person, asyncio.Future[float]]] = {}

    def __contains__(self, number: str) -> bool:
        return number in self._callers

    def enter(self, person: Person) -> asyncio.Future[float]:
        """The result will be the seconds that the talk is going to take."""
        greeted: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._callers[person.number] = (person, greeted)
        return greeted

    def leave(self, person: Person) -> None:
        self._callers.pop(person.number, None)

    def greet(self, number: str, seconds: float) -> Person | None:
        """An agent answers. None: no caller of ours."""
        person, greeted = self._callers.get(number, (None, None))
        if greeted is not None and not greeted.done():
            greeted.set_result(seconds)
        return person


async def over(line: Line, seconds: float | None) -> bool:
    """Let time pass (None: as much as it takes); True when the call ended in it."""
    done, _ = await asyncio.wait([line.ended], timeout=seconds)
    return bool(done)


Place = Callable[[Person], Awaitable[Line]]
"""Calls the hotline for a person; returns when it answers. Raises Unavailable."""


class Callers:
    """The town: people who call, a Poisson process."""

    def __init__(self, place: Place, room: Room, chance: random.Random, per_minute: float) -> None:
        self._place = place
        self._room = room
        self._chance = chance
        self._per_second = per_minute / 60.0
        self.active = 0

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as calls:
            while True:
                person = self._next()
                if self.active < MOST_CALLERS:
                    self.active += 1
                    calls.create_task(self._counted(person))
                await asyncio.sleep(self._chance.expovariate(self._per_second))

    def _next(self) -> Person:
        """Somebody whose number nobody on the line has."""
        while True:
            person = someone(random.Random(self._chance.getrandbits(64)))
            if person.number not in self._room:
                return person

    async def _counted(self, person: Person) -> None:
        try:
            await self.call(person)
        finally:
            self.active -= 1

    async def call(self, person: Person) -> None:
        """One person's call, from dialling to the end of it."""
        greeted = self._room.enter(person)
        line: Line | None = None
        try:
            line = await self._place(person)
            await _converse(person, line, greeted)
        except Unavailable:
            pass
        finally:
            self._room.leave(person)
            if line is not None:
                line.hangup()


async def _converse(person: Person, line: Line, greeted: asyncio.Future[float]) -> None:
    """Returns when he has nothing more to say, or nobody listens."""
    for number, (after, digit) in enumerate(person.keys, start=1):
        if await over(line, after) or (person.leaves_menu and number == len(person.keys)):
            return
        line.press(digit)
    waits: list[asyncio.Future[Any]] = [line.ended, greeted]
    await asyncio.wait(waits, timeout=person.patience, return_when=asyncio.FIRST_COMPLETED)
    if greeted.done() and not line.ended.done():
        line.speak(True)
        await over(line, greeted.result() if person.ends_talk else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How an agent works. Shares are of the calls offered to him."""

    answers_after: tuple[float, float] = (0.8, 3.0)
    talk_median: float = 11.0
    talk_spread: float = 0.6
    """Sigma of the log-normal."""
    talk_most: float = 90.0
    ignores: float = 0.07
    """Lets it ring (and is set not ready for it)."""
    declines: float = 0.03
    holds: float = 0.2
    breaks: float = 0.08
    """After a call goes for a break, with reason 1."""
    away: tuple[float, float] = field(default=(4.0, 12.0))


class Agent:
    """dial: calls a number from his phone, raises Unavailable. His phone tells `rings` of each call."""

    def __init__(
        self, dial: Callable[[str], Awaitable[Line]], room: Room, chance: random.Random, manner: Manner
    ) -> None:
        self._dial = dial
        self._room = room
        self._chance = chance
        self._manner = manner
        self._ringing: asyncio.Queue[Line] = asyncio.Queue()
        self._confirming: Line | None = None

    def rings(self, line: Line) -> None:
        if self._confirming is not None:
            self._confirming.hangup()
        self._ringing.put_nowait(line)

    async def work(self) -> None:
        """The phone is registered: log in, then serve for ever."""
        await self._code("*11")
        await asyncio.sleep(self._chance.uniform(0.2, 1.5))
        await self._code("*13")
        while True:
            await self._serve(await self._ringing.get())

    async def _code(self, code: str) -> None:
        """Dial a feature code, listen to what it says."""
        for _ in range(CODE_TRIES):
            try:
                line = await self._dial(code)
            except Unavailable:
                await asyncio.sleep(self._chance.uniform(1.0, 3.0))
                continue
            self._confirming = line
            try:
                await over(line, CODE_HEARD if self._ringing.empty() else 0.0)
            finally:
                self._confirming = None
                line.hangup()
            return

    async def _serve(self, line: Line) -> None:
        manner, chance = self._manner, self._chance
        mood = chance.random()
        if mood < manner.ignores:
            await over(line, None)
            await asyncio.sleep(chance.uniform(*manner.away))
            await self._code("*13")
            return
        if await over(line, chance.uniform(*manner.answers_after)):
            return
        if mood < manner.ignores + manner.declines:
            line.decline()
            return
        await line.answer()
        try:
            await self._talk(line)
        finally:
            line.hangup()
        if chance.random() < manner.breaks:
            await self._code("*141")
            await asyncio.sleep(chance.uniform(*manner.away))
            await self._code("*13")

    async def _talk(self, line: Line) -> None:
        manner, chance = self._manner, self._chance
        line.speak(True)
        seconds = min(chance.lognormvariate(math.log(manner.talk_median), manner.talk_spread), manner.talk_most)
        person = self._room.greet(line.number, seconds)
        if person is None:
            await over(line, VISITOR_TALK)
            return
        if chance.random() < manner.holds:
            if await over(line, seconds * 0.4):
                return
            await self._look_up(line)
        await over(line, seconds * 1.5 if person.ends_talk else seconds * 0.6)

    async def _look_up(self, line: Line) -> None:
        """Put the caller on hold for a moment."""
        if not await line.hold(True):
            return
        line.speak(False)
        if not await over(line, self._chance.uniform(2.0, 4.0)):
            await line.hold(False)
            line.speak(True)
