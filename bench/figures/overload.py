"""Past its limit: what of the limit is still answered at twice and at five times as many calls, how soon the others
hear 503, and what is answered afterwards. INVITE, 200, ACK, one second of speech, BYE; all processes on one core.

The limit is what is answered (with an answer to the INVITE within a second) of an offer just above it.
"""

import asyncio
from typing import Any

from bench.endpoint import Endpoint
from bench.hotline import IVR, hotline
from bench.phones import Callers, Plan
from bench.report import Figure, progress
from bench.sipload import Load, offer
from bench.stats import milliseconds
from events.types import CallEnded, CallsShed
from tests.support.site import Site

IN_TIME = 1.0
"""Seconds: an answer that comes later is none."""
LIMIT_STEPS = (250.0, 300.0, 350.0, 400.0, 450.0)
TIMES = (1.0, 2.0, 5.0, 0.8)
"""Of the limit, one after the other on the same server; the last shows that it recovers."""


def split(load: Load, seconds: float) -> dict[str, Any]:
    good = [outcome for outcome in load.outcomes if not outcome.failure and outcome.setup <= IN_TIME]
    refused = [outcome for outcome in load.outcomes if outcome.status == 503]
    return {
        "offered_per_second": round(load.offered / seconds, 1),
        "good_per_second": round(len(good) / seconds, 1),
        "refused": len(refused),
        "lost": load.offered - len(good) - len(refused),
        "answer_ms": milliseconds([outcome.setup for outcome in good]),
        "refusal_ms": milliseconds([outcome.setup for outcome in refused]),
        "counts": dict(load.counts),
    }


async def run_at(site: Site, rate: float, seconds: float) -> dict[str, Any]:
    endpoint = Endpoint()
    before = site.last()
    load = await offer(Callers(endpoint), endpoint, Plan(to=IVR, target=site.udp, patience=20.0), rate=rate,
                       seconds=seconds)  # fmt: skip
    await asyncio.sleep(1.0)
    endpoint.close()
    events = [record.event for record in site.events(before)]
    shed = sum(event.count for event in events if isinstance(event, CallsShed))
    ended = sum(isinstance(event, CallEnded) for event in events)
    return {"rate": rate, **split(load, seconds), "shed_in_log": shed, "calls_in_log": ended}


async def limit_of(site: Site, seconds: float, steps: tuple[float, ...]) -> float:
    """The most calls a second that were answered in time by any step."""
    best = 0.0
    for rate in steps:
        run = await run_at(site, rate, seconds)
        progress(f"  {rate:g}/s: {run['good_per_second']:g}/s good, {run['lost']} lost")
        best = max(best, run["good_per_second"])
        if run["good_per_second"] < 0.9 * rate:
            break
    return best


async def series(seconds: float, steps: tuple[float, ...]) -> dict[str, Any]:
    """One server: its limit, then each of TIMES; goodput as a share of the limit (of the offer, when that is less)."""
    with hotline() as site:
        await run_at(site, 50.0, 2.0)  # warm-up
        limit = await limit_of(site, seconds, steps)
        runs = {}
        for times in TIMES:
            run = await run_at(site, limit * times, seconds)
            run["share"] = round(run["good_per_second"] / (limit * min(1.0, times)), 4)
            runs[f"{times:g}x"] = run
            progress(f"  {times:g}x: {run['share']:.1%} of the limit, {run['lost']} lost, {run['refused']} refused")
    return {"limit": limit, **runs, "fault": ""}


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    steps, seconds = (LIMIT_STEPS[:2], 4.0) if quick else (LIMIT_STEPS, 10.0)
    progress("Overload")
    runs = [await series(seconds, steps) for _ in range(repeats)]
    out = []
    for name, target in (("2x", 0.95), ("5x", 0.7), ("0.8x", 0.99)):
        each = [{"share": run[name]["share"], "limit": run["limit"], **run[name], "fault": ""} for run in runs]
        figure = Figure(f"goodput_at_{name}", "of the limit", target, "higher", conditions | {"seconds": seconds}, each)
        out.append(figure.settle("share"))
    return out
