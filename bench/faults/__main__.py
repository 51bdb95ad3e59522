"""Break every part of a hotline under live calls, and look whether anybody noticed.

    python -m bench.faults                               # all faults, a table, one JSON line each
    python -m bench.faults --only control media --rounds 5 --seed 7 --calls 24

Calls in all states are placed with tones from far ends that listen; each fault strikes at a random moment (of the
seed), `--rounds` times. Progress and the table go to stderr, JSON to stdout. Exit status 1 when an audit failed.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop
from rich.console import Console

from bench.faults import verdict
from bench.faults.faults import FAULTS
from bench.faults.run import CALLS, strike
from bench.report import progress


async def run(names: list[str], rounds: int, seed: int, calls: int, keep: Path | None) -> bool:
    told = []
    for fault in FAULTS:
        if fault.name in names or not names:
            progress(f"{fault.name}: {fault.told}")
            done = await strike(fault, rounds, seed, calls, keep)
            sys.stdout.write(verdict.tell(done) + "\n")
            sys.stdout.flush()
            told.append(done)
    verdict.table(told, Console(stderr=True))
    return all(each.ok or each.skipped for done in told for each in done)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[fault.name for fault in FAULTS], default=[], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="injections of each fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=CALLS, help="callers at once")
    parser.add_argument("--keep", type=Path, help="folder for the journals of hotlines in which an audit failed")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return 0 if runner.run(run(given.only, given.rounds, given.seed, given.calls, given.keep)) else 1


if __name__ == "__main__":
    sys.exit(main())
