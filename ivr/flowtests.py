"""The runner of `*.test.yaml`: flows tested without a phone, each test under a virtual clock of its own.

    flow: main
    tests:
      - name: a Chinese caller asks for billing
        at: 2026-10-12 10:00 Asia/Shanghai
        press: {service: 1}          # when this prompt is heard to its end; a list for the 1st, 2nd … time
        queue: {billing: served}     # what the queue does; `served` when not said
        expect:
          - answer
          - play zh/welcome en/welcome
          - play zh/service
          - enqueue billing zh≥3
          - hangup

`press` may also name seconds of the call (`3.5: 1`), which cuts into what plays then. `hang_up: 20` ends the call from
the caller's side. A line of `expect` may begin with its time, `004.0 play …`, and is then compared with it.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from events.types import Event
from ivr.hours import Calendar
from ivr.interpreter import FlowError, Interpreter
from ivr.model import Flow
from ivr.ports import Ports, QueueOutcome
from ivr.prompts import PromptBook
from ivr.testing import PATIENCE_SECONDS, RecordingQueue, ScriptedCaller
from kernel.clock import Clock
from kernel.schema import Model, validate
from kernel.virtual import run
from kernel.yamlsrc import Problem, Source, did_you_mean, read


def _text_or_list(value: Any) -> Any:
    return [str(key) for key in value] if isinstance(value, list) else [str(value)]


def _moment(text: str) -> float:
    """`2026-10-12 10:00 Asia/Shanghai` → UTC seconds since 1970. Raises ValueError for people."""
    wall, _, zone = text.rpartition(" ")
    try:
        return datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(zone)).timestamp()
    except (ValueError, KeyError, OSError):
        raise ValueError(f"'{text}' is not a time like '2026-10-12 10:00 Asia/Shanghai'") from None


def _told(text: str) -> str:
    _moment(text)
    return text


class FlowTest(Model):
    name: str
    at: Annotated[str, AfterValidator(_told)] = "2026-10-12 10:00 Asia/Shanghai"
    caller: str = "13800138000"
    dialled: str = "1001"
    press: dict[str, Annotated[list[str], BeforeValidator(_text_or_list)]] = Field(default={})
    hang_up: Annotated[float, Field(gt=0, le=PATIENCE_SECONDS)] = PATIENCE_SECONDS
    queue: dict[str, QueueOutcome] = Field(default={})
    attributes: dict[str, str] = Field(default={})
    """Expected at the end; others are not looked at."""
    expect: list[str]

    def keys(self) -> dict[float | str, str | Sequence[str]]:
        """Seconds as numbers, prompts as words."""
        return {
            float(k) if re.fullmatch(r"\d+(\.\d+)?", k) else k: v if not _timed(k) else v[0]
            for k, v in self.press.items()
        }


def _timed(key: str) -> bool:
    return key[0].isdigit()


class FlowTestFile(Model):
    flow: str
    tests: list[FlowTest] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class FlowTestPassed:
    file: str
    name: str


@dataclass(frozen=True, slots=True)
class FlowTestFailed:
    problem: Problem
    expected: list[str] = field(default_factory=list)
    actual: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.expected and not self.actual:
            return str(self.problem)
        lines = [str(self.problem), "  expected:", *(f"    {line}" for line in self.expected)]
        return "\n".join([*lines, "  but heard:", *(f"    {line}" for line in self.actual)])


FlowTestResult = FlowTestPassed | FlowTestFailed


def run_flow_tests(
    folder: Path, flows: Mapping[str, Flow], prompts: PromptBook, calendars: Mapping[str, Calendar]
) -> list[FlowTestResult]:
    """Every test of every `*.test.yaml` in a flows' folder, each under its own virtual clock."""
    out: list[FlowTestResult] = []
    for path in sorted(folder.glob("*.test.yaml")):
        document = read(path, f"{folder.name}/{path.name}")
        file, problems = validate(FlowTestFile, document.value, document.source)
        found = [*document.problems, *(problems if not document.problems else [])]
        if file is not None and not found and file.flow not in flows:
            message = f"unknown flow '{file.flow}'"
            found.append(document.source.problem(("flow",), message, did_you_mean(file.flow, flows)))
        out += [FlowTestFailed(problem) for problem in found]
        if file is not None and not found:
            bench = _Bench(file.flow, path.name, flows, prompts, calendars, document.source)
            out += [bench.test(test, number) for number, test in enumerate(file.tests)]
    return out


@dataclass(frozen=True, slots=True)
class _Bench:
    """What the tests of one file share."""

    flow: str
    file: str
    flows: Mapping[str, Flow]
    prompts: PromptBook
    calendars: Mapping[str, Calendar]
    source: Source

    def test(self, test: FlowTest, number: int) -> FlowTestResult:
        at = ("tests", number, "name")
        try:
            caller = run(self._call(test))
        except FlowError as error:
            return FlowTestFailed(self.source.problem(at, f"'{test.name}' failed: {error}"))
        if not _equal(test.expect, caller.trace):
            return FlowTestFailed(self.source.problem(at, f"'{test.name}' failed"), test.expect, caller.trace)
        for name, value in test.attributes.items():
            if (got := caller.attributes.get(name, "")) != value:
                path = ("tests", number, "attributes", name)
                return FlowTestFailed(self.source.problem(path, f"attribute '{name}' is '{got}', not '{value}'"))
        return FlowTestPassed(self.file, test.name)

    async def _call(self, test: FlowTest) -> ScriptedCaller:
        events: list[Event] = []
        clock = Clock(asyncio.get_running_loop().time, _moment(test.at))
        queue = RecordingQueue(test.queue)
        ports = Ports(emit=events.append, queue=queue, clock=clock, prompts=self.prompts, calendars=self.calendars)
        caller = ScriptedCaller(
            test.keys(), hang_up=test.hang_up, caller=test.caller, dialled=test.dialled, prompts=self.prompts
        )
        await caller.drive(Interpreter(self.flows, ports).run(self.flow, caller))
        return caller


def _equal(expected: list[str], actual: list[str]) -> bool:
    """Lines without a time of their own are compared without it."""
    shown = [
        have if re.match(r"\d+\.\d ", want) else have.partition(" ")[2]
        for want, have in zip(expected, actual, strict=False)
    ]
    return len(expected) == len(actual) and shown == expected
