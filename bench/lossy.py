"""Whole calls over a link that loses packets in both directions, to a hotline as it is served.

    python -m bench.lossy --calls 1000 --loss 0.1
    python -m bench.lossy --calls 1000 --loss 0.3 --link loopback

One JSON line. Every other call is queued and taken by an agent's phone behind the same kind of link; the rest hear a
prompt. Of both kinds half are ended by the caller. A call is complete when its caller heard an answer, nobody gave up
on a request, and the journal has one end of it, not by a fault.

The link: two network namespaces joined by a bridge in user space (bench/impair.py) that loses SIP and audio alike; it
needs root and iproute2. Without, or with --link loopback: a relay on the loopback that loses SIP.
"""

import argparse
import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import uvloop

from bench.endpoint import Endpoint
from bench.figures.queued import staff
from bench.hotline import IVR, QUEUE, hotline
from bench.impair import Behind, Relay
from bench.namespaces import Link, Missing, namespaces
from bench.phones import Agents, Callers, Outcome, Plan
from bench.report import progress
from bench.sipload import caller_number
from events.types import CallArrived, CallEnded, CallOutcome
from tests.support.site import Site

AGENTS = 60
RATE = 25.0
"""New calls a second: few enough for two cores to do all else in time."""
TALK = 2.0
SETTLE = 40.0
"""Seconds that the last call's ends may take: 64 T1 (RFC 3261 table 4) and a little."""
FINE = ("", "BYE 481")
"""The BYE of each side crossed that of the other, lost at first: as good an end as any (RFC 3261 §15.1.1)."""
LOST = {CallOutcome.FAILED, CallOutcome.REFUSED}


class Near:
    """A relay on the loopback for each socket. See bench.namespaces.Link."""

    where = "a relay on the loopback"

    def __init__(self, loss: float, site: Site) -> None:
        self._loss, self._site = loss, site
        self._seed = 0

    def endpoint(self) -> Endpoint:
        self._seed += 1
        return Behind(Relay(self._site.udp, self._loss, self._seed))


@contextlib.contextmanager
def loopback(loss: float) -> Iterator[tuple[Link, Site]]:
    with hotline(AGENTS, core=None) as site:
        yield Near(loss, site), site


async def run(link: Link, site: Site, calls: int, rate: float = RATE) -> dict[str, Any]:
    """The result of so many calls; `complete` counts the good ones."""
    agents = await staff(site, AGENTS, TALK, endpoint=link.endpoint())
    endpoint = link.endpoint()
    callers = Callers(endpoint)
    before = site.last()
    begin, tasks = endpoint.loop.time(), []
    for n in range(calls):
        await asyncio.sleep(max(0.0, begin + n / rate - endpoint.loop.time()))
        tasks.append(asyncio.create_task(callers.call(caller_number(n), plan(n, site))))
    outcomes = await asyncio.gather(*tasks)
    ended = await _ends(site, before, calls)
    again = endpoint.counts["retransmissions"] + agents.endpoint.counts["retransmissions"]
    for each in (endpoint, agents.endpoint):
        each.close()
    return result(outcomes, ended, site, before) | {"taken": _taken(agents), "retransmissions": again}


def plan(n: int, site: Site) -> Plan:
    """Of call number n: a queue or a prompt, and who hangs up."""
    talk = None if n % 4 < 2 else 0.5
    return Plan(to=QUEUE if n % 2 else IVR, target=site.udp, talk=talk, patience=60.0)


def _taken(agents: Agents) -> int:
    return sum(1 for taken in agents.taken if taken.acked_at)


async def _ends(site: Site, before: int, calls: int) -> Counter[CallOutcome]:
    """Outcomes in the journal, once all have one or the time is over."""
    for _ in range(round(SETTLE)):
        ended = Counter(r.event.outcome for r in site.events(before) if isinstance(r.event, CallEnded))
        if ended.total() >= calls:
            break
        await asyncio.sleep(1.0)
    return ended


def result(outcomes: list[Outcome], ended: Counter[CallOutcome], site: Site, before: int) -> dict[str, Any]:
    failures = Counter(outcome.failure for outcome in outcomes if outcome.failure not in FINE)
    arrived = Counter(r.event.caller for r in site.events(before) if isinstance(r.event, CallArrived))
    lost = sum(ended[outcome] for outcome in LOST)
    missing = len(outcomes) - ended.total()
    setups = sorted(outcome.setup for outcome in outcomes if not outcome.failure)
    return {
        "calls": len(outcomes),
        "complete": len(outcomes) - max(failures.total(), lost) - max(0, missing),
        "failures": dict(failures),
        "twice": sum(1 for count in arrived.values() if count > 1),
        "outcomes": {str(outcome): count for outcome, count in ended.items()},
        "setup_s_max": round(setups[-1], 2) if setups else None,
    }


async def measure(calls: int, loss: float, link: str, rate: float = RATE) -> dict[str, Any]:
    if link == "namespaces":
        try:
            with namespaces(AGENTS, loss) as (far, site):
                return await run(far, site, calls, rate) | {"loss": loss, "link": far.where}
        except Missing as missing:
            progress(f"no namespaces ({missing}): a relay on the loopback instead")
    with loopback(loss) as (near, site):
        return await run(near, site, calls, rate) | {"loss": loss, "link": near.where}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--loss", type=float, default=0.1, help="share of packets, in each direction")
    parser.add_argument("--rate", type=float, default=RATE, help="calls a second")
    parser.add_argument("--link", choices=["namespaces", "loopback"], default="namespaces")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(measure(options.calls, options.loss, options.link, options.rate))
    sys.stdout.write(json.dumps(told) + "\n")
    wanted = 1.0 if options.loss <= 0.1 else 0.98
    return 0 if told["complete"] >= wanted * told["calls"] else 1


if __name__ == "__main__":
    sys.exit(main())
