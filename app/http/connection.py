"""A client's connection, with its phase and deadline."""

import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from gevent import get_hub
from gevent.monkey import get_original
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import ParseException

from app.http.error_page import json_error

WAITING, RECEIVING, HANDLING, SENDING, CLOSING = "waiting", "receiving", "handling", "sending", "closing"

# Seconds for a client to begin its first request, to send a request, and to receive a response.
FIRST_REQUEST_SECONDS = 10.0
RECEIVE_SECONDS = 30.0
SEND_SECONDS = 30.0

# A client that is still sending reads its response only afterwards, and a reset would destroy that response
# (RFC 9112, 9.6). So its data is read and discarded, within these bounds.
CLOSE_SECONDS = 30.0
CLOSE_IDLE_SECONDS = 5.0  # without a byte
DISCARD_BYTES = 2**20  # of a body, if the connection is kept alive
CLOSE_BYTES = 8 * 2**20  # before the connection is closed

_poll = get_original("select", "poll")  # never waits, so it need not be cooperative

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset and drop unsent data


class Connection:
    """A client's socket, with the methods that gunicorn's parser and response use."""

    __slots__ = (
        *("_bound_unsent", "_is_refused", "_make_room", "_socket", "_watcher"),
        *("deadline", "phase", "since", "unsent"),
    )

    def __init__(self, client: Any, bound_unsent: Callable[[], None], make_room: Callable[[], None]) -> None:
        self._socket, self._bound_unsent, self._make_room = client, bound_unsent, make_room
        self._is_refused = False
        self._watcher: Any = None
        self.unsent = 0  # bytes of a response not yet accepted by the kernel
        self.begin(WAITING, FIRST_REQUEST_SECONDS)

    def begin(self, phase: str, seconds: float) -> None:
        """Enter a phase that may last `seconds`."""
        self.phase, self.since = phase, monotonic()
        self.deadline = self.since + seconds
        if phase in (WAITING, CLOSING):
            self._make_room()

    def recv(self, size: int) -> bytes:
        if self.phase is HANDLING:  # the body of a request, under the deadline of its head
            self.phase = RECEIVING
            data: bytes = self._socket.recv(size)
            self.phase = HANDLING
            return data
        data = self._socket.recv(size)
        if self.phase is WAITING and data:
            self.begin(RECEIVING, RECEIVE_SECONDS)
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of `data` within SEND_SECONDS."""
        if self._is_refused:
            raise BrokenPipeError("an error response was sent already")
        before = self.phase, self.deadline
        self.begin(SENDING, SEND_SECONDS)
        self.unsent = len(data)
        sent = self._socket.send(data)
        if sent < len(data):
            self.unsent -= sent
            self._bound_unsent()
            self._socket.sendall(memoryview(data)[sent:])
        self.unsent = 0
        self.phase, self.deadline = before

    send = sendall

    def is_waiting_for_client(self) -> bool:
        """Return whether the client has to act next, and has not done so unnoticed."""
        if self.phase is HANDLING:
            return False
        return not self._is_ready(select.POLLOUT if self.phase is SENDING else select.POLLIN)

    def has_data(self) -> bool:
        """Return whether the client has sent something, or closed the connection."""
        return self._is_ready(select.POLLIN)

    def on_data(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the event loop, once `has_data` holds. It must not block."""
        if self._watcher is None:
            self._watcher = get_hub().loop.io(self._socket.fileno(), 1)  # 1: readable
        self._watcher.start(self._notify, callback)

    def _notify(self, callback: Callable[[], object]) -> None:
        self._watcher.stop()
        callback()

    def _is_ready(self, event: int) -> bool:
        poll = _poll()
        poll.register(self._socket, event)
        return bool(poll.poll(0))

    def discard(self, body: Any) -> bool:
        """Read the rest of a body that the application left unread.

        Returns False if it is too long or malformed: the connection cannot be kept alive then.
        """
        if type(body.reader) is LengthReader and not body.reader.length:
            return True
        try:
            return self._exhaust(body.read, DISCARD_BYTES)
        except ParseException:
            return False

    def refuse(self, status: int) -> None:
        """Send an error response, if the client accepts it immediately."""
        self._is_refused = True
        with suppress(OSError):
            self._socket.setblocking(False)
            self._socket.send(json_error(status))
        self._socket.setblocking(True)

    def linger(self) -> None:
        """Let the client finish sending, so that it reads the response before the close."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            self._exhaust(self._socket.recv, CLOSE_BYTES)

    def _exhaust(self, read: Callable[[int], bytes], limit: int) -> bool:
        """Read to the end, at most `limit` bytes. Returns whether the end was reached."""
        self.begin(CLOSING, CLOSE_IDLE_SECONDS)
        end = self.since + CLOSE_SECONDS
        while data := read(65536):
            self.deadline = min(end, monotonic() + CLOSE_IDLE_SECONDS)
            limit -= len(data)
            if limit < 0:
                return False
        return True

    def wake(self) -> None:
        """Wake the connection's greenlet as if the client had closed the connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """End the connection with a reset."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
        self._socket.close()
