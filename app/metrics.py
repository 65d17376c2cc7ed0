"""Every metric of Lenta. docs/metrics.md tells what each means, by the name that Prometheus sees.

What a process counts is a Counter or a Histogram. Several processes count into one folder (metrics_folder.py), and
whichever is scraped answers for all. What all share, and workers/scrape.py looks up when it is asked, is a State.
"""

import os
from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

Note = TypeVar("Note")

REGISTRY = CollectorRegistry()

REQUEST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MESSAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0)
LAG_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)


class Tallied(Histogram):
    """A histogram that takes in many observations at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        self._sum.inc(sum(amounts))
        for place, number in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[place].inc(number)


REQUESTS = Counter("lenta_http_requests", "Requests answered", ["method", "route", "status"], registry=REGISTRY)
REQUEST_SECONDS = Tallied(
    "lenta_http_request_seconds",
    "From a request to its answer, without the time on the network",
    ["route"],
    buckets=REQUEST_BUCKETS,
    registry=REGISTRY,
)

FEED_READS = Counter("lenta_feed_reads", "Pages of feeds, by where they came from", ["source"], registry=REGISTRY)
DELIVERIES = Counter("lenta_deliveries", "Feeds that a post was put into or taken out of", ["op"], registry=REGISTRY)
DELIVERY_LAG = Histogram(
    "lenta_delivery_lag_seconds",
    "From the transaction of a write to when it was in all feeds of a batch",
    buckets=LAG_BUCKETS,
    registry=REGISTRY,
)
REBUILDS = Counter("lenta_rebuilds", "Feeds made anew from SQL", ["result"], registry=REGISTRY)

MESSAGES = Counter("lenta_messages", "Messages that workers handled", ["actor", "result"], registry=REGISTRY)
MESSAGE_SECONDS = Histogram(
    "lenta_message_seconds", "Handling of one message", ["actor"], buckets=MESSAGE_BUCKETS, registry=REGISTRY
)


class State(NamedTuple):
    """A gauge of what all processes share."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def family(self, values: Mapping[Any, float]) -> Metric:
        """What it is now, by the values of its labels: `()` where it has none."""
        family = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for labels, value in values.items():
            family.add_metric(labels, value)
        return family


OUTBOX_ROWS = State("lenta_outbox_rows", "Events that wait for the broker")
OUTBOX_OLDEST = State("lenta_outbox_oldest_seconds", "For how long the oldest event has waited; 0 if none waits")
QUEUE_MESSAGES = State("lenta_queue_messages", "Messages in a queue: ready, delayed or dead", ("queue", "state"))
FEEDS_CACHED = State("lenta_feeds_cached", "Feeds that have a list in Redis, counted once a minute")
FEED_BYTES = State("lenta_feed_bytes", "What a feed takes in Redis, on the average of a sample")
REDIS_USED = State("lenta_redis_used_bytes", "Memory that Redis uses, for whatever")
VERIFY_CHECKED = State("lenta_verify_checked", "Feeds that the last verify-feeds compared with SQL")
VERIFY_DIVERGENT = State("lenta_verify_divergent", "Feeds that it left divergent")
VERIFY_REPAIRED = State("lenta_verify_repaired", "Feeds that it found divergent and repaired")
VERIFY_COLD = State("lenta_verify_cold", "Feeds that it found cold")
VERIFY_FULL = State("lenta_verify_full", "1 if it compared everybody's feed, 0 if a sample")
VERIFY_TIME = State("lenta_verify_timestamp_seconds", "When it ended, in seconds since 1970")
SCRAPE_ERRORS = State("lenta_scrape_errors", "1 where what is shared could not be looked up just now", ("source",))
STATES = tuple(value for value in list(globals().values()) if isinstance(value, State))


# What one request adds: it only leaves a note here, and `flush` counts. Counting at once took 9 µs of reading a feed,
# all the while that its code and data were out of the processor's caches; this takes 4, the flush included.
NOTED = 100_000  # at most, where nobody flushes: then the oldest are lost
requests_noted: deque[tuple[str, str, str, float]] = deque(maxlen=NOTED)  # method, route, status line, seconds
feed_reads_noted: deque[str] = deque(maxlen=NOTED)  # source

METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
OTHER = "other"  # whatever clients may think of, it is one series


def flush() -> None:
    """Count what was noted: when this process is scraped, and every second, so that another can be for it."""
    for source, number in Tally(_taken(feed_reads_noted)).items():
        FEED_READS.labels(source).inc(number)
    seconds = defaultdict(list)
    for method, route, status, taken in _taken(requests_noted):
        seconds[method if method in METHODS else OTHER, route, status[:3]].append(taken)
    for (method, route, status), amounts in seconds.items():
        REQUESTS.labels(method, route, status).inc(len(amounts))
        REQUEST_SECONDS.labels(route).observe_all(amounts)


def _taken(notes: deque[Note]) -> Iterator[Note]:
    for _ in range(len(notes)):
        try:
            yield notes.popleft()
        except IndexError:  # another flush was quicker
            return


class Counted(Collector):
    """What has been counted by all processes of this service, or by this one where it is alone."""

    def collect(self) -> Iterable[Metric]:
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return MultiProcessCollector(None).collect()  # type: ignore[no-untyped-call, no-any-return]
        return REGISTRY.collect()


def registry(*more: Collector) -> CollectorRegistry:
    """What to show to who scrapes."""
    whole = CollectorRegistry()
    for collector in (Counted(), *more):
        whole.register(collector)
    return whole
