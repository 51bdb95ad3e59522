"""Open-loop SIP load: calls begin at their appointed times whether or not the server keeps up.

    python -m bench.sipload --target 127.0.0.1:5060 --to 1001 --rate 100 --seconds 10 --talk 1
    python -m bench.sipload --target 127.0.0.1:5060 --to 1001 --rate 50 --key 1 --agents 8001:secret,8002:secret

Prints one JSON object. `--self` sends the calls to phones of its own instead: what the generator alone can do.
"""

import argparse
import asyncio
import json
import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import uvloop

from bench.endpoint import Endpoint
from bench.phones import Agents, Callers, Outcome, Plan
from bench.stats import milliseconds


@dataclass(slots=True)
class Load:
    """What happened to one load of calls."""

    offered: int
    seconds: float
    """From the first INVITE to the last one's."""
    outcomes: list[Outcome] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0
    active_at_end: int = 0

    @property
    def failed(self) -> int:
        return sum(1 for outcome in self.outcomes if outcome.failure)

    @property
    def troubles(self) -> float:
        """Failed calls and retransmissions, as a share of the calls: the measure of every SIP figure."""
        again = self.counts["retransmissions"] + self.counts["requests_again"] + self.counts["responses_again"]
        return (self.failed + again) / max(1, self.offered)

    def summary(self) -> dict[str, Any]:
        good = [outcome for outcome in self.outcomes if not outcome.failure]
        return {
            "offered": self.offered,
            "completed": len(good),
            "failed": dict(Counter(outcome.failure for outcome in self.outcomes if outcome.failure)),
            "ended_by": dict(Counter(outcome.ended_by for outcome in good)),
            "calls_per_second": round(self.offered / max(self.seconds, 1e-9), 1),
            "setup_ms": milliseconds([outcome.setup for outcome in good]),
            "troubles": round(self.troubles, 6),
            "counts": dict(self.counts),
            "generator_cpu_seconds": round(self.cpu_seconds, 2),
            "active_at_end": self.active_at_end,
        }


async def offer(
    callers: Callers, endpoint: Endpoint, plan: Plan, *, rate: float, seconds: float, first: int = 0
) -> Load:
    """`rate` calls a second for `seconds`; returns when the last has ended. Callers are numbered from `first`."""
    total = round(rate * seconds)
    before, cpu = Counter(endpoint.counts), cpu_seconds()
    begin, tasks = monotonic(), []
    for n in range(total):
        wait = begin + n / rate - monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(endpoint.loop.create_task(callers.call(caller_number(first + n), plan)))
    took = monotonic() - begin + 1 / rate
    outcomes = await asyncio.gather(*tasks)
    load = Load(total, took, list(outcomes))
    load.counts = Counter(endpoint.counts)
    load.counts.subtract(before)
    load.cpu_seconds = cpu_seconds() - cpu
    load.active_at_end = sum(1 for outcome in outcomes if outcome.answered_at and not outcome.ended_by)
    return load


def caller_number(n: int) -> str:
    """A number of its own for each caller, so that the agent's INVITE tells whose call it is."""
    return f"139{n:08d}"


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def register_all(agents: Agents, accounts: Sequence[tuple[str, str]], at_once: int = 50) -> dict[int, int]:
    """Register all phones; returns status -> how many."""
    statuses: Counter[int] = Counter()
    for start in range(0, len(accounts), at_once):
        batch = accounts[start : start + at_once]
        statuses.update(await asyncio.gather(*(agents.register(user, password) for user, password in batch)))
    return dict(statuses)


async def _main(options: argparse.Namespace) -> dict[str, Any]:
    endpoint = Endpoint(options.bind)
    callers = Callers(endpoint)
    result: dict[str, Any] = {}
    agents = None
    host, _, port = options.target.rpartition(":")
    target = (host.strip("[]"), int(port))
    if options.agents or options.self:
        agents = Agents(Endpoint(options.agents_bind), target, options.domain, options.ring, options.agent_talk)
        if options.self:
            target = (agents.endpoint.host, agents.endpoint.port)
        else:
            accounts = [tuple(account.split(":", 1)) for account in options.agents.split(",")]
            result["registered"] = await register_all(agents, accounts)
    plan = Plan(
        to=options.to,
        target=target,
        domain=options.domain,
        keys=[(options.key_after, digit) for digit in options.key],
        talk=options.talk,
        patience=options.patience,
    )
    load = await offer(callers, endpoint, plan, rate=options.rate, seconds=options.seconds)
    result |= load.summary()
    if agents is not None:
        result["agents_took"] = sum(1 for taken in agents.taken if taken.acked_at)
        keyed = {outcome.caller: outcome.keyed_at or outcome.answered_at for outcome in load.outcomes}
        waits = [taken.invited_at - keyed[taken.caller] for taken in agents.taken if keyed.get(taken.caller)]
        result["key_to_agent_ms"] = milliseconds(waits)
        result["agent_counts"] = dict(agents.endpoint.counts)
        await asyncio.sleep(0)
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="127.0.0.1:5060", help="host:port of the server")
    parser.add_argument("--bind", default="127.0.0.1", help="the callers' own address")
    parser.add_argument("--agents-bind", default="127.0.0.1", help="the agents' own address")
    parser.add_argument("--domain", default="127.0.0.1", help="host part of To and of the registrar")
    parser.add_argument("--to", default="1001")
    parser.add_argument("--rate", type=float, default=10.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--talk", type=float, default=None, help="seconds until our BYE; without it wait for theirs")
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--key", default="", help="digits pressed by INFO")
    parser.add_argument("--key-after", type=float, default=0.3, help="seconds before each")
    parser.add_argument("--agents", default="", help="user:password,user:password of phones to register")
    parser.add_argument("--ring", type=float, default=0.0)
    parser.add_argument("--agent-talk", type=float, default=None)
    parser.add_argument("--self", action="store_true", help="call phones of this process: the generator's own limit")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_main(_options()))))
