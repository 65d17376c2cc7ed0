"""Writes log lines to a pipe without blocking on a stalled reader.

A blocking write would stop the process once the pipe is full. Lines that do not fit are dropped, and the next line that
fits reports their number.
"""

import fcntl
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from select import PIPE_BUF

PIPE_BYTES = 2**20  # Linux's maximum without privileges; seconds of a busy service


def open_pipe(descriptor: int) -> int | None:
    """Open the pipe behind a descriptor for non-blocking writes. None if it is not a pipe or cannot be opened."""
    with suppress(OSError):
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            # Opened again: O_NONBLOCK is shared by all processes that inherited the descriptor.
            pipe = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            return pipe
    return None


class Lines(logging.LogRecord):
    """Many records of one logger, to be written together."""

    def __init__(self, name: str, records: list[logging.LogRecord]) -> None:
        super().__init__(name, logging.INFO, __file__, 0, "", (), None)
        self.records = records


class PipeHandler(logging.Handler):
    """Writes lines to a pipe opened by `open_pipe`."""

    def __init__(self, pipe: int) -> None:
        super().__init__()
        self._pipe = pipe
        self._rest = b""  # of a partly written line
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for lines, number in self._pieces(record):
                if self._lost and self._send(self._line(self._loss())):
                    self._lost = 0
                if self._lost or not self._send(lines):
                    self._lost += number
        except Exception:
            self.handleError(record)

    def _pieces(self, record: logging.LogRecord) -> Iterator[tuple[bytes, int]]:
        """Yield the lines of a record with their number: as many as no other process can write into."""
        lines, number = b"", 0
        for line in map(self._line, record.records if isinstance(record, Lines) else [record]):
            if number and len(lines) + len(line) > PIPE_BUF:
                yield lines, number
                lines, number = b"", 0
            lines, number = lines + line, number + 1
        yield lines, number

    def _send(self, lines: bytes) -> bool:
        """Return whether the lines were written, or will be."""
        self._rest = self._rest[self._write(self._rest) :]
        taken = 0 if self._rest else self._write(lines)
        if taken:
            self._rest = lines[taken:]
        return taken > 0

    def _write(self, data: bytes) -> int:
        """Return the number of bytes written: 0 if the pipe is full or has no reader."""
        with suppress(BlockingIOError, BrokenPipeError):
            return os.write(self._pipe, data) if data else 0
        return 0

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode(errors="backslashreplace")

    def _loss(self) -> logging.LogRecord:
        message = "%d log lines were dropped: the reader stalled"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, (self._lost,), None)
        record.request_id = "-"
        return record
