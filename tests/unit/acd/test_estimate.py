"""Expected wait: known when it can be known."""

import pytest

from acd.routing.estimate import UNKNOWN, WaitEstimate


def test_nothing_is_said_before_something_is_known() -> None:
    wait = WaitEstimate()
    assert wait.estimate(1, 5) == UNKNOWN
    for _ in range(3):
        wait.handled(120.0)
    assert wait.estimate(1, 0) == UNKNOWN
    assert wait.estimate(2, 4) == 60.0
    assert wait.estimate(1000, 1) == UNKNOWN  # 33 hours is not an answer


def test_measured_pace_replaces_handling_time_and_follows_staff() -> None:
    """10 agents answer a call every 20 s, though talks last 120 s: they serve other queues too."""
    wait = WaitEstimate()
    for number in range(8):
        wait.handled(120.0)
        wait.answered(working=10, backlog=True, now=20.0 * number)
    assert wait.estimate(3, 10) == pytest.approx(60.0)
    assert wait.estimate(3, 20) == pytest.approx(30.0)


def test_idle_times_do_not_count_as_slow() -> None:
    wait = WaitEstimate()
    for number in range(10):
        wait.answered(working=1, backlog=True, now=1000.0 * number)
        wait.emptied()
    for _ in range(3):
        wait.handled(60.0)
    assert wait.estimate(1, 1) == 60.0
