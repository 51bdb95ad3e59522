"""When a process that dies is started again."""

from app.backoff import Backoff


def test_first_restart_is_immediate_then_later_and_later_up_to_30_s() -> None:
    """The delays of a process that dies at once every time."""
    backoff = Backoff()
    delays = [backoff.exited(up_for=0.1) for _ in range(9)]
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_stable_run_earns_an_immediate_restart() -> None:
    """A process that ran for a minute before it died is not the one that keeps dying."""
    backoff = Backoff()
    for _ in range(6):
        backoff.exited(up_for=0.1)
    assert backoff.exited(up_for=60.0) == 0.0
    assert backoff.exited(up_for=0.1) == 0.5
