"""The stage of a scenario: the example site's own flows, queues and router, scripted callers and phones, virtual time.

A scenario is a YAML file: who is ready, who calls and does what, and the events that must follow, in order, each with
its second. `python -m tests.scenarios.stage FILE` prints the events that a file gives now.
"""

import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BeforeValidator, Field

from acd.service import AcdService
from app.settings import Site, load
from app.staffing import agents, queues
from engine.call import BridgeEnd, Dial, Dialled, DialOutcome, Leg
from events.types import EndedBy, Event
from ivr.announce import QueueAnnouncer
from ivr.interpreter import Interpreter
from ivr.ports import Ports
from ivr.testing import Keys, ScriptedCaller
from kernel.clock import Clock
from kernel.ids import CallId, Ids, LegId
from kernel.schema import Model, validate
from kernel.virtual import run
from kernel.yamlsrc import read

ROOT = Path(__file__).parents[2]
CLIP_SECONDS = 2.0
"""Of every play, however many clips: goldens must not change when a prompt is recorded anew."""
HIDDEN = frozenset(("call", "version", "offer"))


class AgentScript(Model):
    answers: float | None = None
    """Seconds of ringing; null: never."""
    talks: Annotated[float, Field(gt=0)] = 60.0
    """Then the agent hangs up."""
    ready_at: float = 0.0


def _keys(value: object) -> list[str]:
    return [str(key) for key in (value if isinstance(value, list) else [value])]


class CallerScript(Model):
    name: str
    at: float = 0.0
    number: str = "1001"
    press: dict[str, Annotated[list[str], BeforeValidator(_keys)]] = Field(default={})
    """As in ivr/flowtests.py."""
    hang_up: float = 3600.0
    """Seconds after the call began."""


class Scenario(Model):
    title: str
    at: str = "2026-10-12 10:00 Asia/Shanghai"
    agents: dict[str, AgentScript] = Field(default={})
    callers: list[CallerScript]
    only: list[str] = Field(default=[])
    """Types of events to compare; all when empty."""
    events: list[str]


class _Leg:
    def __init__(self, leg: str, script: AgentScript) -> None:
        self.id = LegId(leg)
        self.script = script
        self.gone = asyncio.Event()

    def hangup(self, reason: str = "") -> None:
        self.gone.set()

    async def wait_ended(self) -> None:
        await self.gone.wait()


class StageCaller(ScriptedCaller):
    """A scripted caller whose dialled phones are those of the scenario's agents."""

    def __init__(self, name: str, keys: Keys, phones: dict[str, AgentScript], stage: "Stage", hang_up: float) -> None:
        super().__init__(keys, hang_up=hang_up, prompts=stage.site.prompts, emit=stage.emit)
        self.id = CallId(name)
        self._phones = phones
        self._legs = 1
        self._ended: BridgeEnd | None = None

    @property
    def last_bridge(self) -> BridgeEnd | None:
        return self._ended

    def _seconds_of(self, clips: Sequence[str]) -> float:
        return CLIP_SECONDS

    async def dial(self, order: Dial) -> Dialled:
        script = self._phones.get(order.aor, AgentScript())
        if script.answers is None or script.answers > order.ring_for:
            await asyncio.sleep(order.ring_for)
            return Dialled(DialOutcome.NO_ANSWER, None, 487, order.ring_for)
        await asyncio.sleep(script.answers)
        self._legs += 1
        return Dialled(DialOutcome.ANSWERED, _Leg(f"{self.id}-{self._legs}", script), 200, script.answers)

    async def bridge(self, leg: Leg, *, record: bool) -> BridgeEnd:
        assert isinstance(leg, _Leg)
        begun, by = asyncio.get_running_loop().time(), EndedBy.CALLER
        try:
            await asyncio.sleep(leg.script.talks)
            by = EndedBy.AGENT
        finally:
            leg.hangup()
            self._ended = BridgeEnd(by, asyncio.get_running_loop().time() - begun, 0.0)
        return self._ended


@dataclass
class Stage:
    """One run of one scenario."""

    site: Site
    scenario: Scenario

    def __post_init__(self) -> None:
        self.log: list[tuple[float, Event]] = []

    def emit(self, event: Event) -> None:
        self.log.append((asyncio.get_running_loop().time(), event))

    async def play(self) -> None:
        text, _, zone = self.scenario.at.rpartition(" ")
        loop = asyncio.get_running_loop()
        clock = Clock(loop.time, datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())
        acd = AcdService(
            queues(self.site),
            agents(self.site),
            emit=self.emit,
            clock=clock,
            ids=Ids(random.Random(1)),
            announcer=QueueAnnouncer(self.site.prompts, tuple(self.site.main.languages)),
        )
        ports = Ports(emit=self.emit, queue=acd, clock=clock, prompts=self.site.prompts, calendars=self.site.calendars)
        interpreter = Interpreter(self.site.flows, ports)
        for name, script in self.scenario.agents.items():
            loop.call_later(script.ready_at, self._ready, acd, name)
        await asyncio.gather(*(self._caller(script, interpreter) for script in self.scenario.callers))
        acd.close()

    def _ready(self, acd: AcdService, name: str) -> None:
        acd.phone_registered(self.site.agents[name].user or "")
        assert acd.agent_command(name, "ready", via="phone").ok

    async def _caller(self, script: CallerScript, interpreter: Interpreter) -> None:
        await asyncio.sleep(script.at)
        phones = {self.site.agents[name].user or "": agent for name, agent in self.scenario.agents.items()}
        keys = {float(key) if key[0].isdigit() else key: value for key, value in script.press.items()}
        timed = {key: value[0] if isinstance(key, float) else value for key, value in keys.items()}
        caller = StageCaller(script.name, timed, phones, self, script.hang_up)
        await caller.drive(interpreter.run(self.site.main.numbers[script.number], caller))

    def lines(self) -> Iterator[str]:
        """`012.0 ann CallQueued queue=billing …`: without the fields that chance or hashes decide."""
        for at, event in self.log:
            kind = type(event).__name__
            if self.scenario.only and kind not in self.scenario.only:
                continue
            fields = msgspec.to_builtins(event)
            call = fields.get("call")
            shown = [f"{name}={_shown(fields[name])}" for name in event.__struct_fields__ if name not in HIDDEN]
            yield " ".join([f"{at:05.1f}", *([call] if call else []), kind, *shown])


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ",".join(f"{key}:{level}" for key, level in sorted(value.items()))
    return str(value).replace(" ", "_")


def read_scenario(path: Path) -> Scenario:
    """Raises AssertionError with every mistake of the file."""
    document = read(path, path.name)
    scenario, problems = validate(Scenario, document.value, document.source)
    assert scenario is not None, "\n".join(map(str, [*document.problems, *problems]))
    return scenario


def events_of(scenario: Scenario) -> list[str]:
    stage = Stage(load(ROOT), scenario)
    run(stage.play())
    return list(stage.lines())


if __name__ == "__main__":
    sys.stdout.write("".join(f"  - {line}\n" for line in events_of(read_scenario(Path(sys.argv[1])))))
