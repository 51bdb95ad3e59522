"""A bounded selection of the faults of bench/faults, on a real hotline with calls in every state (see there).

All of them, many times each: python -m bench.faults
"""

import asyncio

import pytest

from bench.faults.faults import FAULTS
from bench.faults.run import CALLS, strike

CHOSEN = ("control", "media", "drain_orphan", "clock_kill")


@pytest.mark.parametrize("name", CHOSEN)
def test_calls_do_not_notice(name: str) -> None:
    fault = next(fault for fault in FAULTS if fault.name == name)
    (round_,) = asyncio.run(strike(fault, rounds=1, seed=1, calls=CALLS))
    assert round_.problems == []
    assert round_.skipped == ""
    assert round_.bridged == 4
