"""What every answer says: its request's id, and how browsers are to take it. And CORS: off unless origins are set."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, g, request

Header = tuple[str, str]

# JSON that no browser takes for anything else needs no more: each header costs a microsecond under gunicorn.
# Answers are somebody's own: X-Auth, unlike Authorization, does not keep a shared cache from storing them.
DATA: list[Header] = [("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
# Pages say for themselves what they may load, and what may be kept.
PAGES: list[Header] = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
DOCS = "/docs"

ALLOWED = "Content-Type, X-Auth, X-Request-ID"
EXPOSED = "Link, Retry-After, X-Feed-Source, X-Request-ID"
PREFLIGHT_SECONDS = "600"


class AnswerHeaders:
    """WSGI: below Flask, where it costs less than a microsecond."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        more = PAGES if environ["PATH_INFO"].startswith(DOCS) else DATA

        def start(status: str, headers: list[Header], error: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Request-ID", g.request_id), *more], error)

        return self._app(environ, start)


def init_app(app: Flask, origins: str) -> None:
    """`origins` with commas between, `*` for any, "" for none."""
    app.wsgi_app = AnswerHeaders(app.wsgi_app)  # type: ignore[method-assign]
    if origins:
        allowed = {origin.strip() for origin in origins.split(",")}
        app.after_request(lambda response: _allow(response, allowed))


def _allow(response: Response, allowed: set[str]) -> Response:
    """Let pages of these origins read the answer. Without credentials: a token is sent by hand."""
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
