"""A hotline under virtual time whose control process can be killed at any moment: phones and the media plane live on,
what was not committed never happened, and the next process has only what was saved."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from acd.consults import Consults
from acd.destinations import ToAgent, ToQueue
from acd.feature_codes import FeatureCodes
from acd.routing.model import AgentProfile, Queue
from acd.service import AcdService, Flows
from engine.call import Call
from engine.media.plane import MediaEvent, Plane, PortId
from engine.media.protocol import PortState
from engine.outbox import Outbox
from engine.restoring import Ports, Restored
from engine.session import App, LiveCall
from engine.sip.flow import Flow
from engine.sip.message import Request, Response, reply
from engine.trunks.model import Trunk
from engine.trunks.pool import TrunkPool
from engine.trunks.resolver import Resolver
from engine.ua import UaSettings, UserAgent
from events.closing import closing
from events.fold import LiveState
from events.savings import Savings
from events.types import CallOutcome, Event, Recorded
from ivr.interpreter import Interpreter
from ivr.model import Flow as IvrFlow
from ivr.ports import Ports as FlowPorts
from kernel.clock import Clock
from kernel.ids import AgentName, Ids, QueueName
from tests.support.plane import FakePlane, FakePort
from tests.unit.engine.world import SETTINGS, World
from tests.unit.ivr.flows import NO_PROMPTS

DOWN_FOR = 0.5
"""Seconds from the death of a process to the next one's start."""
EPOCH = 1_760_000_000.0
BILLING = Queue(name=QueueName("billing"), music="music.wav", wrap_up=5.0, ring_for=10.0, wait_unstaffed=True)
AGENTS = [AgentProfile(name=AgentName(f"agent{n}"), aor=f"800{n}") for n in (1, 2)]


