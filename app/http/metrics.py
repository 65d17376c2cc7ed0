"""Measures every request below Flask, and serves /metrics."""

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from flask import Blueprint, Flask, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from app.auth.tokens import public
from app.observability import metrics, service

NO_ROUTE = "none"

blueprint = Blueprint("metrics", __name__)


class RequestMetrics:
    """WSGI middleware that records every request."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        started = perf_counter()

        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            rule = environ["werkzeug.request"].url_rule  # Flask removes it after the request
            route = rule.rule if rule else NO_ROUTE
            metrics.request_buffer.append((environ["REQUEST_METHOD"], route, status, perf_counter() - started))
            return start_response(status, headers, error)

        return self._app(environ, start)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.wsgi_app = RequestMetrics(app.wsgi_app)  # type: ignore[method-assign]


@blueprint.get("/metrics")
@public
def scrape() -> Response:
    page = generate_latest(service.registry(service.SnapshotErrors()))
    return Response(page, content_type=CONTENT_TYPE_PLAIN_0_0_4)
