"""Flows from text, and a call through them, for tests."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from textwrap import dedent
from zoneinfo import ZoneInfo

from events.types import Event
from ivr.hours import Calendar, parse_day
from ivr.interpreter import Interpreter
from ivr.load import load_flow
from ivr.model import Flow
from ivr.ports import Ports, QueuePort
from ivr.prompts import PromptBook
from ivr.testing import PATIENCE_SECONDS, Keys, RecordingQueue, ScriptedCaller
from kernel.clock import Clock
from kernel.virtual import run
from kernel.yamlsrc import parse

NO_PROMPTS = PromptBook(Path("prompts"), frozenset())
"""Nothing on disk: every clip lasts 4 s."""
OFFICE = Calendar(ZoneInfo("Asia/Shanghai"), (parse_day("09:00-18:00"),) * 7)
TEN = datetime(2026, 10, 12, 10, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()


def flow(text: str, name: str = "main") -> Flow:
    """A flow in one language, whose clips are therefore `en/…`."""
    document = parse(dedent(text).encode(), f"{name}.yaml")
    found, problems = load_flow(document, ("en",))
    assert found is not None, [*document.problems, *problems]
    return found


class Bench:
    """One scripted call through a flow; afterwards its trace, its events and what the queue was asked."""

    def __init__(self, flows: Mapping[str, Flow], keys: Keys | None = None, hang_up: float = PATIENCE_SECONDS) -> None:
        self.flows = flows
        self.keys = keys
        self.hang_up = hang_up
        self.events: list[Event] = []
        self.queue: QueuePort = RecordingQueue()
        self.at = TEN

    def call(self, name: str = "main") -> ScriptedCaller:
        """Raises what the flow raises."""
        return run(self._call(name))

    async def _call(self, name: str) -> ScriptedCaller:
        ports = Ports(
            emit=self.events.append,
            queue=self.queue,
            clock=Clock(asyncio.get_running_loop().time, self.at),
            prompts=NO_PROMPTS,
            calendars={"office": OFFICE},
        )
        caller = ScriptedCaller(self.keys, emit=self.events.append, prompts=NO_PROMPTS, hang_up=self.hang_up)
        await caller.drive(Interpreter(self.flows, ports).run(name, caller))
        return caller

    def told(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kinds)]


def trace(text: str, keys: Keys | None = None) -> list[str]:
    return Bench({"main": flow(text)}, keys).call().trace
