"""Bridged and recorded G.711 calls: how many at once with loss below 0.1 % and p99 delay below 5 ms, measured at the
far ends; what one costs in CPU and in memory, over all processes of the server. Memory of a call is what PSS has
grown by since all agents were ready, divided by the calls; each run also has the whole (`memory_kb_per_call_all`).

Every call is a real one: the caller dials, presses a key, is queued, a registered phone answers; both sides then send
PCMU every 20 ms from the generator's sockets, and the server records them in stereo.
"""

import asyncio
import contextlib
from typing import Any

from bench.dialog import Dialog
from bench.endpoint import Endpoint
from bench.figures.queued import staff
from bench.hotline import MENU, hotline
from bench.measure import LOAD_CORE, Usage, usage
from bench.phones import Agents, Callers, Outcome, Plan
from bench.report import Figure, progress
from bench.rtpgen import RtpGenerator, quality
from bench.sipload import caller_number
from events.journal import Tail
from events.types import MediaReported, RecordingStopped
from tests.support.site import Site

STEPS = (800, 1000, 1200, 1400, 1600, 1700, 1800, 2000)
SETUP_RATE = 40.0
WINDOW = 10.0
SETTLE = 3.0
CALLER_SIDE, AGENT_SIDE = 0, 1
"""Sockets of the generator."""


class Crowd:
    """Calls that stay: `grow_to(n)` adds, `measure` looks at all of them, `leave` hangs up."""

    def __init__(self, site: Site, agents: Agents, generator: RtpGenerator) -> None:
        self._site, self._agents, self._generator = site, agents, generator
        self._endpoint = Endpoint()
        self._callers = Callers(self._endpoint)
        self._tasks: list[asyncio.Task[Outcome]] = []
        self._callers.media = lambda _caller: (generator.host, generator.ports[CALLER_SIDE])
        self._callers.talk = self._caller_talks
        agents.media = lambda _agent: (generator.host, generator.ports[AGENT_SIDE])
        agents.on_talk = self._agent_talks

    @property
    def connected(self) -> int:
        return sum(1 for taken in self._agents.taken if taken.acked_at)

    def _caller_talks(self, caller: str, dialog: Dialog) -> None:
        assert dialog.remote_media is not None
        self._generator.add(2 * int(caller[3:]), CALLER_SIDE, dialog.remote_media, AGENT_SIDE)

    def _agent_talks(self, agent: str, dialog: Dialog) -> None:
        assert dialog.remote_media is not None
        self._generator.add(2 * (int(agent) - 100_000) + 1, AGENT_SIDE, dialog.remote_media, CALLER_SIDE)

    async def grow_to(self, calls: int) -> None:
        """Raises RuntimeError unless all are connected within the time that their setup takes, and 15 s."""
        plan = Plan(to=MENU, target=self._site.udp, keys=[(0.3, "1")], patience=3600.0)
        loop = asyncio.get_running_loop()
        while len(self._tasks) < calls:
            self._tasks.append(loop.create_task(self._callers.call(caller_number(len(self._tasks)), plan)))
            await asyncio.sleep(1 / SETUP_RATE)
        until = loop.time() + 15.0
        while self.connected < calls:
            if loop.time() > until:
                raise RuntimeError(f"{self.connected} of {calls} calls are connected")
            await asyncio.sleep(0.05)
        await asyncio.sleep(SETTLE)

    async def measure(self, seconds: float) -> tuple[dict[str, Any], Usage, Usage]:
        """What the far ends say, with the packets that came through but not into their recordings; and the usage
        before and after."""
        site = self._site
        overruns, before = await _overruns(site), usage(site.process.pid)
        report = await self._generator.measure(seconds)
        after = usage(site.process.pid)
        report["recording_overruns"] = await _overruns(site) - overruns
        return report, before, after

    async def leave(self) -> None:
        await self._callers.hang_up_all()
        await asyncio.gather(*self._tasks)
        self._endpoint.close()


