"""The error tree and its one JSON renderer.

    LentaError ─┬─ InvalidInput (400)        ├─ PayloadTooLarge (413)
                ├─ Unauthorized (401)        ├─ UnsupportedMediaType (415)
                │   └─ WrongCredentials      ├─ TooManyRequests (429, Retry-After)
                ├─ Forbidden (403)           ├─ Unavailable (503, Retry-After)
                ├─ NotFound (404)            └─ InternalError (500)
                ├─ MethodNotAllowed (405)    └─ HeadersTooLarge (431)
                └─ AddressTooLong (414)

Every answer that is not 200, but that of /health/ready, is `{"message", "code", "request_id"}`; at 400 there may be
`errors`, by field.
`code` is stable: a client may branch on it.
"""

import logging
import re
from secrets import token_hex
from typing import Any

from flask import Flask, Response, g, jsonify, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from app.db import is_away

log = logging.getLogger(__name__)


class LentaError(Exception):
    """Something to tell the client. A subclass fixes status, code and the default message."""

    status = 500
    code = 1000
    message = "Something went wrong on our side. Give the request id when you report it."

    retry_after: int | None = None  # seconds

    def __init__(
        self, message: str | None = None, errors: dict[str, Any] | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message or self.message)
        self.message = message or self.message
        self.errors = errors
        self.retry_after = retry_after or self.retry_after


class InternalError(LentaError):
    pass


class InvalidInput(LentaError):
    status, code, message = 400, 1001, "The input is not valid."


class Unauthorized(LentaError):
    status, code, message = 401, 1002, "The header X-Auth must carry a valid token: log in to get one."


class WrongCredentials(Unauthorized):
    code, message = 1003, "No user has this id and password."


class Forbidden(LentaError):
    status, code, message = 403, 1004, "This post is somebody else's."


class NotFound(LentaError):
    status, code, message = 404, 1005, "There is no such thing here."


class MethodNotAllowed(LentaError):
    status, code, message = 405, 1006, "This address does not take that method."


class PayloadTooLarge(LentaError):
    status, code, message = 413, 1007, "The request body is too large."


class AddressTooLong(LentaError):
    status, code, message = 414, 1012, "The address is too long."


class UnsupportedMediaType(LentaError):
    status, code, message = 415, 1008, "The body must be JSON, with Content-Type: application/json."


class TooManyRequests(LentaError):
    status, code, message = 429, 1009, "Too many requests: wait and try again."
    retry_after = 60


class HeadersTooLarge(LentaError):
    status, code, message = 431, 1013, "A header is too large."


class Unavailable(LentaError):
    status, code, message = 503, 1010, "The database does not answer just now: try again."
    retry_after = 2


BY_STATUS: dict[int, type[LentaError]] = {
    error.status: error
    for error in (
        InvalidInput,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        PayloadTooLarge,
        AddressTooLong,
        UnsupportedMediaType,
        TooManyRequests,
        HeadersTooLarge,
    )
}


def of_status(status: int) -> type[LentaError]:
    """The error that says what an HTTP status says."""
    return BY_STATUS.get(status, InvalidInput if status < InternalError.status else InternalError)


def init_app(app: Flask) -> None:
    app.before_request(_name_request)
    app.register_error_handler(LentaError, _render)
    app.register_error_handler(HTTPException, _render_http)
    app.register_error_handler(DBAPIError, _render_database)
    app.register_error_handler(PoolTimeout, _render_database)
    app.register_error_handler(Exception, _render_unknown)


def _name_request() -> None:
    """The answer carries it back: see headers.py."""
    given = request.environ.get("HTTP_X_REQUEST_ID")
    g.request_id = given if given and re.fullmatch(r"[\w.:-]{1,64}", given, re.ASCII) else token_hex(8)


def _render(error: LentaError) -> Response:
    body: dict[str, Any] = {"message": error.message, "code": error.code, "request_id": g.request_id}
    if error.errors:
        body["errors"] = error.errors
    response = jsonify(body)
    response.status_code = error.status
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _render_http(error: HTTPException) -> Response:
    """Flask's and Werkzeug's own errors, in our shape; a redirect stays what it is."""
    if error.code is not None and error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    response = _render(of_status(error.code or InternalError.status)())
    if error.code == MethodNotAllowed.status and error.get_response().headers.get("Allow"):
        response.headers["Allow"] = error.get_response().headers["Allow"]
    return response


def _render_database(error: DBAPIError | PoolTimeout) -> Response:
    if not is_away(error):
        return _render_unknown(error)
    log.warning("database away, request %s: %s", g.request_id, error)
    return _render(Unavailable())


def _render_unknown(error: Exception) -> Response:
    log.error("unexpected error, request %s", g.request_id, exc_info=error)
    return _render(InternalError())
