"""Requests are counted and timed, below Flask, and /metrics shows what was counted.

A request adds to plain numbers, at less than 2 µs: prometheus_client takes as much for each of three values, since
it writes to a file that all processes share. The numbers go there once a second.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from flask import Blueprint, Flask, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from app import metrics
from app.auth import public
from app.operation import describe

FLUSH_SECONDS = 1.0
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
OTHER, NO_ROUTE = "other", "none"  # whatever clients may think of, it is one series

Key = tuple[str, str, str]  # method, route, status line

blueprint = Blueprint("metrics", __name__)


class Tally:
    """How long the requests of one kind took: the sum of seconds, and how many fell into each bucket."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.buckets = [0] * (len(metrics.REQUEST_BUCKETS) + 1)


class Tallies:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[Key, Tally] = {}

    def add(self, key: Key, seconds: float) -> None:
        with self._lock:
            tally = self._tallies.get(key)
            if tally is None:
                tally = self._tallies[key] = Tally()
            tally.seconds += seconds
            tally.buckets[bisect_left(metrics.REQUEST_BUCKETS, seconds)] += 1

    def flush(self) -> None:
        """Hand over to the metrics what has been added."""
        with self._lock:
            tallies, self._tallies = self._tallies, {}
        for (method, route, status), tally in tallies.items():
            method = method if method in METHODS else OTHER
            metrics.REQUESTS.labels(method, route, status[:3]).inc(sum(tally.buckets))
            metrics.REQUEST_SECONDS.labels(route).add(tally.buckets, tally.seconds)


requests = Tallies()  # of this process, as the metrics are


class Measured:
    """WSGI: every request that reaches Flask."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started = perf_counter()

        def start(status: str, *rest: Any) -> Any:
            rule = environ["werkzeug.request"].url_rule  # Flask takes it away when it is done
            key = (environ["REQUEST_METHOD"], NO_ROUTE if rule is None else rule.rule, status)
            requests.add(key, perf_counter() - started)
            return start_response(status, *rest)

        return self._app(environ, start)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.wsgi_app = Measured(app.wsgi_app)  # type: ignore[method-assign]


def keep_flushing() -> None:
    """For a process that is not the only one: hand over every second, so that another can be scraped for it."""
    threading.Thread(target=_flush_forever, name="metrics", daemon=True).start()


def _flush_forever() -> None:
    pause = threading.Event()
    while not pause.wait(FLUSH_SECONDS):
        requests.flush()


@blueprint.get("/metrics")
@public
@describe(
    name="metrics",
    summary="What the web processes have counted, for Prometheus",
    answer={"type": "string"},
    content_type="text/plain",
    example='lenta_feed_reads_total{source="cache"} 42.0\n',
)
def scrape() -> Response:
    requests.flush()
    return Response(generate_latest(metrics.registry()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
