"""No new call where there is no memory for one."""

from structlog.testing import capture_logs

from app.memory import Memory, resident_bytes

MB = 1 << 20


def test_a_process_that_has_grown_takes_calls_again_when_it_is_smaller() -> None:
    told: list[bool] = []
    memory = Memory(100 * MB, told.append)
    with capture_logs() as logs:
        for used in (50, 100, 101, 150, 99, 96, 94, 99):
            memory.look(used * MB)
    assert told == [True, False]
    assert [entry["log_level"] for entry in logs] == ["error", "info"]


def test_both_reasons_must_be_gone() -> None:
    told: list[bool] = []
    memory = Memory(100 * MB, told.append)
    memory.waits(True)
    memory.look(200 * MB)
    memory.waits(False)
    assert told[-1]
    memory.look(10 * MB)
    assert not told[-1]


def test_no_limit() -> None:
    told: list[bool] = []
    Memory(0, told.append).look(1 << 40)
    assert told == []


def test_this_process_takes_some() -> None:
    assert 5 * MB < resident_bytes() < 4000 * MB
