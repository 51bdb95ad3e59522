"""IVR calls a second: INVITE, 200, ACK, one second of speech, BYE; failures and retransmissions below 0.1 %, every
event in the journal. And the CPU that one of them costs, in all processes.
"""

import asyncio
from collections import Counter
from typing import Any

from bench.endpoint import Endpoint
from bench.hotline import IVR, hotline
from bench.measure import usage
from bench.phones import Callers, Plan
from bench.report import Figure, progress
from bench.sipload import Load, offer
from bench.steady import dependable
from tests.support.site import Site

TROUBLES = 0.001
STEPS = (200.0, 300.0, 400.0, 500.0, 550.0, 600.0)
SECONDS = 10.0


def fault(load: Load, events: Counter[str]) -> str:
    """ "" when all is well with a load whose every call must leave its events."""
    if load.troubles >= TROUBLES:
        return f"failures and retransmissions {load.troubles:.3%}: {dict(load.counts)}"
    for kind in ("CallArrived", "CallAnswered", "FlowLeft", "CallEnded"):
        if events[kind] != load.offered:
            return f"{load.offered} calls, {events[kind]} {kind} in the journal"
    return ""


def count_events(site: Site, after: int) -> Counter[str]:
    return Counter(type(record.event).__name__ for record in site.events(after))


async def run_at(site: Site, rate: float, seconds: float, plan: Plan) -> dict[str, Any]:
    """One load on a running site; what came of it, its fault and its costs."""
    endpoint = Endpoint()
    callers = Callers(endpoint)
    before, used = site.last(), usage(site.process.pid)
    load = await offer(callers, endpoint, plan, rate=rate, seconds=seconds)
    await asyncio.sleep(1.5)  # the last calls' ends reach the journal and the tables: their cost counts
    after = usage(site.process.pid)
    endpoint.close()
    cpu = {who: round((after.cpu_seconds[who] - used.cpu_seconds.get(who, 0.0)) * 1000 / load.offered, 3)
           for who in after.cpu_seconds}  # fmt: skip
    return {
        "fault": fault(load, count_events(site, before)),
        **load.summary(),
        "cpu_ms_per_call": round(sum(cpu.values()), 3),
        "cpu_ms_per_call_by_process": cpu,
    }


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    steps, seconds = ((300.0,), 5.0) if quick else (STEPS, SECONDS)
    progress("IVR calls a second")
    with hotline() as site:
        plan = Plan(to=IVR, target=site.udp, patience=20.0)
        await run_at(site, 50.0, 2.0, plan)  # warm-up

        async def attempt(rate: float) -> dict[str, Any]:
            return await run_at(site, rate, seconds, plan)

        best, runs = await dependable(steps, repeats, attempt)
    rate = Figure("ivr_calls_per_second", "calls/s", 400.0, "higher", conditions | {"seconds": seconds}, runs, best)
    good = [run for run in runs if not run["fault"] and run["step"] == best]
    cpu = Figure("ivr_cpu_per_call", "ms", 2.0, "lower", conditions | {"rate": best}, good)
    return [rate, cpu.settle("cpu_ms_per_call") if good else cpu]
