"""The folded log as Prometheus' text format, over a registry of its own."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from events.fold import LiveState
from events.types import AgentState, Recorded
from metrics import kept
from metrics import names as n
from metrics.fold import Fold
from metrics.tally import Histogram, Tally

INCIDENT_KINDS = ("trunk_down", "trunk_target_down", "trunk_unregistered", "disk_low")
TAKE_CALLS = ("control", "media")
"""Beginnings of the names of processes that can drain."""
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Exporter(Collector):
    """feed() the log; render() gives what `GET /metrics` answers.

    live: a LiveState that is fed the same records by its owner, for what is so now.
    queues, agents: names of the configuration: a queue shows its 0 before its first call, and an agent of whom the log
    says nothing is logged out.
    """

    def __init__(self, live: LiveState, *, queues: Iterable[str] = (), agents: Iterable[str] = ()) -> None:
        self._live = live
        self._queues = tuple(queues)
        self._agents = frozenset(agents)
        self._fold = Fold()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def dump(self) -> bytes:
        """The counters as they are, for `restore`."""
        return kept.dump(self._fold)

    def restore(self, live: LiveState, data: bytes) -> None:
        """Go on from what `dump` gave. live: in place of the one so far. Raises ValueError."""
        self._fold = kept.restore(data)
        self._live = live

    def feed(self, records: Iterable[Recorded]) -> None:
        for record in records:
            self._fold.feed(record)

    def render(self, now: float, waiting_bytes: int | None = None) -> bytes:
        """now: UTC seconds, for the age of the longest waiting call. waiting_bytes: what control says of a disk that
        takes no events, the one thing that the log can't tell; None: it does not answer."""
        waiting: dict[tuple[str, ...], float] = {} if waiting_bytes is None else {(): float(waiting_bytes)}
        self._fold.tally.replace(n.JOURNAL_WAITING, waiting)
        gauges(self._fold.tally, self._live, now)
        silent = len(self._agents - {str(name) for name in self._live.agents})
        self._fold.tally.values[n.AGENTS][AgentState.LOGGED_OUT.value,] += silent
        for metric in (n.QUEUE_CALLS, n.QUEUE_OLDEST):
            for queue in self._queues:
                self._fold.tally.values[metric].setdefault((queue,), 0.0)
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        """Every metric that there is, those without a value too (name and help only)."""
        for metric in n.ALL:
            yield family(metric, self._fold.tally)

    def describe(self) -> list[Family]:
        return []


def gauges(tally: Tally, live: LiveState, now: float) -> None:
    """Bring what is so now into the tally."""
    tally.replace(n.CALLS, {(state.value,): float(count) for state, count in live.calls_by_state().items()})
    tally.replace(n.AGENTS, {(state.value,): float(count) for state, count in live.agents_by_state().items()})
    tally.replace(n.QUEUE_CALLS, {(name,): float(len(queue.waiting)) for name, queue in live.queues.items()})
    tally.replace(n.QUEUE_OLDEST, {(name,): queue.longest_wait(now) for name, queue in live.queues.items()})
    tally.replace(n.PROCESS_RUNNING, {(name,): float(process.up) for name, process in live.processes.items()})
    drains = live.drains()
    running = {name for name, process in live.processes.items() if process.up and name.startswith(TAKE_CALLS)}
    tally.replace(n.DRAINING, {(name,): float(name in drains) for name in {"control", *running}})
    tally.set(n.PHONES, to=len(live.phones))
    _trunks(tally, live)


def _trunks(tally: Tally, live: LiveState) -> None:
    trunks = live.trunks.items()
    tally.replace(n.TRUNK_UP, {(name,): float(trunk.down_since is None) for name, trunk in trunks})
    targets = [(name, target, target not in trunk.targets_down) for name, trunk in trunks for target in trunk.targets]
    tally.replace(n.TRUNK_TARGET_UP, {(name, target): float(up) for name, target, up in targets})
    tally.replace(n.TRUNK_REGISTERED, {(name,): float(trunk.registered) for name, trunk in trunks if trunk.registers})
    calls: dict[tuple[str, ...], float] = {(name, way): 0.0 for name, _ in trunks for way in ("in", "out")}
    for name, used in live.trunk_calls().items():
        calls |= {(name, way): float(n) for way, n in (("in", used.incoming), ("out", used.outgoing)) if n}
    tally.replace(n.TRUNK_CALLS, calls)
    kinds = Counter(kind for kind, _ in live.open_incidents)
    tally.replace(n.INCIDENTS_OPEN, {(kind,): float(kinds[kind]) for kind in INCIDENT_KINDS})


def family(metric: n.Metric, tally: Tally) -> Family:
    match metric.kind:
        case n.Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in tally.histograms.get(metric, {}).items():
                histogram.add_metric(labels, cumulative(metric.buckets, value), value.total)
            return histogram
        case n.Kind.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, number in tally.values.get(metric, {}).items():
                counter.add_metric(labels, number)
            return counter
        case n.Kind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, number in tally.values.get(metric, {}).items():
                gauge.add_metric(labels, number)
            return gauge


def cumulative(buckets: tuple[float, ...], histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus' buckets: observations at or below each bound, +Inf last."""
    bounds = ["+Inf" if math.isinf(bound) else repr(bound) for bound in (*buckets, math.inf)]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
