"""Whether something that is measured again and again stays as it is."""

from collections.abc import Sequence

import numpy as np

HOUR = 3600.0


def slope_per_hour(times: Sequence[float], values: Sequence[float]) -> float:
    """Least squares through the points; 0.0 of fewer than two moments. times: seconds."""
    if len(set(times)) < 2:
        return 0.0
    at = np.asarray(times, float)
    about = at - at.mean()
    return float(about @ np.asarray(values, float) / (about @ about)) * HOUR


def after(times: Sequence[float], values: Sequence[float], since: float) -> tuple[list[float], list[float]]:
    """The points from `since` on, the warm-up left out."""
    kept = [(at, value) for at, value in zip(times, values, strict=True) if at >= since]
    return [at for at, _ in kept], [value for _, value in kept]


def change(before: float, now: float) -> float:
    """As a share of what was before: 0.1 is a tenth more. 0.0 when there was nothing before."""
    return now / before - 1.0 if before else 0.0
