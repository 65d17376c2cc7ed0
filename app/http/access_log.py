"""The access log: a line for each request, written for many requests at once.

A line through the logging module costs half as much as a page. So a request leaves an entry, and `flush` formats and
writes them together: in a batch of MAX_WAITING, or when the web server asks for it. A process that is killed loses the
lines of the last half second.
"""

import logging
from datetime import timedelta
from time import time
from typing import Any, NamedTuple

from gunicorn.glogging import Logger

from app.errors import request_id
from app.observability.output import Lines

NAME = "gunicorn.access"
MAX_WAITING = 64  # lines; formatting them takes a millisecond, for which other requests wait


class Entry(NamedTuple):
    """A request and its response. `ended` is in seconds since 1970, `taken` in seconds."""

    ended: float
    client: str
    request_line: str
    status: int
    size: int
    taken: float
    request_id: str


class AccessLogger(Logger):  # type: ignore[misc]
    """gunicorn's logger, with lines that wait to be written."""

    access_log: logging.Logger

    def __init__(self, cfg: Any) -> None:
        self._waiting: list[Entry] = []
        super().__init__(cfg)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Take a request that was responded to, unless the log level is above info."""
        if not self.access_log.isEnabledFor(logging.INFO):
            return
        client, line = environ.get("REMOTE_ADDR") or "-", f"{req.method} {req.uri} {environ['SERVER_PROTOCOL']}"
        status, taken = int(resp.status.split()[0]), request_time.total_seconds()
        self._waiting.append(Entry(time(), client, line, status, resp.sent, taken, request_id(environ)))
        if len(self._waiting) >= MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write the waiting lines."""
        if self._waiting:
            entries, self._waiting = self._waiting, []
            self.access_log.handle(Lines(NAME, [_record(entry) for entry in entries]))


def _record(entry: Entry) -> logging.LogRecord:
    client, request_line = (text.replace('"', '\\"') for text in (entry.client, entry.request_line))
    message = f'{client} "{request_line}" {entry.status} {entry.size} bytes {entry.taken * 1000:.0f} ms'
    record = logging.LogRecord(NAME, logging.INFO, __file__, 0, message, (), None)
    record.created, record.msecs = entry.ended, entry.ended % 1 * 1000
    record.request_id = entry.request_id
    return record
