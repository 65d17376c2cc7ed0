"""Serves the workers' /metrics: their own metrics, and the shared gauges.

Runs in the background of each worker process; the first process to bind the port serves all of them.
"""

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from time import monotonic
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import dramatiq
from flask import Flask
from prometheus_client import Metric, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from app.feed.maintenance import counts, verify_results
from app.observability import metrics, service
from app.posts.outbox import OUTBOX as POSTS_OUTBOX
from app.redis.client import used_bytes
from app.settings import settings
from app.users.outbox import OUTBOX as USERS_OUTBOX
from workers.queues import depths

DEADLINE_SECONDS = 3.0
TRY_PORT_SECONDS = 2.0
SILENCE_SECONDS = 5.0  # timeout of idle clients
MAX_CONNECTIONS = 16
COUNT_SECONDS = 10.0  # how often a worker checks whether a recount is due

log = logging.getLogger(__name__)


def run_scrape(app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    """Serve /metrics until `stopping` is set. Raises OSError if the address cannot be used."""
    with app.app_context():
        host, port = settings().metrics_host, settings().metrics_port
    if not port:
        stopping.wait()
    said = False
    while not stopping.is_set():
        try:
            server = listen(host, port, service.registry(SharedGaugeCollector(app, broker)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if not said:
                log.info("port %d is in use; unless a sibling worker has it, metrics are not exposed", port)
            said = True
            stopping.wait(TRY_PORT_SECONDS)
            continue
        with server:
            thread = threading.Thread(target=server.serve_forever, name="metrics server", daemon=True)
            thread.start()
            stopping.wait()
            server.shutdown()
            thread.join()


def listen(host: str, port: int, registry: Collector) -> "MetricsServer":
    """Create a server of /metrics that is not running yet. Raises OSError if the address cannot be used."""

    class Server(MetricsServer):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    return make_server(host, port, make_wsgi_app(registry), Server, _Handler)


class MetricsServer(ThreadingWSGIServer):
    """Serves each connection in a thread, at most MAX_CONNECTIONS. Further ones are closed."""

    def __init__(self, *args: Any) -> None:
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a metrics connection failed", exc_info=True)


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, as scrapes are frequent."""


def run_counting(app: Flask, _: dramatiq.Broker, stopping: threading.Event) -> None:
    """Count the feeds whenever a count is due, until `stopping` is set."""
    while not stopping.is_set():
        with app.app_context():
            counts.count_feeds()
        stopping.wait(COUNT_SECONDS)


class SharedGaugeCollector(Collector):
    """Collects the gauges shared by all processes at each scrape.

    A source that does not reply in time is omitted and reported in `lenta_scrape_errors`. A hanging look-up is reused,
    not started again.
    """

    def __init__(self, app: Flask, broker: dramatiq.Broker) -> None:
        sources: dict[str, Source] = {"outbox": _outbox, "redis": _redis, "queues": lambda: _queues(broker)}
        self._lookups = [BackgroundLookup(app, name, source) for name, source in sources.items()]

    def describe(self) -> Iterable[Metric]:
        return []  # registering must not query the sources

    def collect(self) -> Iterator[Metric]:
        deadline = monotonic() + DEADLINE_SECONDS
        answers = {lookup.name: lookup.ask() for lookup in self._lookups}
        errors = service.errors()
        for name, answer in answers.items():
            try:
                yield from answer.result(max(0.0, deadline - monotonic()))
                errors[(name,)] = 0.0
            except Exception as error:
                log.warning("cannot collect metrics of %s: %r", name, error)
                errors[(name,)] = 1.0
        yield metrics.SCRAPE_ERRORS.family(errors)


Source = Callable[[], Iterable[Metric]]


class BackgroundLookup:
    """Queries one source in a thread."""

    def __init__(self, app: Flask, name: str, source: Source) -> None:
        self.name = name
        self._app, self._source = app, source
        self._lock = threading.Lock()
        self._answer: Future[list[Metric]] | None = None

    def ask(self) -> Future[list[Metric]]:
        """Return the pending result, starting a query if there is none."""
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
                found = list(self._source())
        except Exception as error:
            answer.set_exception(error)
        else:
            answer.set_result(found)


def _outbox() -> Iterator[Metric]:
    both = POSTS_OUTBOX, USERS_OUTBOX
    yield metrics.OUTBOX_ROWS.family({(): sum(outbox.size() for outbox in both)})
    yield metrics.OUTBOX_OLDEST.family({(): max(outbox.oldest_age() or 0.0 for outbox in both)})


def _redis() -> Iterator[Metric]:
    yield metrics.REDIS_USED.family({(): used_bytes()})
    if count := counts.last_count():
        yield metrics.FEEDS_CACHED.family({(): count.feeds})
        yield metrics.FEED_BYTES.family({(): count.feed_bytes})
    if verdict := verify_results.last():
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
