"""Numbers about many calls."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank, so always one of the values; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max of seconds, in ms; empty of none."""
    if not values:
        return {}
    points = {f"p{percent}": percentile(values, percent) for percent in (50, 95, 99)} | {"max": max(values)}
    return {name: round(value * 1000, 3) for name, value in points.items()}


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)
