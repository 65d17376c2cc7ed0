"""What gunicorn cannot read as HTTP never reaches Flask: its refusal, in the one error shape."""

import json
import logging
from http import HTTPStatus
from secrets import token_hex
from typing import Any

from gunicorn import util

from app.errors import of_status
from app.headers import DATA

log = logging.getLogger(__name__)

LONGEST_LINE = 8190  # the most that gunicorn takes: a search for two names of 100 characters, each of 12, has room


def refuse(connection: Any, status: int, *_: str) -> None:
    """In place of gunicorn.util.write_error, which writes a page of HTML."""
    error = of_status(status)
    request_id = token_hex(8)
    shape = {"message": error.message, "code": error.code, "request_id": request_id}
    log.warning("not readable as HTTP, answered %d", error.status, extra={"request_id": request_id})
    body = (json.dumps(shape, separators=(",", ":")) + "\n").encode()
    headers = [("Connection", "close"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    head = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
    head += [f"{name}: {value}" for name, value in [*headers, ("X-Request-ID", request_id), *DATA]]
    util.write_nonblock(connection, "\r\n".join([*head, "", ""]).encode() + body)
