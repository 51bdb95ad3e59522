"""A caller, phones and a site for ACD tests under virtual time. Phones obey a script; nothing is mocked away."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from acd.routing.model import AgentProfile, Queue
from acd.service import AcdService
from acd.visit import QueueResult
from acd.visits import Announcer
from engine.call import (
    BridgeEnd,
    Call,
    Collected,
    ConferenceEnd,
    Dial,
    Dialled,
    DialOutcome,
    Frame,
    JoinEnd,
    Leg,
    Played,
    Unkept,
    Why,
)
from events.types import EndedBy, Event, TransferKind
from kernel.clock import Clock
from kernel.ids import AgentName, CallId, Ids, LegId, QueueName
from tests.support.virtual import run


class FakeLeg:
    def __init__(self, leg_id: str) -> None:
        self._id = LegId(leg_id)
        self.gone = asyncio.Event()

    @property
    def id(self) -> LegId:
        return self._id

    def hangup(self, reason: str = "") -> None:
        self.gone.set()

    async def wait_ended(self) -> None:
        await self.gone.wait()


class FakeTransfer:
    """consult: the call whose leg is to be taken. status: what the phone was told in the end."""

    def __init__(self, target: str, kind: TransferKind = TransferKind.BLIND, consult: "FakeCall | None" = None) -> None:
        self.target = target
        self.kind = kind
        self.consult = consult
        self.leg: FakeLeg | None = None
        self.status = 0

    @property
    def consulted(self) -> bool:
        return self.consult is not None

    def progress(self, sip_status: int = 180) -> None:
        assert self.status == 0

    def take(self) -> FakeLeg | None:
        return self.consult.take() if self.consult is not None else None

    def done(self) -> None:
        assert self.status == 0
        self.status = 200
        if self.leg is not None:
            self.leg.hangup()

    def failed(self, sip_status: int) -> None:
        assert self.status == 0
        self.status = sip_status


@dataclass
class Phone:
    """Answers after `answers` seconds (None: never); or fails with `outcome` after `fails` seconds."""

    answers: float | None = 2.0
    outcome: DialOutcome | None = None
    fails: float = 0.0
    talks: float = 1e9
    """Seconds until the agent hangs up."""
    ringing: int = 0
    legs: list[FakeLeg] = field(default_factory=list)


class FakeCall:
    """Implements engine.call.Call. `hang_up` cancels its task, as the engine does."""

    def __init__(self, call_id: str, phones: dict[str, Phone], *, clip_seconds: float = 4.0, stubborn: bool = False):
        self._id = CallId(call_id)
        self._phones = phones
        self._clip_seconds = clip_seconds
        self._stubborn = stubborn
        self._attributes: dict[str, str] = {}
        self._keys: asyncio.Queue[str] = asyncio.Queue()
        self.task: asyncio.Task[QueueResult] | None = None
        self.trace: list[str] = []
        self.queued = False
        self.bridge_ended: BridgeEnd | None = None
        self.bridged: FakeLeg | None = None
        self._bridged_at = 0.0
        self.taken = False
        self.codes: Callable[[str], None] = lambda key: None
        """Takes keys of the agent's phone."""
        self.acknowledged_in = 0.0
        """Seconds that an answer takes."""
        self.conferring: list[Leg] = []
        self._referred: asyncio.Future[FakeTransfer | None] | None = None

    # the Call protocol

    @property
    def id(self) -> CallId:
        return self._id

    @property
    def caller(self) -> str:
        return "13800000001"

    @property
    def caller_name(self) -> str:
        return ""

    @property
    def dialled(self) -> str:
        return "1001"

    @property
    def trunk(self) -> str:
        return "loopback"

    @property
    def attributes(self) -> dict[str, str]:
        return self._attributes

    @property
    def last_bridge(self) -> BridgeEnd | None:
        return self.bridge_ended

    def beside(self, other: Call) -> None: ...

    def give(self, to: Call) -> FakeLeg | None:
        """The leg of the phone that made this call; to hang up on its own when that phone does."""
        self._note(f"given to {to.id}")
        leg = FakeLeg(f"{to.id}-given")
        self._phones[self.caller].legs.append(leg)
        return leg

    def frame(self, layer: str) -> Frame:
        return Unkept()

    def leg_of(self, leg: LegId) -> None:
        return None

    def set_attribute(self, name: str, value: str) -> None:
        self._attributes[name] = value

    async def answer(self) -> None:
        await asyncio.sleep(self.acknowledged_in)

    async def reject(self, sip_status: int, reason: str) -> None:
        self._note(f"reject {sip_status}")
        raise asyncio.CancelledError

    async def play(self, clips: Sequence[str], *, barge_in: bool = True, early: bool = False) -> Played:
        self._note(f"play {' '.join(clips)}")
        await asyncio.sleep(self._clip_seconds)
        return Played(Why.FINISHED, self._clip_seconds)

    async def collect(
        self, *, max_digits: int, timeout: float, inter_digit: float = 3.0, terminator: str = "#"
    ) -> Collected:
        raise NotImplementedError

    async def next_digit(self) -> str:
        return await self._keys.get()

    def start_music(self, clip: str) -> None:
        self._note(f"music {clip}")

    def stop_music(self) -> None:
        self._note("music off")

    async def dial(self, order: Dial) -> Dialled:
        phone = self._phones[order.aor]
        self._note(f"dial {order.aor} {order.display!r}")
        phone.ringing += 1
        rang = asyncio.get_running_loop().time
        start = rang()
        try:
            return await self._ring(phone, order, start)
        except asyncio.CancelledError:
            self._note(f"cancel {order.aor}")
            if self._stubborn:  # its 200 crossed our CANCEL, and the engine below forgot to hang up
                return self._answered(phone, 0.0)
            raise
        finally:
            phone.ringing -= 1

    async def _ring(self, phone: Phone, order: Dial, start: float) -> Dialled:
        now = asyncio.get_running_loop().time
        if phone.outcome is not None:
            await asyncio.sleep(phone.fails)
            return Dialled(phone.outcome, None, 486, now() - start)
        if phone.answers is None or phone.answers > order.ring_for:
            await asyncio.sleep(order.ring_for)
            return Dialled(DialOutcome.NO_ANSWER, None, 487, now() - start)
        await asyncio.sleep(phone.answers)
        return self._answered(phone, now() - start)

    def _answered(self, phone: Phone, rang: float) -> Dialled:
        leg = FakeLeg(f"{self._id}-{len(phone.legs) + 2}")
        phone.legs.append(leg)
        return Dialled(DialOutcome.ANSWERED, leg, 200, rang)

    async def bridge(self, leg: Leg, *, record: bool) -> BridgeEnd:
        assert isinstance(leg, FakeLeg)
        phone = next(phone for phone in self._phones.values() if leg in phone.legs)
        loop = asyncio.get_running_loop()
        start = self._bridged_at = loop.time()
        by = EndedBy.CALLER
        self._note(f"bridge{' recorded' if record else ''}")
        self.bridged, self._referred = leg, loop.create_future()
        gone = asyncio.ensure_future(leg.gone.wait())
        asked: FakeTransfer | None = None
        try:
            ends: list[asyncio.Future[Any]] = [gone, self._referred]
            await asyncio.wait(ends, timeout=phone.talks, return_when=asyncio.FIRST_COMPLETED)
            by = EndedBy.AGENT
            asked = self._referred.result() if self._referred.done() else None
        finally:
            gone.cancel()
            self.bridged = None
            if asked is None and not self.taken:
                leg.hangup()
            if not self.taken:
                self.bridge_ended = BridgeEnd(by, loop.time() - start, 0.0, asked)
        assert self.bridge_ended is not None
        return self.bridge_ended

    async def hangup(self, reason: str = "bye") -> None:
        raise NotImplementedError

    def ringing(self) -> None:
        self._note("ringing")

    def ask_transfer(self, target: str, kind: TransferKind) -> bool:
        return self.refer(FakeTransfer(target, kind))

    async def join(
        self, agent: Leg, other: Leg, until: asyncio.Future[None], keys: Callable[[str], None] = lambda key: None
    ) -> JoinEnd:
        self._note("join")
        self.codes = keys
        start = asyncio.get_running_loop().time()
        ended = await self._first_end([agent, other], until)
        return JoinEnd(asyncio.get_running_loop().time() - start, ended)

    async def confer(
        self,
        legs: Sequence[Leg],
        until: asyncio.Future[None],
        *,
        record: bool,
        keys: Callable[[str], None] = lambda key: None,
    ) -> ConferenceEnd:
        self._note(f"confer{' recorded' if record else ''}")
        self.codes, self.conferring = keys, list(legs)
        loop = asyncio.get_running_loop()
        start, by = loop.time(), EndedBy.CALLER
        try:
            ended = await self._first_end(legs, until)
            by = EndedBy.SYSTEM if ended is None else EndedBy.AGENT
        finally:
            self.conferring = []
            self.bridge_ended = BridgeEnd(by, loop.time() - start, 0.0)
        return ConferenceEnd(loop.time() - start, ended)

    async def _first_end(self, legs: Sequence[Leg], until: asyncio.Future[None]) -> FakeLeg | None:
        fakes = [leg for leg in legs if isinstance(leg, FakeLeg)]
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(leg.gone.wait()) for leg in fakes]
        try:
            await asyncio.wait([*waits, until], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self.codes = lambda key: None
        return next((leg for leg in fakes if leg.gone.is_set()), None)

    # what the test does

    def refer(self, transfer: "FakeTransfer") -> bool:
        """The agent's phone, or the API, asks for a transfer."""
        if self.bridged is None or self._referred is None or self._referred.done():
            return False
        transfer.leg = self.bridged
        self._referred.set_result(transfer)
        return True

    def take(self) -> FakeLeg | None:
        """Another call takes the leg that this one is bridged to."""
        leg, self.taken = self.bridged, True
        talked = asyncio.get_running_loop().time() - self._bridged_at
        self.bridge_ended = BridgeEnd(EndedBy.SYSTEM, talked, 0.0, taken=True)
        if self._referred is not None:
            self._referred.set_result(None)
        return leg

    def press(self, digit: str) -> None:
        self._keys.put_nowait(digit)

    def hang_up(self) -> None:
        assert self.task is not None
        self.task.cancel()

    def _note(self, what: str) -> None:
        self.trace.append(f"{asyncio.get_running_loop().time():05.1f} {what}")


class World:
    """A site with one service and its log. Phones are registered and agents ready unless told otherwise."""

    def __init__(
        self,
        queues: Sequence[Queue],
        agents: Sequence[AgentProfile],
        *,
        announcer: Announcer = lambda call, position, wait: (),
        ready: bool = True,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.log: list[tuple[float, Event]] = []
        self.phones = {agent.aor: Phone() for agent in agents}
        self.calls: list[FakeCall] = []
        clock = Clock(self.loop.time, 1_700_000_000.0)
        self.acd = AcdService(
            queues, agents, emit=self.emit, clock=clock, ids=Ids(random.Random(1)), announcer=announcer
        )
        for agent in agents if ready else ():
            self.acd.phone_registered(agent.aor)
            assert self.acd.agent_command(agent.name, "ready").ok

    def emit(self, event: Event) -> None:
        self.log.append((self.loop.time(), event))

    def call(self, name: str, queue: str = "q", *, stubborn: bool = False, **how: object) -> FakeCall:
        call = FakeCall(name, self.phones, stubborn=stubborn)
        self.calls.append(call)
        call.task = asyncio.create_task(self.acd.enqueue(call, queue, **how))  # type: ignore[arg-type]
        return call

    async def end(self) -> None:
        """Every caller hangs up; all tasks of the service end."""
        for call in self.calls:
            call.hang_up()
        await asyncio.wait([call.task for call in self.calls if call.task is not None])
        await asyncio.sleep(1.0)

    def of(self, *kinds: type[Event]) -> list[Event]:
        return [event for _, event in self.log if isinstance(event, kinds)]

    def story(self, skip: Callable[[Event], bool] = lambda event: False) -> list[str]:
        """The log in short: `010.0 CallOffered c1 ann`."""
        return [f"{at:05.1f} {brief(event)}" for at, event in self.log if not skip(event)]

    def state(self, agent: str) -> str:
        return self.acd.roster.agents[AgentName(agent)].state.value


def brief(event: Event) -> str:
    words = [type(event).__name__]
    for field_name in ("call", "agent", "state", "reason", "result", "why", "position"):
        value = getattr(event, field_name, None)
        if value not in (None, ""):
            words.append(str(value))
    return " ".join(words)


def agent(name: str, aor: str = "", pickup: Sequence[str] = (), **skills: int) -> AgentProfile:
    return AgentProfile(name=AgentName(name), aor=aor or f"phone-{name}", skills=skills, pickup=frozenset(pickup))


def queue(name: str = "q", **how: object) -> Queue:
    return Queue(name=QueueName(name), **how)  # type: ignore[arg-type]


def play(build: Callable[[], World], story: Callable[[World], Awaitable[None]]) -> World:
    """A site's story under virtual time. When it is told every caller hangs up, and the log must balance."""

    async def main() -> World:
        world = build()
        await story(world)
        await world.end()
        check_balance(world.log)
        return world

    return run(main())


def check_balance(log: Sequence[tuple[float, Event]], *, waiting: int = 0) -> None:
    """Offered = sum of disjoint outcomes; each offer ends once; each talk is released once."""
    calls: Counter[str] = Counter()
    offers: Counter[str] = Counter()
    talks: Counter[str] = Counter()
    thirds: Counter[tuple[str, str]] = Counter()
    for _, event in log:
        name = type(event).__name__
        if name == "CallQueued":
            calls[event.call] += 1  # type: ignore[attr-defined]
        if name in ("CallConnected", "CallAbandoned", "CallFlowedOut") and event.queue:  # type: ignore[attr-defined]
            calls[event.call] -= 1  # type: ignore[attr-defined]
        if name == "CallOffered":
            offers[event.offer] += 1  # type: ignore[attr-defined]
        if name in ("CallConnected", "OfferMissed", "OfferWithdrawn"):
            offers[event.offer] -= 1  # type: ignore[attr-defined]
        if name in ("AgentJoined", "AgentLeft"):
            thirds[event.call, event.agent] += 1 if name == "AgentJoined" else -1  # type: ignore[attr-defined]
        if name in ("CallConnected", "CallReleased"):
            talks[event.call] += 1 if name == "CallConnected" else -1  # type: ignore[attr-defined]
        assert all(count >= 0 for count in (calls + offers + talks).values())
        assert all(count in (0, 1) for count in thirds.values())
    assert sum(calls.values()) == waiting
    assert not +offers
    assert not -offers
    assert not +talks
    assert not +thirds
