"""Two-leg calls: caller, key, queue, registered agent's phone, talk, hang-up. Calls a second, and how fast the
agent's phone is reached at a moderate rate.
"""

import asyncio
from typing import Any

from bench.endpoint import Endpoint
from bench.figures.ivr import TROUBLES
from bench.hotline import DOMAIN, MENU, QUEUE, account, agent_name, hotline
from bench.measure import usage
from bench.phones import Agents, Callers, Plan
from bench.report import Figure, progress
from bench.sipload import Load, offer, register_all
from bench.stats import milliseconds
from bench.steady import dependable
from tests.support.site import Site

AGENTS = 400
TALK = 0.5
STEPS = (80.0, 120.0, 160.0, 200.0, 240.0)
SECONDS = 10.0
LATENCY_AGENTS, LATENCY_RATE = 100, 20.0


async def staff(
    site: Site, count: int, talk: float | None, ring: float = 0.0, *, endpoint: Endpoint | None = None
) -> Agents:
    """Phones registered with digest, their agents logged in and ready. Raises RuntimeError when one is not."""
    agents = Agents(endpoint or Endpoint(), site.udp, DOMAIN, ring, talk)
    statuses = await register_all(agents, [account(n) for n in range(count)])
    if set(statuses) != {200}:
        raise RuntimeError(f"registrations ended with {statuses}")
    for n in range(count):
        await asyncio.to_thread(site.agent, agent_name(n), "login")
        await asyncio.to_thread(site.agent, agent_name(n), "ready")
    return agents


def _fault(load: Load, agents: Agents, taken: int, agent_again: int) -> str:
    if load.troubles + agent_again / load.offered >= TROUBLES:
        return f"failures and retransmissions: {load.summary()['failed']} {dict(load.counts)} {agent_again}"
    if taken != load.offered:
        return f"{load.offered} calls, {taken} taken by agents"
    return ""


async def run_at(site: Site, agents: Agents, rate: float, seconds: float, plan: Plan) -> dict[str, Any]:
    endpoint = Endpoint()
    callers = Callers(endpoint)
    agents.taken.clear()
    again = _again(agents)
    used = usage(site.process.pid).cpu
    load = await offer(callers, endpoint, plan, rate=rate, seconds=seconds)
    cpu = (usage(site.process.pid).cpu - used) * 1000 / load.offered
    await asyncio.sleep(0.5)
    endpoint.close()
    begun = {outcome.caller: outcome.keyed_at or outcome.invited_at for outcome in load.outcomes}
    waits = [taken.invited_at - begun[taken.caller] for taken in agents.taken if taken.caller in begun]
    connected = sum(1 for taken in agents.taken if taken.acked_at)
    return {
        "fault": _fault(load, agents, connected, _again(agents) - again),
        **load.summary(),
        "to_agent_ms": milliseconds(waits),
        "cpu_ms_per_call": round(cpu, 3),
    }


def _again(agents: Agents) -> int:
    counts = agents.endpoint.counts
    return counts["retransmissions"] + counts["requests_again"] + counts["responses_again"] + counts["ack_timeouts"]


async def _rate(repeats: int, conditions: dict[str, Any], quick: bool) -> Figure:
    steps, seconds = ((120.0,), 5.0) if quick else (STEPS, SECONDS)
    with hotline(AGENTS) as site:
        agents = await staff(site, AGENTS, TALK)
        plan = Plan(to=MENU, target=site.udp, keys=[(0.2, "1")], patience=30.0)
        await run_at(site, agents, 20.0, 2.0, plan)  # warm-up

        async def attempt(rate: float) -> dict[str, Any]:
            return await run_at(site, agents, rate, seconds, plan)

        best, runs = await dependable(steps, repeats, attempt)
    told = conditions | {"agents": AGENTS, "talk_seconds": TALK, "seconds": seconds}
    return Figure("queued_calls_per_second", "calls/s", 200.0, "higher", told, runs, best)


async def _latency(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    with hotline(LATENCY_AGENTS) as site:
        agents = await staff(site, LATENCY_AGENTS, 2.0)
        plan = Plan(to=QUEUE, target=site.udp, patience=30.0)
        await run_at(site, agents, 5.0, 2.0, plan)  # warm-up
        runs = [await run_at(site, agents, LATENCY_RATE, 5.0 if quick else 15.0, plan) for _ in range(repeats)]
    told = conditions | {"agents": LATENCY_AGENTS, "rate": LATENCY_RATE}
    figures = []
    for point, target in (("p50", 5.0), ("p99", 15.0)):
        own = [run | {point: run["to_agent_ms"].get(point, float("inf"))} for run in runs]
        figures.append(Figure(f"invite_to_agent_{point}", "ms", target, "lower", told, own).settle(point))
    return figures


async def figures(repeats: int, conditions: dict[str, Any], quick: bool) -> list[Figure]:
    progress("queued two-leg calls a second")
    rate = await _rate(repeats, conditions, quick)
    progress("caller's INVITE to agent's INVITE")
    return [rate, *await _latency(repeats, conditions, quick)]
