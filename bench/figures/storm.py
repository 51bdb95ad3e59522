"""A registration storm: 2 000 phones register again with digest, from scratch, within a minute, while calls run."""

import asyncio
from collections import Counter
from math import inf
from time import monotonic
from typing import Any

from bench.endpoint import Endpoint
from bench.figures.ivr import TROUBLES
from bench.hotline import DOMAIN, IVR, account, hotline
from bench.measure import usage
from bench.phones import Agents, Callers, Plan
from bench.report import Figure, progress
from bench.sipload import offer, register_all
from bench.stats import milliseconds
from tests.support.site import Site

PHONES, WITHIN = 2_000, 60.0
CALLS_A_SECOND = 20.0
SPREAD = 50.0
"""Seconds over which the phones begin; the rest is for the last of them."""


async def _again(agents: Agents, count: int, spread: float) -> tuple[Counter[int], list[float]]:
    """All phones register once more, evenly; statuses, and how long each took."""
    took: list[float] = []

    async def one(n: int) -> int:
        await asyncio.sleep(n * spread / count)
        begun = monotonic()
        status = await agents.register(*account(n))
        took.append(monotonic() - begun)
        return status

    return Counter(await asyncio.gather(*(one(n) for n in range(count)))), took


async def _run(site: Site, phones: int, spread: float) -> dict[str, Any]:
    """`seconds`: from the first REGISTER to the last 200; infinite when a phone or a call came to harm."""
    agents, endpoint = Agents(Endpoint(), site.udp, DOMAIN), Endpoint()
    await register_all(agents, [account(n) for n in range(phones)])
    callers, plan = Callers(endpoint), Plan(to=IVR, target=site.udp, patience=20.0)
    agents.endpoint.counts.clear()
    used, begun = usage(site.process.pid).cpu, monotonic()
    calls = asyncio.create_task(offer(callers, endpoint, plan, rate=CALLS_A_SECOND, seconds=spread))
    statuses, took = await _again(agents, phones, spread)
    seconds = monotonic() - begun
    load = await calls
    cpu = usage(site.process.pid).cpu - used
    endpoint.close()
    agents.endpoint.close()
    harmed = f"registrations {dict(statuses)}" if set(statuses) != {200} else ""
    if load.troubles >= TROUBLES:
        harmed = f"calls: {load.summary()['failed']} {dict(load.counts)}"
    return {
        "fault": harmed,
        "seconds": inf if harmed else round(seconds, 2),
        "register_ms": milliseconds(took),
        "register_retransmissions": agents.endpoint.counts["retransmissions"],
        **load.summary(),
        "cpu_seconds": round(cpu, 2),
    }


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    progress("2 000 phones register again while calls run")
    phones, spread = (200, 5.0) if quick else (PHONES, SPREAD)
    told = conditions | {"phones": phones, "spread_seconds": spread, "calls_offered_per_second": CALLS_A_SECOND}
    figure = Figure("registration_storm", "s", WITHIN, "lower", told)
    with hotline(phones) as site:
        for _ in range(repeats):
            figure.runs.append(await _run(site, phones, spread))
    return [figure.settle("seconds")]
