"""Half load for an hour: whether anything grows, slows down or gets lost.

    python -m bench.soak --minutes 60 --calls 250

Three kinds of callers at once: `--calls` bridged and recorded ones with audio both ways, each for half a minute to one
and a half, then another; `--waiting` who hear music and give up; and `--ivr` a second who hear one prompt. Every
SAMPLE_EVERY seconds: memory, CPU and descriptors of each process, tasks of control's loop, latencies, and what the
machine is worth at the moment: latencies at the end are held against those at the start by that measure.

Progress goes to stderr, one JSON line to stdout: slopes after the warm-up, latencies and CPU of the first and the last
minutes, the journal's balance to the last row, tables against the journal. Exit status 1 when one is not good.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import uvloop

from bench.dialog import Dialog
from bench.endpoint import Endpoint
from bench.faults import balance
from bench.figures.queued import staff
from bench.hotline import IVR, MENU, WAIT, hotline
from bench.measure import SERVER_CORE, prepare
from bench.observer import Observer
from bench.phones import Agents, Callers, Outcome, Plan
from bench.report import progress
from bench.rtpgen import RtpGenerator
from bench.soaked import Sample, judge
from bench.stats import percentile
from events.commands import rebuild
from events.journal import read
from events.types import Recorded
from tests.support.site import Site

SAMPLE_EVERY = 10.0
WINDOW = 5.0
"""Seconds of audio that each sample looks at."""
TALK = (30.0, 90.0)
WAIT_FOR = (20.0, 60.0)
SPARE = 1.1
"""Agents for each caller: who has just hung up is not yet ready."""
KEEP = 60.0
"""Seconds for which a finished recording is left alone."""
CALLER_SIDE, AGENT_SIDE = 0, 1
"""Sockets of the generator."""
QUIET_WITHIN = 30.0
LOAD = "bench.soak"
"""Our own CPU among that of the hotline's processes: a load that slows down makes latencies of its own."""


