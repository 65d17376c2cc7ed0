"""Requests are noted, below Flask, to be counted and timed; /metrics shows what has been counted."""

import threading
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from flask import Blueprint, Flask, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from app import metrics
from app.auth import public
from app.operation import describe

FLUSH_SECONDS = 1.0
NO_ROUTE = "none"

blueprint = Blueprint("metrics", __name__)


class Measured:
    """WSGI: every request that reaches Flask."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started = perf_counter()

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            rule = environ["werkzeug.request"].url_rule  # Flask takes it away when it is done
            route = rule.rule if rule else NO_ROUTE
            metrics.requests_noted.append((environ["REQUEST_METHOD"], route, status, perf_counter() - started))
            return start_response(status, headers, error)

        return self._app(environ, start)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.wsgi_app = Measured(app.wsgi_app)  # type: ignore[method-assign]


def keep_flushing() -> None:
    """For a process that is not the only one."""
    threading.Thread(target=_flush_forever, name="metrics", daemon=True).start()


def _flush_forever() -> None:
    pause = threading.Event()
    while not pause.wait(FLUSH_SECONDS):
        metrics.flush()


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
    metrics.flush()
    return Response(generate_latest(metrics.registry()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
