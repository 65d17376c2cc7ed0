"""Headers of every response: request id, security headers, CORS."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.datastructures import Headers

from app.errors import request_id

Header = tuple[str, str]

API_VERSION = "0.1.1"  # the version in openapi.yaml; docs/api.md says how it changes

# nosniff suffices for JSON. no-store: shared caches do not treat X-Auth like Authorization.
API_HEADERS: list[Header] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("X-API-Version", API_VERSION),
]
# HTML pages set their own Content-Security-Policy and Cache-Control.
HTML_HEADERS: list[Header] = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
HTML_PATHS = ("/docs", "/web/")

ALLOWED = "Authorization, Content-Type, X-Auth, X-Request-ID"
EXPOSED = "Link, Retry-After, X-API-Version, X-Feed-Source, X-Request-ID"
PREFLIGHT_SECONDS = "600"


class ResponseHeaders:
    """WSGI middleware that adds the headers below Flask, where that is cheapest.

    `allowed` are the origins whose pages may read responses, `*` for any.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], allowed: set[str]) -> None:
        self._app, self._allowed = app, allowed

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        more = HTML_HEADERS if path == "/" or path.startswith(HTML_PATHS) else API_HEADERS

        def start(status: str, headers: list[Header], error: Any = None) -> Any:
            if self._allowed:
                headers = _with_cors(headers, environ, self._allowed)
            return start_response(status, [*headers, ("X-Request-ID", request_id(environ)), *more], error)

        return self._app(environ, start)


def init_app(app: Flask, origins: str) -> None:
    """Add the headers. `origins` is comma-separated, `*` for any, "" for none."""
    allowed = {origin.strip() for origin in origins.split(",")} if origins else set()
    app.wsgi_app = ResponseHeaders(app.wsgi_app, allowed)  # type: ignore[method-assign]


def _with_cors(headers: list[Header], environ: dict[str, Any], allowed: set[str]) -> list[Header]:
    """Allow pages of these origins to read the response. Without credentials, as tokens are sent explicitly."""
    changed = Headers(headers)
    changed["Vary"] = ", ".join([*changed.getlist("Vary"), "Origin"])
    origin = environ.get("HTTP_ORIGIN", "")
    if origin and not allowed.isdisjoint(("*", origin)):
        changed["Access-Control-Allow-Origin"] = origin
        changed["Access-Control-Expose-Headers"] = EXPOSED
        if environ["REQUEST_METHOD"] == "OPTIONS":
            changed["Access-Control-Allow-Methods"] = changed.get("Allow", "")
            changed["Access-Control-Allow-Headers"] = ALLOWED
            changed["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
    return changed.to_wsgi_list()
