"""Many clients of live events in one process."""

import resource
import selectors
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

SSE = "GET /post/feed/live HTTP/1.1\r\nHost: lenta\r\nX-Auth: {}\r\n\r\n"
WEBSOCKET = (
    "GET /post/feed/posted HTTP/1.1\r\nHost: lenta\r\nX-Auth: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
AT_ONCE = 100  # that connect
PATIENCE_SECONDS = 60


class Crowd:
    """One connection for each of `tokens`. A WebSocket of it answers no ping, so it lives for half a minute."""

    def __init__(self, url: str, tokens: Sequence[str], door: str = SSE) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        parts = urlsplit(url)
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytes] = {}
        for start in range(0, len(tokens), AT_ONCE):
            for token in tokens[start : start + AT_ONCE]:
                connection = socket.create_connection((parts.hostname or "", parts.port or 80))
                connection.sendall(door.format(token).encode())
                self._received[connection] = b""
                self._selector.register(connection, selectors.EVENT_READ)
            self.wait_for(b"\r\n\r\n", list(self._received)[start:])

    def wait_for(self, text: bytes, some: Sequence[socket.socket] | None = None) -> None:
        """Wait until all connections, or some, have received a text."""
        waiting = set(self._received if some is None else some)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while waiting:
            for key, _ in self._selector.select(1):
                connection: socket.socket = key.fileobj  # type: ignore[assignment]
                data = connection.recv(65536)
                assert data, "a live connection has ended"
                self._received[connection] += data
                if connection in waiting and text in self._received[connection]:
                    assert b" 503 " not in self._received[connection], "the process has too few connections"
                    self._received[connection] = b""
                    waiting.remove(connection)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(waiting)} connections have not received it")

    def close(self) -> None:
        for connection in self._received:
            connection.close()
        self._selector.close()
