"""Measure: `python -m bench.run [--quick] [--repeats N] [FIGURE …]`, figures: bridged music ivr queued start
plane crowd srtp overload conference storm retransmit.

One JSON line a figure on stdout: name, value, unit, target, whether it is reached, conditions, every run. The server
runs on core 0, the load on core 1. --quick is a smoke test of the bench itself: small steps, one repeat.
"""

import argparse
import asyncio
import sys

import uvloop

from bench.figures import (
    bridged,
    conference,
    crowd,
    ivr,
    music,
    overload,
    plane,
    queued,
    retransmit,
    srtp,
    start,
    storm,
)
from bench.measure import prepare

MODULES = {
    "start": start,
    "ivr": ivr,
    "queued": queued,
    "bridged": bridged,
    "music": music,
    "plane": plane,
    "crowd": crowd,
    "srtp": srtp,
    "overload": overload,
    "conference": conference,
    "storm": storm,
    "retransmit": retransmit,
}


async def measure(names: list[str], repeats: int, quick: bool) -> bool:
    """True when every figure reached its target."""
    reached = True
    for name in names:
        for figure in await MODULES[name].figures(repeats, prepare() | {"repeats": repeats}, quick):
            figure.tell()
            reached &= figure.reached
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", nargs="*", choices=[*MODULES, []], default=[], help="all when none is named")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--plane", action="store_true", help="the same as the figure 'plane'")
    options = parser.parse_args()
    names = ["plane"] if options.plane else options.figure or list(MODULES)
    repeats = options.repeats or (1 if options.quick else 3)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return 0 if runner.run(measure(names, repeats, options.quick)) else 1


if __name__ == "__main__":
    sys.exit(main())
