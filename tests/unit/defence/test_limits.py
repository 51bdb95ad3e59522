from hypothesis import given
from hypothesis import strategies as st

from engine.defence.limits import Buckets, Rate


def test_burst_then_rate() -> None:
    buckets = Buckets(Rate(2.0, 3.0))
    assert [buckets.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert not buckets.take("a", 0.4)
    assert buckets.take("a", 0.5)
    assert not buckets.take("a", 0.9)
    assert buckets.take("a", 1.0)


def test_sources_do_not_share() -> None:
    buckets = Buckets(Rate(1.0, 1.0))
    assert buckets.take("a", 0.0)
    assert buckets.take("b", 0.0)
    assert not buckets.take("a", 0.5)


def test_table_is_bounded_and_forgets_the_first() -> None:
    buckets = Buckets(Rate(0.001, 1.0), limit=100)
    for n in range(10_000):
        assert buckets.take(n, 0.0)
    assert len(buckets) == 100
    assert not buckets.take(9_999, 1.0)
    assert buckets.take(0, 1.0)


@given(st.lists(st.floats(0.0, 2.0), max_size=200), st.floats(0.5, 50.0), st.floats(1.0, 20.0))
def test_never_more_than_burst_plus_rate(gaps: list[float], rate: float, burst: float) -> None:
    """In any span the takes are at most burst + rate x span."""
    buckets, now, taken = Buckets(Rate(rate, burst)), 0.0, 0
    for gap in gaps:
        now += gap
        taken += buckets.take("a", now)
        assert taken <= burst + rate * now + 1e-6
