"""Callers on music: how many at once, every one of them hearing at least 49.5 packets a second, counted at their own
end; by one media process, and by two that may use all cores (which the load then needs too).

Every one is a real call that waits in a queue where nobody works. They say nothing themselves, as one who is put on
hold by his own phone.
"""

import asyncio
from typing import Any

from bench.endpoint import Endpoint
from bench.hotline import WAIT, hotline
from bench.measure import LOAD_CORE, SERVER_CORE, usage
from bench.phones import Callers, Outcome, Plan
from bench.report import Figure, progress
from bench.rtpgen import RtpGenerator
from bench.sipload import caller_number
from tests.support.site import Site

STEPS = (1500, 2000, 2500, 3000, 3500, 4000)
SETUP_RATE = 100.0
SETTLE, WINDOW = 3.0, 10.0
FLUENT = 49.5
"""Packets a second of 20 ms each."""


class Waiting:
    """Callers who stay: `grow_to(n)` adds, `leave` hangs up."""

    def __init__(self, site: Site, generator: RtpGenerator) -> None:
        self._site = site
        self._endpoint = Endpoint()
        self._callers = Callers(self._endpoint)
        self._callers.media = lambda _caller: (generator.host, generator.ports[0])
        self._calls: list[asyncio.Task[Outcome]] = []

    async def grow_to(self, calls: int) -> None:
        plan = Plan(to=WAIT, target=self._site.udp, patience=3600.0)
        while len(self._calls) < calls:
            number = caller_number(len(self._calls))
            self._calls.append(asyncio.create_task(self._callers.call(number, plan)))
            await asyncio.sleep(1 / SETUP_RATE)
        await asyncio.sleep(SETTLE)

    @property
    def connected(self) -> int:
        return self._callers.active

    async def leave(self) -> None:
        await self._callers.hang_up_all()
        await asyncio.gather(*self._calls)
        self._endpoint.close()


async def _measure(site: Site, generator: RtpGenerator, waiting: Waiting, calls: int, window: float) -> dict[str, Any]:
    before = usage(site.process.pid)
    report = await generator.measure(window)
    after = usage(site.process.pid)
    heard = report["foreign"]
    cpu = {who: round((after.cpu_seconds[who] - before.cpu_seconds.get(who, 0.0)) / report["seconds"], 3)
           for who in after.cpu_seconds}  # fmt: skip
    return {"step": calls, "fault": _fault(report, waiting.connected, calls), "heard": heard, "cores_used": cpu}


def _fault(report: dict[str, Any], connected: int, calls: int) -> str:
    """ "" when all is well."""
    heard = report["foreign"]
    if connected < calls:
        return f"{connected} of {calls} calls are connected"
    if report["generator"]["receive_drops"]:
        return "the generator could not receive"
    if heard["sources"] != calls:
        return f"{heard['sources']} of {calls} callers hear something"
    if heard["per_second_min"] < FLUENT:
        return f"one hears {heard['per_second_min']} packets a second"
    return ""


async def _climb(
    processes: int, core: int | None, steps: tuple[int, ...], repeats: int, window: float
) -> tuple[int, list[dict[str, Any]]]:
    """The highest good step, and every run."""

    def edit(config: dict[str, Any]) -> None:
        config["callwright"]["media"]["processes"] = processes

    best, runs = 0, list[dict[str, Any]]()
    generator = await RtpGenerator.start(sockets=1, core=LOAD_CORE)
    with hotline(0, core, edit=edit) as site:
        waiting = Waiting(site, generator)
        for calls in steps:
            await waiting.grow_to(calls)
            tries = [await _measure(site, generator, waiting, calls, window) for _ in range(repeats)]
            runs += tries
            progress(f"  {calls}: {[run['fault'] or 'good' for run in tries]}, {tries[-1]['cores_used']}")
            if any(run["fault"] for run in tries):
                break
            best = calls
        await waiting.leave()
    await generator.stop()
    return best, runs


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    steps, window = ((200, 400), 3.0) if quick else (STEPS, WINDOW)
    told = conditions | {"window_seconds": window, "setup_rate": SETUP_RATE}
    progress("callers on music, one media process on one core")
    one, runs = await _climb(1, SERVER_CORE, steps, repeats, window)
    progress("callers on music, two media processes on all cores")
    two, more = await _climb(2, None, steps, repeats, window)
    return [
        Figure("callers_on_music", "calls", 2500.0, "higher", told, runs, float(one)),
        Figure("callers_on_music_two_processes", "calls", 2500.0, "higher", told | {"pinned": False}, more, float(two)),
    ]
