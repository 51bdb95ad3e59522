"""A few thousand mutated messages; 200 000 by `python -m bench.fuzz`."""

from bench.fuzz import GROWTH_KB, fuzz
from tests.support.site import Site

MESSAGES, RATE = 8000, 1000.0


def test_mutated_messages_leave_no_trace(hotline: Site) -> None:
    result = fuzz(hotline, MESSAGES, 20_261_121, RATE)
    assert result["faults"] == []
    assert result["healthy_missed"] == 0
    assert result["healthy_asked"] > 20
    assert result["tcp_connections"] > 10
    assert result["growth_kb"] < 2 * GROWTH_KB  # transactions of 8 s are still there
