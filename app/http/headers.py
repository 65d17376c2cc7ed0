"""Headers of every response: request id, security headers, CORS."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, g, request

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
    """WSGI middleware that adds the headers below Flask, where that is cheapest."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        more = HTML_HEADERS if path == "/" or path.startswith(HTML_PATHS) else API_HEADERS

        def start(status: str, headers: list[Header], error: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Request-ID", g.request_id), *more], error)

        return self._app(environ, start)


def init_app(app: Flask, origins: str) -> None:
    """Add the headers. `origins` is comma-separated, `*` for any, "" for none."""
    app.wsgi_app = ResponseHeaders(app.wsgi_app)  # type: ignore[method-assign]
    if origins:
        allowed = {origin.strip() for origin in origins.split(",")}
        app.after_request(lambda response: _add_cors_headers(response, allowed))


def _add_cors_headers(response: Response, allowed: set[str]) -> Response:
    """Allow pages of these origins to read the response. Without credentials, as tokens are sent explicitly."""
    response.vary.add("Origin")
    origin = request.headers.get("Origin", "")
    if origin and not allowed.isdisjoint(("*", origin)):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
            response.headers["Access-Control-Allow-Headers"] = ALLOWED
            response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
    return response