class Log:
    """The journal, read anew by each who goes through it: it does not fit into memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __iter__(self) -> Iterator[Recorded]:
        return read(self._directory)


@dataclass(slots=True)
class Load:
    """The callers. Times of time.monotonic."""

    site: Site
    agents: Agents
    generator: RtpGenerator
    chance: Random
    outcomes: list[Outcome] = field(default_factory=list)
    """Since the last sample."""
    counts: Counter[str] = field(default_factory=Counter)
    """Calls by what became of them."""
    stop: bool = False
    _number: int = 0
    _slots: dict[str, int] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def begin(self, bridged: int, waiting: int, rate: float) -> None:
        callers = [Callers(Endpoint()) for _ in range(3)]
        for each in callers[:1]:
            each.media = lambda _caller: (self.generator.host, self.generator.ports[CALLER_SIDE])
            each.talk, each.hush = self._caller_talks, self._caller_ends
        self.agents.media = lambda _agent: (self.generator.host, self.generator.ports[AGENT_SIDE])
        self.agents.on_talk, self.agents.on_end = self._agent_talks, self._agent_ends
        for slot in range(bridged):
            self._start(self._again(callers[0], MENU, TALK, slot, slot * 0.05))
        for slot in range(waiting):
            self._start(self._again(callers[1], WAIT, WAIT_FOR, -1, slot * 0.1))
        self._start(self._open_loop(callers[2], rate))

    async def end(self) -> None:
        """No new calls; returns when the last is over."""
        self.stop = True
        while self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, callers: Callers, to: str, span: tuple[float, float], slot: int, first: float) -> None:
        await asyncio.sleep(first)
        while not self.stop:
            talk = self.chance.uniform(*span)
            keys = [(0.3, "1")] if to == MENU else []
            await self._call(callers, Plan(to=to, target=self.site.udp, keys=keys, talk=talk), slot)

    async def _open_loop(self, callers: Callers, rate: float) -> None:
        begun, n = time.monotonic(), 0
        plan = Plan(to=IVR, target=self.site.udp, patience=20.0)
        while not self.stop:
            self._start(self._call(callers, plan, -1))
            n += 1
            await asyncio.sleep(max(0.0, begun + n / rate - time.monotonic()))

    async def _call(self, callers: Callers, plan: Plan, slot: int) -> None:
        self._number += 1
        caller = f"139{self._number:08d}"
        if slot >= 0:
            self._slots[caller] = slot
        outcome = await callers.call(caller, plan)
        self._slots.pop(caller, None)
        self.counts[outcome.failure or "good"] += 1
        if plan.to == IVR:
            self.outcomes.append(outcome)

    def _caller_talks(self, caller: str, dialog: Dialog) -> None:
        assert dialog.remote_media is not None
        self.generator.add(2 * self._slots[caller], CALLER_SIDE, dialog.remote_media, AGENT_SIDE)

    def _caller_ends(self, caller: str, _dialog: Dialog) -> None:
        self.generator.remove(2 * self._slots[caller])

    def _agent_talks(self, agent: str, dialog: Dialog) -> None:
        assert dialog.remote_media is not None
        self.generator.add(2 * (int(agent) - 100_000) + 1, AGENT_SIDE, dialog.remote_media, CALLER_SIDE)

    def _agent_ends(self, agent: str, _dialog: Dialog) -> None:
        self.generator.remove(2 * (int(agent) - 100_000) + 1)


async def sample(load: Load, observer: Observer, begun: float) -> Sample:
    """Takes WINDOW seconds."""
    audio = await load.generator.measure(WINDOW)
    outcomes, load.outcomes = load.outcomes, []
    agents, load.agents.taken = load.agents.taken, []
    seen = await observer.look()
    setups = [outcome.setup * 1000 for outcome in outcomes if not outcome.failure]
    answers = [(taken.acked_at - taken.invited_at) * 1000 for taken in agents if taken.acked_at]
    return Sample(
        **asdict(seen) | {"cpu_seconds": seen.cpu_seconds | {LOAD: time.process_time()}},
        at=time.monotonic() - begun,
        setup_p50=percentile(setups, 50),
        setup_p99=percentile(setups, 99),
        agent_p50=percentile(answers, 50),
        audio_p99=audio["delay_ms"]["p99"],
        calls=load.counts.total(),
    )


async def soak(site: Site, generator: RtpGenerator, given: argparse.Namespace) -> dict[str, Any]:
    """The whole of it on a running site."""
    agents = await staff(site, round(given.calls * SPARE) + 2, None)
    load = Load(site, agents, generator, Random(given.seed))
    load.begin(given.calls, given.waiting, given.ivr)
    begun, seconds, samples = time.monotonic(), given.minutes * 60, list[Sample]()
    recordings: Counter[str] = Counter()
    core = SERVER_CORE if given.pin else None
    with Observer(site.process.pid, site.journal, site.last(), core) as observer:
        while (at := time.monotonic() - begun) < seconds:
            await asyncio.sleep(max(0.0, SAMPLE_EVERY - WINDOW - 0.5))
            samples.append(await sample(load, observer, begun))
            recordings += await observer.sweep(site.recordings, KEEP)
            if given.samples:
                with given.samples.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(samples[-1])) + "\n")
            if int(at / 60) != int(samples[-1].at / 60):
                progress(f"{samples[-1]} of {given.minutes:g} min, {dict(load.counts)}")
        await load.end()
        await asyncio.sleep(QUIET_WITHIN if given.minutes > 5 else 6.0)
        recordings += await observer.sweep(site.recordings, 0.0)
    found = judge(samples, seconds)
    return found | await _balance(site, load, recordings)


async def _balance(site: Site, load: Load, recordings: Counter[str]) -> dict[str, Any]:
    """Journal and tables to the last row, when everybody has gone."""
    problems = await asyncio.to_thread(balance.balance, Log(site.journal))
    database = f"sqlite+aiosqlite:///{site.folder}/var/callwright.db"
    report = await asyncio.to_thread(rebuild, site.journal, database, verify=True)
    failed = {why: count for why, count in load.counts.items() if why != "good"}
    return {
        "calls": load.counts.total(),
        "failed": failed,
        "recordings": dict(recordings),
        "events": site.last(),
        "balance": problems[:20],
        "tables_equal": report.equal,
        "rows": {table.name: table.rows for table in report.tables},
    }


async def main(given: argparse.Namespace) -> bool:
    conditions = prepare()
    generator = await RtpGenerator.start(sockets=2)
    with hotline(round(given.calls * SPARE) + 2, SERVER_CORE if given.pin else None) as site:
        told = await soak(site, generator, given)
    await generator.stop()
    good = told["steady"] and not told["balance"] and told["tables_equal"] and set(told["recordings"]) <= {"good"}
    told |= {"ok": good and not told["failed"], "conditions": conditions | vars(given)}
    sys.stdout.write(json.dumps({"figure": "soak"} | told, default=str) + "\n")
    return bool(told["ok"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--calls", type=int, default=250, help="bridged and recorded at once")
    parser.add_argument("--waiting", type=int, default=50, help="who hear music")
    parser.add_argument("--ivr", type=float, default=25.0, help="calls a second that hear a prompt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=Path, metavar="FILE", help="append each sample as a JSON line")
    parser.add_argument("--pin", action="store_true", help="the hotline on one core")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(0 if runner.run(main(parser.parse_args())) else 1)
