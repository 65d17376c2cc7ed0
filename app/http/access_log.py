"""The access log: a line for each request, written for many requests at once.

A line through the logging module costs half as much as a page. So a request leaves an entry, and `flush` formats and
writes them together: in a batch of MAX_WAITING, or when the web server asks for it. A process that is killed loses the
lines of the last half second.
"""

import logging
from collections.abc import Mapping
from time import time
from typing import Any, NamedTuple

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


class Lines(logging.LogRecord):
    """A record that the formatters of `logging.py` turn into many lines."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__("gunicorn.access", logging.INFO, __file__, 0, "", (), None)
        self.records = records


class AccessLog:
    """The lines of this process that wait to be written. Takes none if the log level is above info."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("gunicorn.access")
        self._waiting: list[Entry] = []
        self.is_enabled = self._logger.isEnabledFor(logging.INFO)

    def add(self, environ: Mapping[str, Any], status: int, size: int, taken: float, request_id: str) -> None:
        """Take a request of `taken` seconds, whose response had a body of `size` bytes."""
        line = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {environ['SERVER_PROTOCOL']}"
        self._waiting.append(Entry(time(), environ.get("REMOTE_ADDR") or "-", line, status, size, taken, request_id))
        if len(self._waiting) >= MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write the waiting lines."""
        if self._waiting:
            entries, self._waiting = self._waiting, []
            self._logger.handle(Lines([_record(entry) for entry in entries]))


def _record(entry: Entry) -> logging.LogRecord:
    request_line = entry.request_line.replace('"', '\\"')
    message = f'{entry.client} "{request_line}" {entry.status} {entry.size} bytes {entry.taken * 1000:.0f} ms'
    record = logging.LogRecord("gunicorn.access", logging.INFO, __file__, 0, message, (), None)
    record.created, record.msecs = entry.ended, entry.ended % 1 * 1000
    record.request_id = entry.request_id
    return record
