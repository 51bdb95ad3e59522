"""Whole calls over a link that loses one packet in ten, each way: a small run of `python -m bench.lossy`."""

import asyncio

import pytest
import uvloop

from bench.lossy import measure

pytestmark = pytest.mark.interop
CALLS = 40


@pytest.mark.parametrize("link", ["namespaces", "loopback"])
def test_every_call_is_complete(link: str) -> None:
    """namespaces: where none can be made bench.lossy says why, and takes the loopback too."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(measure(CALLS, 0.1, link))
    assert told["complete"] == CALLS, told
    assert told["twice"] == 0
    assert told["retransmissions"] > 0