async def _overruns(site: Site) -> int:
    """Packets that found no room in a recording's ring so far: from the media process's next report."""
    with contextlib.closing(Tail(site.journal, site.last())) as tail:
        while True:
            for record in tail.poll():
                if isinstance(record.event, MediaReported):
                    return record.event.recording_overruns
            await asyncio.sleep(0.1)


def _fault(report: dict[str, Any]) -> str:
    overruns = report["recording_overruns"]
    return quality(report) or (f"{overruns} packets missing in recordings" if overruns else "")


def _run(calls: int, idle: Usage, measured: tuple[dict[str, Any], Usage, Usage]) -> dict[str, Any]:
    report, before, after = measured
    span = report["seconds"] + 0.5  # the generator's grace is in it
    cpu = {who: (after.cpu_seconds[who] - before.cpu_seconds.get(who, 0.0)) * 1000 / span / calls
           for who in after.cpu_seconds}  # fmt: skip
    return {
        "step": calls,
        "fault": _fault(report),
        "loss": report["loss"],
        "delay_ms": report["delay_ms"],
        "cpu_ms_per_second_per_call": round(sum(cpu.values()), 4),
        "cpu_by_process": {who: round(ms, 4) for who, ms in cpu.items()},
        "media_core_share": round(cpu.get("engine.media.server", 0.0) * calls / 1000, 3),
        "memory_kb_per_call": round((after.pss - idle.pss) / calls, 2),
        "memory_kb_per_call_all": round(after.pss / calls, 2),
        "pss_kb": after.pss_kb,
        "report": report,
    }


async def _climb(steps: tuple[int, ...], repeats: int, window: float) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    generator = await RtpGenerator.start(sockets=2, core=LOAD_CORE)
    with hotline(steps[-1]) as site:
        agents = await staff(site, steps[-1], None)
        idle = usage(site.process.pid)
        crowd = Crowd(site, agents, generator)
        for calls in steps:
            try:
                await crowd.grow_to(calls)
            except RuntimeError as error:
                runs.append({"step": calls, "fault": str(error)})
                break
            tries = [_run(calls, idle, await crowd.measure(window)) for _ in range(repeats)]
            runs += tries
            progress(f"  {calls}: {[run['fault'] or 'good' for run in tries]}, p99 {tries[-1]['delay_ms']['p99']} ms")
            if any(run["fault"] for run in tries):
                break
        await crowd.leave()
        runs.append(await _recordings(site, crowd.connected))
    await generator.stop()
    return runs


async def _recordings(site: Site, calls: int) -> dict[str, Any]:
    """The last entry of the runs: every connected call has its recording; with how many frames lost over all steps,
    those beyond the limit too."""
    done: list[RecordingStopped] = []
    for _ in range(60):
        done = [record.event for record in site.events() if isinstance(record.event, RecordingStopped)]
        if len(done) == calls:
            break
        await asyncio.sleep(0.5)
    lost = sum(event.lost_frames for event in done)
    wrong = "" if len(done) == calls else f"{len(done)} recordings of {calls} calls"
    return {"step": "recordings", "fault": wrong, "recordings": len(done), "lost_frames": lost}


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    progress("bridged and recorded calls")
    steps, window = ((100, 200), 3.0) if quick else (STEPS, WINDOW)
    runs = await _climb(steps, repeats, window)
    good = [
        step for step in steps if (own := [r for r in runs if r["step"] == step]) and not any(r["fault"] for r in own)
    ]
    best = max(good, default=0)
    told = conditions | {"window_seconds": window, "setup_rate": SETUP_RATE}
    at_best = [run for run in runs if run["step"] == best]
    calls = Figure("bridged_recorded_calls", "calls", 1200.0, "higher", told, runs, float(best))
    told = told | {"calls": best}
    cpu = Figure("bridged_cpu_per_call", "ms/s", 0.8, "lower", told, at_best)
    memory = Figure("bridged_memory_per_call", "KB", 120.0, "lower", told, at_best)
    if at_best:
        cpu.settle("cpu_ms_per_second_per_call")
        memory.settle("memory_kb_per_call")
    return [calls, cpu, memory]
