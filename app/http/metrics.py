"""Measures every request below Flask, and serves /metrics."""

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from flask import Blueprint, Flask, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from app.auth.tokens import public
from app.observability import metrics, service

NO_ROUTE = "none"
ROUTE = "lenta.route"  # in the environ, of a request that Flask does not see

blueprint = Blueprint("metrics", __name__)


class RequestMetrics:
    """WSGI middleware that records every request."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started = perf_counter()

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            taken = perf_counter() - started
            metrics.request_buffer.append((environ["REQUEST_METHOD"], _route(environ), status, taken))
            return start_response(status, headers, error)

        return self._app(environ, start)


def _route(environ: dict[str, Any]) -> str:
    if ROUTE in environ:
        return str(environ[ROUTE])
    rule = environ["werkzeug.request"].url_rule  # Flask removes it after the request
    return rule.rule if rule else NO_ROUTE


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.wsgi_app = RequestMetrics(app.wsgi_app)  # type: ignore[method-assign]


@blueprint.get("/metrics")
@public
def scrape() -> Response:
    page = generate_latest(service.registry(service.SnapshotErrors()))
    return Response(page, content_type=CONTENT_TYPE_PLAIN_0_0_4)
