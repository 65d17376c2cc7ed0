"""Serves warm pages of the feed below Flask's dispatch.

The dispatch takes more time than the page itself. Only what needs nothing but Redis is served here: the token was
verified and the query validated before, and Redis has the whole page. All else goes on to the view
`app.feed.routes.feed`, of whose functions this is made.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, g

from app.auth.tokens import known_user_id
from app.errors import request_id
from app.feed import schemas
from app.feed.read import read_warm_page
from app.feed.routes import respond
from app.http.headers import Header
from app.http.metrics import ROUTE
from app.http.request import known_query

PATH = "/post/feed"

log = logging.getLogger(__name__)


class WarmPages:
    """WSGI middleware that serves the warm pages of `app`."""

    def __init__(self, app: Flask) -> None:
        self._app, self._dispatch = app, app.wsgi_app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_page = environ["PATH_INFO"] == PATH and environ["REQUEST_METHOD"] == "GET" and "HTTP_UPGRADE" not in environ
        if is_page and (found := self._find(environ)):
            body, headers = found
            environ[ROUTE] = PATH
            start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
            return [body]
        return self._dispatch(environ, start_response)

    def _find(self, environ: dict[str, Any]) -> tuple[bytes, list[Header]] | None:
        with self._app.app_context():
            try:
                return _read(environ)
            except Exception:  # the view, which has the handlers of errors, meets it again
                log.warning("a warm page failed and is left to the view", exc_info=True)
                return None


def init_app(app: Flask) -> None:
    app.wsgi_app = WarmPages(app)  # type: ignore[method-assign]


def _read(environ: dict[str, Any]) -> tuple[bytes, list[Header]] | None:
    g.request_id = request_id(environ)
    user_id = known_user_id(environ)
    query = known_query(schemas.page_query, environ)
    if user_id is None or query is None or query["expand"]:
        return None
    page = read_warm_page(user_id, query["offset"], query["limit"], query["before"], query["after"])
    return respond(page, page.posts, query, environ["SCRIPT_NAME"] + PATH) if page else None
