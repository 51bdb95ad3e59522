"""Log lines that anybody can provoke."""

from engine.throttle import Throttle


def test_one_a_second_with_the_count_of_all() -> None:
    throttle = Throttle(1.0)
    assert [throttle.take(now) for now in (5.0, 5.1, 5.9, 6.0, 6.5, 9.0)] == [1, 0, 0, 3, 0, 2]