class Wire:
    """A plane as one process sees it: its commands leave after what they follow from is written, and none once the
    process is dead."""

    def __init__(self, plane: FakePlane, life: "Life") -> None:
        self.name = plane.name
        self.plane = plane
        self._life = life

    async def open(self, host: str, *, rtp_timeout: float = 0.0, rtp_port: int = 0) -> tuple[PortId, int]:
        if self._life.dead:
            raise asyncio.CancelledError
        return await self.plane.open(host, rtp_timeout=rtp_timeout, rtp_port=rtp_port)

    def __getattr__(self, command: str) -> Any:
        def send(*arguments: Any, **named: Any) -> None:
            self._life.outbox.add(partial(self._send, command, arguments, named))

        return send

    def _send(self, command: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not self._life.dead:
            getattr(self.plane, command)(*arguments, **named)


class Life:
    """One control process."""

    def __init__(self, world: "RestartWorld", outbox: Outbox) -> None:
        self.dead = False
        self.outbox = outbox
        self.wires = [Wire(plane, self) for plane in world.planes]


class RestartWorld(World):
    """1001 leads to the flow `main`; agents 8001 and 8002 take calls of queue billing. Phones of `desks` may dial
    agents, queues and feature codes. Flows, queues, agents and numbers may be changed for the next life."""

    def __init__(
        self,
        *flows: IvrFlow,
        queue: Queue = BILLING,
        agents: Sequence[AgentProfile] = AGENTS,
        trunks: Sequence[Trunk] = (),
        settings: UaSettings = SETTINGS,
        numbers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(*trunks)
        self.flows = {flow.name: flow for flow in flows}
        self.queues = [queue]
        self.agents = list(agents)
        self.numbers = dict(numbers or {"1001": "main"})
        self.settings = settings
        self.kill_after: set[int] = set()
        """Die when the nth commit is written, before anything of that turn leaves."""
        self.commits = 0
        self.saved: dict[str, bytes] = {}
        """As committed."""
        self.killed = 0
        self.kill_at: set[int] = set()
        """Die in the moment in which the nth event is told, counted over all lives."""
        self.counted = 0
        self._ours = {asyncio.current_task()}
        """Tasks that are no process's."""
        self._unsaved: dict[str, bytes] = {}
        self._committed = 0
        self._waiting: list[tuple[bytes, Flow]] = []
        """Datagrams in the socket of the supervisor."""
        self._dealt: list[tuple[FakePlane, MediaEvent]] = []
        """Media events that this process had, and has not committed what follows from them."""
        self._held: list[tuple[FakePlane, MediaEvent]] = []
        self._begin()

    # --- life and death -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._savings = Savings(self._unsaved.__setitem__)
        for key, state in self.saved.items():
            self._savings.read(key, state)
        self.life = Life(self, Outbox(self._commit, loop.call_soon))
        self._emitting = self.life
        clock, ids = Clock(loop.time, EPOCH), Ids(random.Random(self.killed))
        self.acd = AcdService(
            self.queues,
            self.agents,
            emit=partial(self._told, self.life),
            clock=clock,
            ids=ids,
            wake=self.life.outbox.wake,
            flows=Flows(
                {number: partial(self._run_flow, flow) for number, flow in self.numbers.items()},
                removed=partial(self._run_flow, ""),
            ),
        )
        self.pool = TrunkPool(self.trunks, self.limits, self.acd.trunk_changed, Resolver(self._lookup))
        self.interpreter = Interpreter(
            self.flows,
            FlowPorts(
                emit=partial(self._told, self.life),
                queue=self.acd,
                clock=clock,
                prompts=NO_PROMPTS,
                calendars={},
            ),
        )
        parts = replace(
            self._parts,
            clock=clock,
            ids=ids,
            emit=partial(self._told, self.life),
            outbox=self.life.outbox,
            send=partial(self._sent, self.life),
            trunks=self.pool,
        )
        self.ua = UserAgent(self.settings, parts)

    async def _run_flow(self, flow: str, call: Call) -> None:
        await self.interpreter.run(flow, call)

    # --- Dialplan, as app/wiring.py has it ---

    def route(self, dialled: str, phone: str) -> App | None:
        if (flow := self.numbers.get(dialled)) is not None:
            return partial(self.interpreter.run, flow)
        if phone and dialled.startswith("*"):
            return self._code
        to = self.acd.destinations.find(dialled) if phone else None
        return partial(self._consult, to=to) if isinstance(to, ToAgent | ToQueue) else None

    async def go_on(self, call: LiveCall) -> None:
        if call.layer == "consult":
            await Consults(self.acd).go_on(call)
        else:
            await self.interpreter.run("", call)

    def takes(self, number: str) -> bool:
        return self.acd.destinations.find(number) is not None

    async def _consult(self, call: LiveCall, *, to: ToAgent | ToQueue) -> None:
        call.count_as(CallOutcome.CONSULT)
        await Consults(self.acd).run(call, to)

    async def _code(self, call: LiveCall) -> None:
        call.count_as(CallOutcome.FEATURE_CODE)
        await FeatureCodes(self.acd, lambda name: [f"{name}.wav"]).run(call)

    def kill(self) -> None:
        """SIGKILL: what this turn of the loop has done is lost, but for what left before."""
        self.life.dead = True
        self.killed += 1
        del self.events[self._committed :]
        self._unsaved.clear()
        self._held, self._dealt = self._dealt, []
        self.ua._admission = _Nobody()  # type: ignore[assignment]
        self._bury()

    async def restart(self, down_for: float = DOWN_FOR) -> None:
        """Killed, and started again."""
        self.kill()
        await self.start_again(down_for)

    def _bury(self) -> None:
        """The tasks of a dead process end; what they still do leads nowhere."""
        for task in asyncio.all_tasks() - self._ours:
            task.cancel()

    def die(self) -> None:
        """In the middle of whatever it does."""
        self.kill()
        self._ours.add(asyncio.get_running_loop().create_task(self.start_again(DOWN_FOR)))

    def die_if_alive(self) -> None:
        if not self.life.dead:
            self.die()

    async def start_again(self, down_for: float) -> None:
        await asyncio.sleep(down_for)
        for _ in range(5):
            self._bury()
            await asyncio.sleep(0)
        self.acd.close()  # the timers of the dead one
        for limit in self.limits.values():
            limit.calls = 0
        self._begin()
        await self._go_on()
        waiting, self._waiting = self._waiting, []
        for data, flow in waiting:
            self.ua.receive(data, flow)

    async def _go_on(self) -> None:
        live = LiveState()
        for seq, event in enumerate(self.events, 1):
            live.apply(Recorded(seq, EPOCH + self.now(), event))
        restored = Restored(self.ua, self._known)
        restored.read(self._savings.section("leg"), self._savings.section("call"))
        for event in closing(live, restored.calls.keys()):
            self._told(self.life, event)
        self.acd.resume(self._savings.section("agent"))
        held, self._held = self._held, []
        for plane, happened in held:
            self._media(plane, happened)
        await restored.begin()
        self.acd.resumed()
        restored.finish()
        for wire in self.life.wires:
            for port in set(wire.plane.ports) - restored.claimed(wire):
                wire.close(port)
        self.pool.start(self.ua.line, {})

    def _known(self, name: str) -> tuple[Plane, Ports] | None:
        wire = next((wire for wire in self.life.wires if wire.name == name and not wire.plane.lost), None)
        if wire is None:
            return None
        return wire, {port: _state(found) for port, found in wire.plane.ports.items()}

    # --- what a process does --------------------------------------------------------------------------------------

    def _told(self, life: Life, event: Event) -> None:
        if not life.dead:
            self.counted += 1
            if self.counted in self.kill_at:
                self.die()
                return
            self.events.append(event)
            if hasattr(self, "ua"):
                self.ua.keeping.happened(event)
            life.outbox.wake()

    def _commit(self) -> None:
        if not hasattr(self, "life") or self.life.dead:
            return
        self.ua.keeping.save(self._savings.put)
        self.acd.roster.save(lambda name, state: self._savings.put(f"agent/{name}", state))
        for key, state in self._unsaved.items():
            if state:
                self.saved[key] = state
            else:
                self.saved.pop(key, None)
        self._unsaved.clear()
        self._committed = len(self.events)
        self._dealt.clear()
        self.commits += 1
        if self.commits in self.kill_after:
            self.die()

    def _sent(self, life: Life, flow: Flow, data: bytes) -> bool:
        return life.dead or self._send(flow, data)

    def _from_phone(self, data: bytes, flow: Flow) -> None:
        if flow not in self.unreachable and not self.lose(data):
            self._carry(self._arrive, data, flow)

    def _arrive(self, data: bytes, flow: Flow) -> None:
        if self.life.dead:
            self._waiting.append((data, flow))
        else:
            self.ua.receive(data, flow)
            self.life.outbox.wake()

    def _media(self, plane: FakePlane, event: MediaEvent) -> None:  # type: ignore[override]
        if self.life.dead:
            self._held.append((plane, event))
            return
        wire = next(wire for wire in self.life.wires if wire.plane is plane)
        self._dealt.append((plane, event))
        self.ua.media_event(wire, event)
        self.life.outbox.wake()

    def add_plane(self, plane: FakePlane) -> FakePlane:
        super().add_plane(plane)
        if hasattr(self, "life"):
            self.life.wires.append(Wire(plane, self.life))
        return plane

    def lose_media(self, plane: FakePlane | None = None) -> None:
        plane = plane or self.plane
        plane.lose()
        self._held = [(owner, event) for owner, event in self._held if owner is not plane]
        self.life.outbox.wake()
        for wire in self.life.wires:
            if wire.plane is plane and not self.life.dead:
                self.ua.media_lost(wire)

    def choose(self) -> Plane | None:
        there = [wire for wire in self.life.wires if not wire.plane.lost]
        return min(there, key=lambda wire: len(wire.plane.ports), default=None)

    def ready(self, *agents: str) -> None:
        """Their phones are there, and they take calls."""
        for name in agents:
            self.acd.phone_registered(name.replace("agent", "800"))
            assert self.acd.agent_command(name, "ready").ok


class _Nobody:
    """What the dead one counted is counted no more."""

    def released(self, trunk: str) -> None: ...

    def admit(self, request: Request, flow: Flow, now: float) -> Response:
        """What it had read is lost with it, and comes again."""
        return reply(request, 503)


def _state(port: FakePort) -> PortState:
    partner, hears = port.partner or PortId(0), tuple(port.hears)
    return PortState(port.rtp_port, port.remote, partner, port.recording, port.looping, hears)


def at(seconds: float, what: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, what)
