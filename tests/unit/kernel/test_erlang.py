"""Erlang B against printed tables, and against the Erlang C vectors that we keep for staffing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.erlang import blocking, lines_for


@pytest.mark.parametrize(
    ("erlangs", "lines", "expected"),
    [
        (1, 1, 0.5),
        (2, 2, 0.4),
        (3, 2, 9 / 17),
        (10, 10, 0.2146),
        (10, 15, 0.0365),
        (10, 18, 0.00714),
        (100, 117, 0.0098),
    ],
)
def test_blocking_as_in_the_tables(erlangs: float, lines: int, expected: float) -> None:
    assert blocking(erlangs, lines) == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize(
    ("calls_an_hour", "seconds", "agents", "waits"),
    [
        (1000, 120, 34, 0.8686),
        (1000, 120, 35, 0.6965),
        (1000, 120, 36, 0.5519),
        (1000, 120, 37, 0.4318),
        (720, 240, 55, 0.2387),
    ],
)
def test_erlang_c_follows_from_it(calls_an_hour: float, seconds: float, agents: int, waits: float) -> None:
    """C = B / (1 − ρ·(1 − B)): the staffing vectors that were computed elsewhere."""
    traffic = calls_an_hour * seconds / 3600
    lost = blocking(traffic, agents)
    assert lost / (1 - traffic / agents * (1 - lost)) == pytest.approx(waits, abs=5e-5)


@pytest.mark.parametrize(
    ("erlangs", "share", "lines"),
    [(1, 0.01, 5), (5, 0.01, 11), (10, 0.01, 18), (20, 0.01, 30), (50, 0.01, 64), (100, 0.01, 117), (10, 0.001, 21)],
)
def test_lines_as_in_the_tables(erlangs: float, share: float, lines: int) -> None:
    assert lines_for(erlangs, share) == lines


@given(st.floats(0.01, 2000), st.floats(0.0001, 0.5))
def test_one_line_fewer_would_be_too_few(erlangs: float, share: float) -> None:
    lines = lines_for(erlangs, share)
    assert blocking(erlangs, lines) <= share < blocking(erlangs, lines - 1)


def test_nothing_offered_needs_nothing() -> None:
    assert (lines_for(0, 0.01), blocking(0, 3), blocking(0, 0)) == (0, 0.0, 1.0)


@pytest.mark.parametrize(("erlangs", "share"), [(10, 0.0), (10, 1.0), (1e9, 0.01)])
def test_what_cannot_be_is_said(erlangs: float, share: float) -> None:
    with pytest.raises(ValueError, match=r"share of calls|need more than"):
        lines_for(erlangs, share)
