"""What the samples of a soak say: pure functions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.stats import median
from bench.trend import after, change, median_slope_per_hour, slope_per_hour

WARM_UP = 600.0
"""Seconds, or a sixth of the whole when that is less: caches and pools fill."""
MEMORY_MB_PER_HOUR = 1.0
COUNT_PER_HOUR = 5.0
"""Descriptors and tasks: what comes and goes with calls."""
SLOWER = 0.1
"""Of what was before, times what the machine itself became slower or faster by."""
NOISE_MS = 1.0
"""Latencies that differ by less are the same."""

E = TypeVar("E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Of a hotline's processes, by their names where it is a dictionary."""

    pss_kb: dict[str, int]
    own_kb: dict[str, int]
    """Anonymous memory: what grows in it is ours. PSS also moves with whoever else maps the same libraries."""
    cpu_seconds: dict[str, float]
    """Used since each process began."""
    descriptors: dict[str, int]
    tasks: int
    """Of control's loop, by its newest report since the last look; -1: none came."""
    reference_ms: float
    """CPU time of the same piece of work each time, on the hotline's core: what the machine is worth at the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Seen):
    """at: seconds since the load began. Latencies in ms: INVITE to 200 of the IVR calls, an agent's INVITE to his ACK,
    audio from end to end."""

    at: float
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
    """Slopes an hour after the warm-up, that of memory by the median slope of each process; latencies and CPU of the
    first span after it against those of the last. seconds: of the whole soak. `steady`: all within their limits."""
    span = min(WARM_UP, seconds / 6)
    times = [sample.at for sample in samples]
    own = {who: [s.own_kb.get(who, 0) / 1024 for s in samples] for who in _names(samples)}
    memory = {who: round(median_slope_per_hour(*after(times, own[who], span)), 3) for who in own}
    shared = _slope(times, [sum(s.pss_kb.values()) / 1024 for s in samples], span)
    files = {who: _slope(times, [s.descriptors.get(who, 0) for s in samples], span) for who in _names(samples)}
    counted = [(sample.at, sample.tasks) for sample in samples if sample.tasks >= 0]
    tasks = _slope([at for at, _ in counted], [count for _, count in counted], span)
    first, last = _medians(samples, "reference_ms", span, seconds)
    pace = last / first if first and last else 1.0
    latencies = {
        name: _latency(samples, name, span, seconds, pace)
        for name in ("setup_p50", "setup_p99", "agent_p50", "audio_p99")
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
        "memory_mb_per_hour_by_least_squares": {who: _slope(times, own[who], span) for who in own},
        "pss_mb_per_hour": shared,
        "descriptors_per_hour": files,
        "tasks_per_hour": tasks,
        "latency_ms": latencies,
        "machine_slower_by": round(pace - 1.0, 3),
        "cpu_percent": {who: _busy(samples, who, span, seconds) for who in sorted(samples[-1].cpu_seconds)}
        if samples
        else {},
        "samples": len(samples),
        "last": str(samples[-1]) if samples else "",
    }


def _names(samples: Sequence[Sample]) -> list[str]:
    return sorted({who for sample in samples for who in sample.own_kb})


def _slope(times: Sequence[float], values: Sequence[float], since: float) -> float:
    return round(slope_per_hour(*after(times, values, since)), 3)


def _busy(samples: Sequence[Sample], who: str, span: float, seconds: float) -> list[float | None]:
    """CPU of a core in the first and the last span, %; None when fewer than two samples are there."""
    return [_share(part, who) if len(part) > 1 else None for part in _spans(samples, span, seconds)]


def _share(part: Sequence[Sample], who: str) -> float:
    used = part[-1].cpu_seconds.get(who, 0.0) - part[0].cpu_seconds.get(who, 0.0)
    return round(100 * used / (part[-1].at - part[0].at), 1)


def _latency(samples: Sequence[Sample], name: str, span: float, seconds: float, pace: float) -> dict[str, Any]:
    """Medians over the samples of each span; None, and not within, when a span has none. pace: how much longer the
    machine takes for the same work in the last span."""
    before, now = _medians(samples, name, span, seconds)
    if before is None or now is None:
        return {"first": None, "last": None, "change": None, "within": False}
    expected = before * pace
    return {
        "first": round(before, 3),
        "last": round(now, 3),
        "change": round(change(before, now), 3),
        "within": now - expected <= max(SLOWER * expected, NOISE_MS),
    }


def _medians(samples: Sequence[Sample], name: str, span: float, seconds: float) -> tuple[float | None, float | None]:
    """In the first and the last span."""
    known = [sample for sample in samples if not math.isnan(getattr(sample, name))]
    first, last = ([getattr(sample, name) for sample in part] for part in _spans(known, span, seconds))
    return median(first) if first else None, median(last) if last else None


def _spans(samples: Sequence[Sample], span: float, seconds: float) -> tuple[list[Sample], list[Sample]]:
    """The first after the warm-up, and the last."""
    return [s for s in samples if span <= s.at < 2 * span], [s for s in samples if s.at >= seconds - span]
