"""Slopes and changes."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.trend import after, change, median_slope_per_hour, slope_per_hour

TIMES = [float(n * 10) for n in range(200)]


BOTH = pytest.mark.parametrize("slope_of", [slope_per_hour, median_slope_per_hour])
Slope = Callable[[list[float], list[float]], float]


@BOTH
@given(per_second=st.floats(-1e3, 1e3), start=st.floats(-1e6, 1e6))
def test_a_line_has_its_slope(slope_of: Slope, per_second: float, start: float) -> None:
    found = slope_of(TIMES, [start + per_second * at for at in TIMES])
    assert found == pytest.approx(per_second * 3600, rel=1e-6, abs=1e-3)


@BOTH
def test_what_goes_up_and_down_is_flat(slope_of: Slope) -> None:
    waves = [5.0 + (n % 2) for n in range(200)]
    assert abs(slope_of(TIMES, waves)) < 0.1


@BOTH
def test_a_leak_below_waves_is_seen(slope_of: Slope) -> None:
    """2 MB an hour under waves of 1 MB."""
    leak = [(n % 2) + 2 * at / 3600 for n, at in enumerate(TIMES)]
    assert slope_of(TIMES, leak) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("share", [0.1, 0.35, 0.65, 0.9])
def test_one_step_is_no_growth(share: float) -> None:
    step = [1.0 if at > share * TIMES[-1] else 0.0 for at in TIMES]
    assert slope_per_hour(TIMES, step) > 0.9
    assert median_slope_per_hour(TIMES, step) == 0.0


@pytest.mark.parametrize("steps", [3, 5, 20])
def test_a_staircase_is(steps: int) -> None:
    stairs = [float(int(steps * n / len(TIMES))) for n in range(len(TIMES))]
    assert median_slope_per_hour(TIMES, stairs) == pytest.approx(slope_per_hour(TIMES, stairs), rel=0.25)


@BOTH
def test_one_point_has_no_slope(slope_of: Slope) -> None:
    assert slope_of([1.0], [5.0]) == 0.0
    assert slope_of([], []) == 0.0


def test_the_warm_up_is_left_out() -> None:
    assert after([1.0, 2.0, 3.0], [7.0, 8.0, 9.0], 2.0) == ([2.0, 3.0], [8.0, 9.0])


def test_change_is_a_share() -> None:
    assert change(2.0, 2.2) == pytest.approx(0.1)
    assert change(0.0, 5.0) == 0.0
