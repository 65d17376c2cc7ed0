"""The error tree and its one JSON renderer.

    LentaError ─┬─ InvalidInput (400)        ├─ AddressTooLong (414)
                ├─ Unauthorized (401)        ├─ UnsupportedMediaType (415)
                │   └─ WrongCredentials      ├─ ExpectationFailed (417)
                ├─ Forbidden (403)           ├─ UpgradeRequired (426)
                │   ├─ Blocked               ├─ TooManyRequests (429, Retry-After)
                │   └─ AccountSuspended      ├─ HeadersTooLarge (431)
                ├─ NotFound (404)            ├─ InternalError (500)
                ├─ MethodNotAllowed (405)    ├─ TransferCodingUnsupported (501)
                ├─ RequestTimeout (408)      └─ Unavailable (503, Retry-After)
                ├─ UsernameTaken (409)
                └─ PayloadTooLarge (413)

Every error response except that of /health/ready has the shape `{"message", "code", "request_id"}`; at 400 it may have
`errors`, by field. `code` is stable: clients may branch on it.
"""

import logging
import os
import re
from typing import Any

from flask import Flask, Response, g, jsonify, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from app.db.engine import is_unavailable

log = logging.getLogger(__name__)

_REQUEST_ID = "lenta.request_id"  # in the environ
_is_request_id = re.compile(r"[\w.:-]{1,64}", re.ASCII).fullmatch


class LentaError(Exception):
    """Base of all errors that clients see. A subclass fixes status, code and the default message."""

    status = 500
    code = 1000
    message = "Internal error. Quote the request id when reporting it."

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
    status, code, message = 401, 1002, "X-Auth, or Authorization: Bearer, must carry a valid token: log in to get one."


class WrongCredentials(Unauthorized):
    code, message = 1003, "No user has this id or username, and this password."


class Forbidden(LentaError):
    status, code, message = 403, 1004, "This post belongs to another user."


class Blocked(Forbidden):
    code, message = 1017, "One of the two users has blocked the other."


class AccountSuspended(Forbidden):
    code, message = 1020, "The account is suspended."


class NotFound(LentaError):
    status, code, message = 404, 1005, "Not found."


class MethodNotAllowed(LentaError):
    status, code, message = 405, 1006, "Method not allowed."


class RequestTimeout(LentaError):
    status, code, message = 408, 1014, "The request did not arrive in time."


class UsernameTaken(LentaError):
    status, code, message = 409, 1018, "Another user has this username."


class PayloadTooLarge(LentaError):
    status, code, message = 413, 1007, "The request body is too large."


class AddressTooLong(LentaError):
    status, code, message = 414, 1012, "The address is too long."


class UnsupportedMediaType(LentaError):
    status, code, message = 415, 1008, "The body must be JSON, with Content-Type: application/json."


class ExpectationFailed(LentaError):
    status, code, message = 417, 1015, "The header Expect may only be 100-continue."


class UpgradeRequired(LentaError):
    status, code, message = 426, 1019, "A WebSocket is here: ask for an upgrade (RFC 6455, version 13)."


class TooManyRequests(LentaError):
    status, code, message = 429, 1009, "Too many requests. Try again later."
    retry_after = 60


class HeadersTooLarge(LentaError):
    status, code, message = 431, 1013, "A header is too large."


class TransferCodingUnsupported(LentaError):
    status, code, message = 501, 1016, "The header Transfer-Encoding may only be chunked."


class Unavailable(LentaError):
    status, code, message = 503, 1010, "The database is temporarily unavailable. Try again."
    retry_after = 2


BY_STATUS: dict[int, type[LentaError]] = {
    error.status: error
    for error in (
        InvalidInput,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        RequestTimeout,
        UsernameTaken,
        PayloadTooLarge,
        AddressTooLong,
        UnsupportedMediaType,
        ExpectationFailed,
        UpgradeRequired,
        TooManyRequests,
        HeadersTooLarge,
        TransferCodingUnsupported,
    )
}


def for_status(status: int) -> type[LentaError]:
    """Return the error class for an HTTP status."""
    return BY_STATUS.get(status, InvalidInput if status < InternalError.status else InternalError)


def init_app(app: Flask) -> None:
    app.before_request(_assign_request_id)
    app.register_error_handler(LentaError, _render)
    app.register_error_handler(HTTPException, _render_http)
    app.register_error_handler(DBAPIError, _render_database)
    app.register_error_handler(PoolTimeout, _render_database)
    app.register_error_handler(Exception, _render_unexpected)


def request_id(environ: dict[str, Any]) -> str:
    """Return the id of a request: the client's, or else a new one."""
    known: str | None = environ.get(_REQUEST_ID)
    if known is None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        known = environ[_REQUEST_ID] = given if _is_request_id(given) else os.urandom(8).hex()
    return known


def _assign_request_id() -> None:
    g.request_id = request_id(request.environ)


def _render(error: LentaError) -> Response:
    body: dict[str, Any] = {"message": error.message, "code": error.code, "request_id": g.request_id}
    if error.errors:
        body["errors"] = error.errors
    response = jsonify(body)
    response.status_code = error.status
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status == UpgradeRequired.status:
        response.headers.update({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"})
    if error.status == Unauthorized.status:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2: a response of 401 must name a scheme
    return response


def _render_http(error: HTTPException) -> Response:
    """Render Flask's and Werkzeug's errors in our shape. Redirects pass unchanged."""
    if error.code is not None and error.code < 400:
        return error.get_response()  # type: ignore[return-value]
    response = _render(for_status(error.code or InternalError.status)())
    if error.code == MethodNotAllowed.status and error.get_response().headers.get("Allow"):
        response.headers["Allow"] = error.get_response().headers["Allow"]
    return response


def _render_database(error: DBAPIError | PoolTimeout) -> Response:
    if not is_unavailable(error):
        return _render_unexpected(error)
    log.warning("database unavailable, request %s: %s", g.request_id, error)
    return _render(Unavailable())


def _render_unexpected(error: Exception) -> Response:
    log.error("unexpected error, request %s", g.request_id, exc_info=error)
    return _render(InternalError())
