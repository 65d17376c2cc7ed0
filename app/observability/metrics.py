"""All metrics of Lenta; docs/metrics.md describes them.

Each process counts in memory; snapshots.py adds up the processes of a service. A SharedGauge is a value shared by all
processes; workers/metrics_server.py reads it at each scrape.
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Note = TypeVar("Note")

values.ValueClass = values.MutexValue  # in memory, even if PROMETHEUS_MULTIPROC_DIR is set
# Start times of several processes cannot be summed.
disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()

REQUEST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MESSAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0)
LAG_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)


class BatchHistogram(Histogram):
    """A histogram that observes many values at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        self._sum.inc(sum(amounts))
        for place, number in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[place].inc(number)


REQUESTS = Counter("lenta_http_requests", "Requests handled", ["method", "route", "status"], registry=REGISTRY)
REQUEST_SECONDS = BatchHistogram(
    "lenta_http_request_seconds",
    "Time from a request to its response, without the network",
    ["route"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)

FEED_READS = Counter("lenta_feed_reads", "Feed pages by source", ["source"], registry=REGISTRY)
DELIVERIES = Counter("lenta_deliveries", "Feeds that a post was pushed to or removed from", ["op"], registry=REGISTRY)
DELIVERY_LAG = Histogram(
    "lenta_delivery_lag_seconds",
    "Time from the transaction of a write until it is in all feeds of a batch",
    buckets=LAG_BUCKETS,
    registry=REGISTRY,
)
SWEPT_CHECKS = Counter(
    "lenta_swept_checks", "Checks of deliveries made for a worker that did not make them", ["op"], registry=REGISTRY
)
REBUILDS = Counter("lenta_rebuilds", "Feeds rebuilt from SQL", ["result"], registry=REGISTRY)

LIVE_CONNECTIONS = Gauge("lenta_live_connections", "Connections for live events", ["door"], registry=REGISTRY)
LIVE_EVENTS = Counter("lenta_live_events", "Live events by name, each once per process", ["event"], registry=REGISTRY)
LIVE_LAG = Histogram(
    "lenta_live_lag_seconds", "Time from an entry of the log to its event", buckets=LAG_BUCKETS, registry=REGISTRY
)
LIVE_RESETS = Counter("lenta_live_resets", "Clients that must read their page again", ["cause"], registry=REGISTRY)

MESSAGES = Counter("lenta_messages", "Messages handled by workers", ["actor", "result"], registry=REGISTRY)
MESSAGE_SECONDS = Histogram(
    "lenta_message_seconds", "Time to handle a message", ["actor"], buckets=MESSAGE_BUCKETS, registry=REGISTRY
)


class SharedGauge(NamedTuple):
    """A gauge whose value is shared by all processes."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def family(self, values: Mapping[Any, float]) -> Metric:
        """Build the metric from its values by label values. `()` if it has no labels."""
        family = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for labels, value in values.items():
            family.add_metric(labels, value)
        return family


OUTBOX_ROWS = SharedGauge("lenta_outbox_rows", "Events waiting for the broker")
OUTBOX_OLDEST = SharedGauge("lenta_outbox_oldest_seconds", "Age of the oldest waiting event; 0 if none waits")
QUEUE_MESSAGES = SharedGauge("lenta_queue_messages", "Messages in a queue: ready, delayed or dead", ("queue", "state"))
FEEDS_CACHED = SharedGauge("lenta_feeds_cached", "Feeds in Redis, counted once a minute")
FEED_BYTES = SharedGauge("lenta_feed_bytes", "Average size of a feed in Redis, from a sample")
REDIS_USED = SharedGauge("lenta_redis_used_bytes", "Memory used by Redis in total")
VERIFY_CHECKED = SharedGauge("lenta_verify_checked", "Feeds compared with SQL by the last verify-feeds")
VERIFY_DIVERGENT = SharedGauge("lenta_verify_divergent", "Feeds still divergent after the last verify-feeds")
VERIFY_REPAIRED = SharedGauge("lenta_verify_repaired", "Feeds repaired by the last verify-feeds")
VERIFY_COLD = SharedGauge("lenta_verify_cold", "Cold feeds found by the last verify-feeds")
VERIFY_FULL = SharedGauge("lenta_verify_full", "1 if the last verify-feeds compared all feeds, 0 if a sample")
VERIFY_TIME = SharedGauge("lenta_verify_timestamp_seconds", "End of the last verify-feeds, in seconds since 1970")
SCRAPE_ERRORS = SharedGauge("lenta_scrape_errors", "1 if metrics of this source are missing or stale", ("source",))
SHARED_GAUGES = tuple(value for value in list(globals().values()) if isinstance(value, SharedGauge))


# Buffered: a request only appends, and `flush` counts in bulk, which is cheaper.
BUFFER_SIZE = 100_000  # beyond it the oldest entries are lost
request_buffer: deque[tuple[str, str, str, float]] = deque(maxlen=BUFFER_SIZE)  # method, route, status line, seconds
feed_read_buffer: deque[str] = deque(maxlen=BUFFER_SIZE)  # source

METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
OTHER = "other"  # bounds label cardinality


def flush() -> None:
    """Count the buffered requests and reads."""
    for source, number in Tally(_drain(feed_read_buffer)).items():
        FEED_READS.labels(source).inc(number)
    seconds = defaultdict(list)
    for method, route, status, taken in _drain(request_buffer):
        seconds[method if method in METHODS else OTHER, route, status[:3]].append(taken)
    for (method, route, status), amounts in seconds.items():
        REQUESTS.labels(method, route, status).inc(len(amounts))
        REQUEST_SECONDS.labels(route).observe_all(amounts)


def _drain(notes: deque[Note]) -> Iterator[Note]:
    for _ in range(len(notes)):
        try:
            yield notes.popleft()
        except IndexError:  # another flush was faster
            return


class OwnMetrics(Collector):
    """Collects the metrics counted by this process."""

    def collect(self) -> Iterable[Metric]:
        flush()
        return REGISTRY.collect()
