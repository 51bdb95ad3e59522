"""Past its limit: how much of the limit is still served at one, two, three and five times as many calls, how soon the
others hear 503, whether phones can still renew their registration meanwhile, and how soon all is as before.

Queued calls of two legs (caller, queue, registered agent, half a second of talk), since five times what the server can
do of them is still easily offered. All the server's processes on one core. The limit is the most calls a second that
any step below or beyond it served in time: answered within a second, connected to an agent, hung up by him.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

from bench.endpoint import Endpoint
from bench.figures.queued import AGENTS, TALK, staff
from bench.hotline import QUEUE, account, hotline
from bench.phones import Agents, Callers, Outcome, Plan
from bench.report import Figure, progress
from bench.sipload import offer
from bench.stats import milliseconds, percentile
from events.types import CallEnded, CallsShed
from tests.support.site import Site

IN_TIME = 1.0
"""Seconds: an answer that comes later is none."""
LIMIT_STEPS = (120.0, 160.0, 200.0, 240.0, 280.0, 320.0)
TIMES = (1.0, 2.0, 3.0, 5.0)
"""Of the limit, one after the other on the same server."""
AFTERWARDS = 0.8
"""Of the limit, right behind the worst."""
BIN = 0.5
"""Seconds: recovery is told in these."""
RECOVERED = 0.95
REFRESHES = 5.0
"""Registrations renewed a second all the time."""


def is_good(outcome: Outcome) -> bool:
    return not outcome.failure and outcome.ended_by == "there" and outcome.setup <= IN_TIME


def recovery_seconds(outcomes: Sequence[Outcome]) -> float:
    """From the first INVITE of a load that can be served to the moment from which each BIN's calls are served."""
    begin = min(outcome.invited_at for outcome in outcomes)
    bins: dict[int, list[bool]] = {}
    for outcome in outcomes:
        bins.setdefault(int((outcome.invited_at - begin) / BIN), []).append(is_good(outcome))
    bad = [n for n, good in bins.items() if sum(good) < RECOVERED * len(good)]
    return (max(bad) + 1) * BIN if bad else 0.0


async def _refresh(agents: Agents, seconds: float) -> list[float]:
    """Renew registrations until then; how long each took, infinity for one that failed."""
    took: list[float] = []

    async def one(n: int) -> None:
        begun = monotonic()
        status = await agents.register(*account(n % AGENTS))
        took.append(monotonic() - begun if status == 200 else float("inf"))

    tasks = []
    for n in range(round(seconds * REFRESHES)):
        tasks.append(asyncio.create_task(one(n)))
        await asyncio.sleep(1 / REFRESHES)
    await asyncio.gather(*tasks)
    return took


class Series:
    """One server and its agents."""

    def __init__(self, site: Site, agents: Agents) -> None:
        self._site = site
        self._agents = agents
        self._first = 0

    async def run_at(self, rate: float, seconds: float) -> dict[str, Any]:
        endpoint = Endpoint()
        before = self._site.last()
        plan = Plan(to=QUEUE, target=self._site.udp, patience=20.0)
        load, renewed = await asyncio.gather(
            offer(Callers(endpoint), endpoint, plan, rate=rate, seconds=seconds, first=self._first),
            _refresh(self._agents, seconds),
        )
        self._first += load.offered
        endpoint.close()
        good = [outcome for outcome in load.outcomes if is_good(outcome)]
        refused = [outcome for outcome in load.outcomes if outcome.status == 503]
        events = [record.event for record in self._site.events(before)]
        return {
            "offered_per_second": round(load.offered / load.seconds, 1),
            "good_per_second": round(len(good) / load.seconds, 1),
            "refused": len(refused),
            "lost": load.offered - len(good) - len(refused),
            "answer_ms": milliseconds([outcome.setup for outcome in good]),
            "refusal_ms": milliseconds([outcome.setup for outcome in refused]),
            "refresh_worst_ms": round(percentile(renewed, 100) * 1000, 1),
            "recovery_seconds": recovery_seconds(load.outcomes),
            "sent_again": load.counts["retransmissions"],
            "shed_in_log": sum(event.count for event in events if isinstance(event, CallsShed)),
            "calls_in_log": sum(isinstance(event, CallEnded) for event in events),
        }

    async def limit(self, seconds: float, steps: Sequence[float]) -> float:
        best = 0.0
        for rate in steps:
            run = await self.run_at(rate, seconds)
            progress(f"  {rate:g}/s: {run['good_per_second']:g}/s served, {run['lost']} lost")
            best = max(best, run["good_per_second"])
            if run["good_per_second"] < 0.85 * rate:
                break
            await asyncio.sleep(2.0)
        return best


async def series(seconds: float, steps: Sequence[float]) -> dict[str, Any]:
    with hotline(AGENTS) as site:
        one = Series(site, await staff(site, AGENTS, TALK))
        await one.run_at(20.0, 2.0)  # warm-up
        limit = await one.limit(seconds, steps)
        await asyncio.sleep(4.0)
        rows = {}
        for times in (*TIMES, AFTERWARDS):
            row = rows[f"{times:g}x"] = await one.run_at(limit * times, seconds)
            row["share"] = round(row["good_per_second"] / (limit * min(1.0, times)), 4)
            progress(f"  {times:g}x: {row['share']:.1%} of the limit, {row['lost']} lost, {row['refused']} refused "
                     f"within {row['refusal_ms'].get('p99', 0):g} ms (p99), "
                     f"registrations renewed within {row['refresh_worst_ms']:g} ms")  # fmt: skip
        recovery = rows[f"{AFTERWARDS:g}x"]["recovery_seconds"]
        progress(f"  afterwards: as before within {recovery:g} s")
    return {"limit": limit, "worst_share": min(rows[f"{times:g}x"]["share"] for times in TIMES),
            "recovery": recovery, "rows": rows, "fault": ""}  # fmt: skip


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    steps, seconds = (LIMIT_STEPS[:2], 4.0) if quick else (LIMIT_STEPS, 10.0)
    progress("Overload")
    runs = [await series(seconds, steps) for _ in range(repeats)]
    told = conditions | {"seconds": seconds, "agents": AGENTS, "talk_seconds": TALK}
    goodput = Figure("goodput_past_the_limit", "of the limit", 0.95, "higher", told, runs)
    recovery = Figure("recovery_from_5x", "s", 5.0, "lower", told, [{"recovery": run["recovery"]} for run in runs])
    return [goodput.settle("worst_share"), recovery.settle("recovery")]
