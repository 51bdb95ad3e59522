"""Slopes and changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.trend import after, change, slope_per_hour

TIMES = [float(n * 10) for n in range(200)]


@given(st.floats(-1e3, 1e3), st.floats(-1e6, 1e6))
def test_a_line_has_its_slope(per_second: float, start: float) -> None:
    found = slope_per_hour(TIMES, [start + per_second * at for at in TIMES])
    assert found == pytest.approx(per_second * 3600, rel=1e-6, abs=1e-3)


def test_what_goes_up_and_down_is_flat() -> None:
    waves = [5.0 + (n % 2) for n in range(200)]
    assert abs(slope_per_hour(TIMES, waves)) < 0.1


def test_a_leak_below_waves_is_seen() -> None:
    """2 MB an hour under waves of 1 MB."""
    leak = [(n % 2) + 2 * at / 3600 for n, at in enumerate(TIMES)]
    assert slope_per_hour(TIMES, leak) == pytest.approx(2.0, rel=0.05)


def test_one_point_has_no_slope() -> None:
    assert slope_per_hour([1.0], [5.0]) == 0.0
    assert slope_per_hour([], []) == 0.0


def test_the_warm_up_is_left_out() -> None:
    assert after([1.0, 2.0, 3.0], [7.0, 8.0, 9.0], 2.0) == ([2.0, 3.0], [8.0, 9.0])


def test_change_is_a_share() -> None:
    assert change(2.0, 2.2) == pytest.approx(0.1)
    assert change(0.0, 5.0) == 0.0
