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


def median_slope_per_hour(times: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes between any two points (Theil and Sen); 0.0 of fewer than two moments. times: seconds,
    each later than the one before.

    What keeps growing, by stairs too, has the same slope by this as by least squares. One step has none: Python takes
    memory from the system by the MB, and one such piece in the middle of an hour is 1.5 MB/h by least squares."""
    if len(times) < 2:
        return 0.0
    early, late = np.triu_indices(len(times), 1)
    at, value = np.asarray(times, float), np.asarray(values, float)
    return float(np.median((value[late] - value[early]) / (at[late] - at[early]))) * HOUR


def after(times: Sequence[float], values: Sequence[float], since: float) -> tuple[list[float], list[float]]:
    """The points from `since` on, the warm-up left out."""
    kept = [(at, value) for at, value in zip(times, values, strict=True) if at >= since]
    return [at for at, _ in kept], [value for _, value in kept]


def change(before: float, now: float) -> float:
    """As a share of what was before: 0.1 is a tenth more. 0.0 when there was nothing before."""
    return now / before - 1.0 if before else 0.0
