"""A client of new posts by WebSocket, in a thread: it shows each, and comes back where its connection ends."""

import json
import threading
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from tests.tools import documented, documented_live

PATH = "/post/feed/posted"
OPEN_SECONDS = 10
RETRY_SECONDS = 0.2


class PostedReader:
    """`posts` has the texts of the posts that came, by id."""

    def __init__(self, port: int, token: str, *, by_subprotocol: bool = False) -> None:
        self.posts: dict[int, str] = {}
        self.closes: list[tuple[int, str]] = []  # code and reason of each connection that has ended
        self.connections = self.status = 0
        self.token = token
        self._port, self._by_subprotocol = port, by_subprotocol
        self._stop = threading.Event()
        self._socket: ClientConnection | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stay_away(self) -> None:
        """Do not come back once this connection has ended."""
        self._stop.set()

    def close(self) -> None:
        """End for good."""
        self._stop.set()
        if self._socket:
            self._socket.close()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with open_socket(self._port, self.token, by_subprotocol=self._by_subprotocol) as self._socket:
                    if not self._stop.is_set():  # else `close` may have missed this connection
                        self._listen(self._socket)
            except InvalidStatus as error:
                self.status = error.response.status_code
            except (WebSocketException, OSError):
                pass  # it is tried again
            self._stop.wait(RETRY_SECONDS)

    def _listen(self, connection: ClientConnection) -> None:
        self.connections += 1
        with suppress(ConnectionClosed):
            for message in connection:
                post = json.loads(message)
                documented_live.check(PATH, "posted", post)
                self.posts[int(post["postId"])] = post["postText"]
        self.closes.append((connection.close_code or 0, connection.close_reason or ""))
        retry = json.loads(connection.close_reason or "{}").get("retry", 0)
        self._stop.wait(retry / 1000)


def open_socket(port: int, token: str, *, by_subprotocol: bool = False, **options: Any) -> ClientConnection:
    """Connect, with the token in X-Auth or as a browser sends it. The response must be documented."""
    if by_subprotocol:
        options["subprotocols"] = ["lenta", token]
    else:
        options["additional_headers"] = {"X-Auth": token}
    found = connect(f"ws://127.0.0.1:{port}{PATH}", open_timeout=OPEN_SECONDS, proxy=None, **options)
    assert found.response is not None
    documented.check("GET", PATH, found.response.status_code, dict(found.response.headers.raw_items()), b"")
    return found
