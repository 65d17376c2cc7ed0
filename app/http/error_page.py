"""JSON error responses for requests that gunicorn rejects before they reach Flask."""

import json
import logging
from http import HTTPStatus
from secrets import token_hex

from app.errors import for_status
from app.http.headers import API_HEADERS

log = logging.getLogger(__name__)


def json_error(status: int) -> bytes:
    """Build a complete error response, head and body, and log it."""
    error = for_status(status)
    request_id = token_hex(8)
    shape = {"message": error.message, "code": error.code, "request_id": request_id}
    log.warning("malformed HTTP request, responded with %d", error.status, extra={"request_id": request_id})
    body = (json.dumps(shape, separators=(",", ":")) + "\n").encode()
    headers = [("Connection", "close"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    head = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    head += [f"{name}: {value}" for name, value in [*headers, ("X-Request-ID", request_id), *API_HEADERS]]
    return "\r\n".join([*head, "", ""]).encode() + body
