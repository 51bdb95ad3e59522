"""What the samples of a soak say: pure functions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.stats import median
from bench.trend import after, change, slope_per_hour

WARM_UP = 600.0
"""Seconds, or a sixth of the whole when that is less: caches and pools fill."""
MEMORY_MB_PER_HOUR = 1.0
COUNT_PER_HOUR = 5.0
"""Descriptors and tasks: what comes and goes with calls."""
SLOWER = 0.1
NOISE_MS = 1.0
"""Latencies that differ by less are the same."""

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Sample:
    """at: seconds since the load began. Latencies in ms: INVITE to 200 of the IVR calls, an agent's INVITE to his ACK,
    audio from end to end."""

    at: float
    pss_kb: dict[str, int]
    own_kb: dict[str, int]
    """Anonymous memory: what grows in it is ours. PSS also moves with whoever else maps the same libraries."""
    descriptors: dict[str, int]
    tasks: int
    """Of control's loop; -1: no report since the sample before."""
    setup_p50: float
    setup_p99: float
    agent_p50: float
    audio_p99: float
    calls: int

    def __str__(self) -> str:
        memory, files = sum(self.pss_kb.values()) / 1024, sum(self.descriptors.values())
        return (
            f"{self.at / 60:.0f} min: {self.calls} calls, {memory:.1f} MB, {files} descriptors, {self.tasks} tasks, "
            f"setup {self.setup_p50:.1f}/{self.setup_p99:.1f} ms, audio p99 {self.audio_p99:.1f} ms"
        )


def newest(events: Iterable[object], kind: type[E]) -> E | None:
    found = None
    for event in events:
        if isinstance(event, kind):
            found = event
    return found


def judge(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    """Slopes an hour after the warm-up; latencies of the first span after it against those of the last. seconds: of the
    whole soak. `steady`: all within their limits."""
    span = min(WARM_UP, seconds / 6)
    times = [sample.at for sample in samples]
    memory = {who: _slope(times, [s.own_kb.get(who, 0) / 1024 for s in samples], span) for who in _names(samples)}
    shared = _slope(times, [sum(s.pss_kb.values()) / 1024 for s in samples], span)
    files = {who: _slope(times, [s.descriptors.get(who, 0) for s in samples], span) for who in _names(samples)}
    counted = [(sample.at, sample.tasks) for sample in samples if sample.tasks >= 0]
    tasks = _slope([at for at, _ in counted], [count for _, count in counted], span)
    latencies = {
        name: _latency(samples, name, span, seconds) for name in ("setup_p50", "setup_p99", "agent_p50", "audio_p99")
    }
    grows = sum(memory.values())
    steady = (
        grows < MEMORY_MB_PER_HOUR
        and len(counted) > 1
        and max(map(abs, [tasks, *files.values()])) < COUNT_PER_HOUR
        and all(entry["within"] for entry in latencies.values())
    )
    return {
        "steady": steady,
        "warm_up_seconds": span,
        "memory_mb_per_hour": round(grows, 3),
        "memory_mb_per_hour_by_process": memory,
        "pss_mb_per_hour": shared,
        "descriptors_per_hour": files,
        "tasks_per_hour": tasks,
        "latency_ms": latencies,
        "samples": len(samples),
        "last": str(samples[-1]) if samples else "",
    }


def _names(samples: Sequence[Sample]) -> list[str]:
    return sorted({who for sample in samples for who in sample.own_kb})


def _slope(times: Sequence[float], values: Sequence[float], since: float) -> float:
    return round(slope_per_hour(*after(times, values, since)), 3)


def _latency(samples: Sequence[Sample], name: str, span: float, seconds: float) -> dict[str, Any]:
    """Medians over the samples of each span; None, and not within, when a span has none."""
    known = [(s.at, value) for s in samples if not math.isnan(value := getattr(s, name))]
    first = [value for at, value in known if span <= at < 2 * span]
    last = [value for at, value in known if at >= seconds - span]
    if not first or not last:
        return {"first": None, "last": None, "change": None, "within": False}
    before, now = median(first), median(last)
    return {
        "first": round(before, 3),
        "last": round(now, 3),
        "change": round(change(before, now), 3),
        "within": now - before <= max(SLOWER * before, NOISE_MS),
    }
