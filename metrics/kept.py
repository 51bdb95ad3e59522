"""The folded numbers as bytes and back, for a snapshot of them."""

import msgspec

from metrics.fold import Fold
from metrics.names import ALL
from metrics.tally import Histogram

_BY_NAME = {metric.name: metric for metric in ALL}


class _Series(msgspec.Struct):
    """Of one metric, as it was defined then."""

    name: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...]
    values: dict[tuple[str, ...], int | float]
    histograms: dict[tuple[str, ...], tuple[list[int], int | float]]


class _Kept(msgspec.Struct):
    series: list[_Series]
    last: dict[tuple[str, str], int | float]


def dump(fold: Fold) -> bytes:
    """Raises ValueError for a number beyond 64 bits."""
    values, histograms = fold.tally.values, fold.tally.histograms
    series = [
        _Series(
            name=metric.name,
            labels=metric.labels,
            buckets=metric.buckets,
            values=values.get(metric, {}),
            histograms={labels: (one.counts, one.total) for labels, one in histograms.get(metric, {}).items()},
        )
        for metric in ALL
        if metric in values or metric in histograms
    ]
    try:
        return msgspec.msgpack.encode(_Kept(series, fold.last))
    except OverflowError as error:
        raise ValueError(str(error)) from error


def restore(data: bytes) -> Fold:
    """Equal to what was dumped, but for metrics that are gone or defined otherwise now: those begin anew.

    Raises ValueError for bytes that are none of ours."""
    try:
        kept = msgspec.msgpack.decode(data, type=_Kept)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    fold = Fold()
    fold.last = kept.last
    for series in kept.series:
        metric = _BY_NAME.get(series.name)
        if metric is None or (metric.labels, metric.buckets) != (series.labels, series.buckets):
            continue
        if series.values:
            fold.tally.values[metric] = series.values
        if series.histograms:
            fold.tally.histograms[metric] = {
                labels: _histogram(counts, total) for labels, (counts, total) in series.histograms.items()
            }
    return fold


def _histogram(counts: list[int], total: float) -> Histogram:
    histogram = Histogram(0)
    histogram.counts, histogram.total = counts, total
    return histogram
