"""What a soak's samples say."""

import math
from dataclasses import replace
from typing import Any

import pytest

from bench.soaked import Sample, judge, newest

HOUR = 3600.0
CALM = Sample(
    at=0.0, pss_kb={}, own_kb={"app.control": 90_000, "app.web": 60_000}, cpu_seconds={"app.control": 0.0},
    descriptors={"app.control": 40}, tasks=300, reference_ms=1.0,
    setup_p50=2.0, setup_p99=9.0, agent_p50=1.0, audio_p99=0.5, calls=0,
)  # fmt: skip


def hour(**growing: Any) -> list[Sample]:
    """A sample every 10 s; each field given is a function of seconds."""
    times = [float(n) for n in range(10, 3600, 10)]
    return [replace(CALM, at=at, **{name: of(at) for name, of in growing.items()}) for at in times]


def test_an_hour_in_which_nothing_changes_is_steady() -> None:
    found = judge(hour(), HOUR)
    assert found["steady"]
    assert found["memory_mb_per_hour"] == 0.0
    assert found["warm_up_seconds"] == 600.0


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("own_kb", lambda at: {"app.control": 90_000 + 2048 * at / 3600}),
        ("descriptors", lambda at: {"app.control": 40 + int(at / 360)}),
        ("tasks", lambda at: 300 + int(at / 360)),
        ("tasks", lambda at: 300 - int(at / 360)),
        ("setup_p50", lambda at: 20.0 + at / 600),
        ("setup_p99", lambda at: 20.0 + at / 600),
        ("agent_p50", lambda at: 20.0 + at / 600),
        ("audio_p99", lambda at: 20.0 + at / 600),
    ],
)
def test_each_kind_of_growth_is_seen(name: str, of: Any) -> None:
    assert not judge(hour(**{name: of}), HOUR)["steady"]


def test_a_sample_without_a_report_counts_no_tasks() -> None:
    assert judge(hour(tasks=lambda at: 300 if at % 20 else -1), HOUR)["tasks_per_hour"] == 0.0


def test_tasks_that_nobody_reported_are_not_steady() -> None:
    assert not judge(hour(tasks=lambda _: -1), HOUR)["steady"]


def test_the_cpu_of_the_first_and_the_last_minutes_is_told() -> None:
    found = judge(hour(cpu_seconds=lambda at: {"app.control": at * 0.4 + max(0.0, at - 3000) * 0.1}), HOUR)
    assert found["cpu_percent"] == {"app.control": [40.0, 50.0]}
    assert judge(hour()[:50], HOUR)["cpu_percent"] == {"app.control": [None, None]}


@pytest.mark.parametrize(("machine", "steady"), [(1.0, False), (1.3, True), (2.0, True)])
def test_latencies_are_held_against_what_the_machine_is_worth(machine: float, steady: bool) -> None:
    found = judge(
        hour(
            setup_p99=lambda at: 10.0 if at < 3000 else 13.0,
            reference_ms=lambda at: 1.5 if at < 3000 else 1.5 * machine,
        ),
        HOUR,
    )
    assert found["steady"] is steady
    assert found["machine_slower_by"] == round(machine - 1.0, 3)


def test_a_faster_machine_must_bring_faster_answers() -> None:
    assert not judge(hour(setup_p99=lambda _: 20.0, reference_ms=lambda at: 2.0 if at < 3000 else 1.0), HOUR)["steady"]


def test_growth_while_warming_up_is_none() -> None:
    def filling(at: float) -> dict[str, int]:
        return {"app.control": 50_000 + int(min(at, 590.0) * 100)}

    assert judge(hour(own_kb=filling), HOUR)["steady"]


def test_a_process_that_shrinks_makes_up_for_one_that_grows() -> None:
    """Memory is judged as a whole, and told for each."""

    def moving(at: float) -> dict[str, float]:
        return {"app.control": 90_000 + at, "app.web": 60_000 - at}

    found = judge(hour(own_kb=moving), HOUR)
    assert found["steady"]
    assert found["memory_mb_per_hour_by_process"]["app.control"] == pytest.approx(3.516, abs=0.01)


def test_faster_at_the_end_is_good() -> None:
    assert judge(hour(setup_p50=lambda at: 20.0 - at / 600), HOUR)["steady"]


def test_samples_without_a_latency_are_left_out() -> None:
    seldom = hour(agent_p50=lambda at: math.nan if at % 20 else 1.0)
    assert judge(seldom, HOUR)["latency_ms"]["agent_p50"] == {"first": 1.0, "last": 1.0, "change": 0.0, "within": True}


def test_a_latency_that_was_never_measured_is_not_good() -> None:
    found = judge(hour(agent_p50=lambda _: math.nan), HOUR)
    assert not found["steady"]
    assert found["latency_ms"]["agent_p50"]["first"] is None


def test_a_millisecond_is_noise() -> None:
    assert judge(hour(audio_p99=lambda at: 0.3 + at / 7200), HOUR)["steady"]


def test_a_short_soak_warms_up_for_a_sixth() -> None:
    samples = [replace(CALM, at=float(n)) for n in range(60)]
    assert judge(samples, 60.0)["warm_up_seconds"] == 10.0


def test_the_newest_of_a_kind() -> None:
    assert newest(["a", 1, "b", 2.0], str) == "b"
    assert newest([], str) is None
