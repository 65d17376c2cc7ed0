"""The workers' /metrics: what they have counted, and the state of what all share.

It runs beside the workers (see beside.py). Of the processes of one `dramatiq` the first to take the
port answers for all.
"""

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from time import monotonic

import dramatiq
from flask import Flask
from prometheus_client import Metric, start_http_server
from prometheus_client.registry import Collector

from app import metrics
from app.feed import stats
from app.posts import outbox
from app.redis import used_bytes
from app.settings import settings
from workers.queues import depths

DEADLINE_SECONDS = 3.0
TRY_PORT_SECONDS = 2.0
COUNT_SECONDS = 10.0  # how often a worker looks whether the feeds are to be counted

log = logging.getLogger(__name__)


def run_scrape(app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    """Answer Prometheus until `stopping` is set. Raises OSError where the address cannot be used."""
    with app.app_context():
        host, port = settings().metrics_host, settings().metrics_port
    if not port:
        stopping.wait()
    said = False
    while not stopping.is_set():
        try:
            server, thread = start_http_server(port, host, metrics.registry(Shared(app, broker)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if not said:
                log.info("port %d is taken; if not by a process of this `dramatiq`, nobody shows metrics", port)
            said = True
            stopping.wait(TRY_PORT_SECONDS)
            continue
        stopping.wait()
        server.shutdown()
        server.server_close()
        thread.join()


def run_counting(app: Flask, _: dramatiq.Broker, stopping: threading.Event) -> None:
    """Have the feeds counted, by one worker of all, until `stopping` is set."""
    while not stopping.is_set():
        with app.app_context():
            stats.count_feeds()
        stopping.wait(COUNT_SECONDS)


class Shared(Collector):
    """Looks up at each scrape what all processes share.

    What does not answer in time is left out, and `lenta_scrape_errors` says so. A look-up that hangs is waited for,
    not repeated.
    """

    def __init__(self, app: Flask, broker: dramatiq.Broker) -> None:
        sources: dict[str, Source] = {"outbox": _outbox, "redis": _redis, "queues": lambda: _queues(broker)}
        self._lookups = [Lookup(app, name, source) for name, source in sources.items()]

    def describe(self) -> Iterable[Metric]:
        return []  # it is not looked up just to be registered

    def collect(self) -> Iterator[Metric]:
        deadline = monotonic() + DEADLINE_SECONDS
        answers = {lookup.name: lookup.ask() for lookup in self._lookups}
        errors = {}
        for name, answer in answers.items():
            try:
                yield from answer.result(max(0.0, deadline - monotonic()))
                errors[(name,)] = 0.0
            except Exception as error:
                log.warning("%s cannot be looked up for the metrics: %r", name, error)
                errors[(name,)] = 1.0
        yield metrics.SCRAPE_ERRORS.family(errors)


Source = Callable[[], Iterable[Metric]]


class Lookup:
    """Asks one source, in a thread."""

    def __init__(self, app: Flask, name: str, source: Source) -> None:
        self.name = name
        self._app, self._source = app, source
        self._lock = threading.Lock()
        self._answer: Future[list[Metric]] | None = None

    def ask(self) -> Future[list[Metric]]:
        """The answer to come: the one that is still waited for, if there is one."""
        with self._lock:
            if self._answer is None or self._answer.done():
                self._answer = Future()
                threading.Thread(
                    target=self._look_up, args=(self._answer,), name=f"scrape {self.name}", daemon=True
                ).start()
            return self._answer

    def _look_up(self, answer: Future[list[Metric]]) -> None:
        try:
            with self._app.app_context():
                answer.set_result(list(self._source()))
        except Exception as error:
            answer.set_exception(error)


def _outbox() -> Iterator[Metric]:
    yield metrics.OUTBOX_ROWS.family({(): outbox.size()})
    yield metrics.OUTBOX_OLDEST.family({(): outbox.oldest_age() or 0.0})


def _redis() -> Iterator[Metric]:
    yield metrics.REDIS_USED.family({(): used_bytes()})
    if count := stats.last_count():
        yield metrics.FEEDS_CACHED.family({(): count.feeds})
        yield metrics.FEED_BYTES.family({(): count.feed_bytes})
    if verdict := stats.verdict():
        yield metrics.VERIFY_CHECKED.family({(): verdict.checked})
        yield metrics.VERIFY_DIVERGENT.family({(): verdict.divergent})
        yield metrics.VERIFY_REPAIRED.family({(): verdict.repaired})
        yield metrics.VERIFY_COLD.family({(): verdict.cold})
        yield metrics.VERIFY_FULL.family({(): verdict.full})
        yield metrics.VERIFY_TIME.family({(): verdict.timestamp})


def _queues(broker: dramatiq.Broker) -> Iterator[Metric]:
    messages = {
        (queue, state): count for queue, depth in depths(broker).items() for state, count in depth._asdict().items()
    }
    yield metrics.QUEUE_MESSAGES.family(messages)
