"""Numbers under names and labels: what a fold adds to. Knows no Prometheus."""

from bisect import bisect_left

from metrics.names import Metric

MAX_SERIES = 500
"""Label sets of one metric; what comes later is counted under `other`."""
OTHER = "other"
Labels = tuple[str, ...]


class Histogram:
    """counts[i] observations at most buckets[i] (and above the one before); the last beyond all."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0


class Tally:
    """values: counters and gauges; histograms. Series appear with their first value."""

    def __init__(self) -> None:
        self.values: dict[Metric, dict[Labels, float]] = {}
        self.histograms: dict[Metric, dict[Labels, Histogram]] = {}

    def add(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Raise a counter. Nothing but `by` >= 0 keeps it one."""
        series = self.values.setdefault(metric, {})
        labels = _bounded(series, labels)
        series[labels] = series.get(labels, 0.0) + by

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        series = self.values.setdefault(metric, {})
        series[_bounded(series, labels)] = to

    def replace(self, metric: Metric, series: dict[Labels, float]) -> None:
        """All values of a gauge anew; labels not there are gone."""
        self.values[metric] = dict(list(series.items())[:MAX_SERIES])

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        series = self.histograms.setdefault(metric, {})
        labels = _bounded(series, labels)
        histogram = series.get(labels)
        if histogram is None:
            histogram = series[labels] = Histogram(len(metric.buckets))
        histogram.counts[bisect_left(metric.buckets, value)] += 1
        histogram.total += value


def _bounded(series: dict[Labels, float] | dict[Labels, Histogram], labels: Labels) -> Labels:
    if labels in series or len(series) < MAX_SERIES:
        return labels
    return (OTHER,) * len(labels)
