"""A client of live events over HTTP, in a thread: it reads a page once, and then applies events to it."""

import json
import socket
import threading
from contextlib import suppress
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from app.feed.live.log import CHANGED, DELETED, EDITED, POSTED
from app.feed.live.subscription import END, RESET
from tests.tools import documented_live

PATH = "/post/feed/live"
TIMEOUT = httpx.Timeout(10, read=40)  # a heartbeat comes every 15 s
RETRY_SECONDS = 0.2


class LiveReader:
    """A screen: posts by id, down to the `floor`; 0 if it shows the oldest.

    If its connection ends, it comes back and goes on after the last event.
    """

    def __init__(self, address: str, token: str, limit: int = 10, *, before: "LiveReader | None" = None) -> None:
        """`before`: a client that is closed, and whose screen this one goes on with."""
        self.posts: dict[int, str] = before.posts if before else {}
        self.floor = before.floor if before else 0
        self.place = before.place if before else ""
        self.seen: list[tuple[str, Any]] = []  # events: name and data
        self.pauses: list[int] = []  # milliseconds after which it was told to come back
        self.pages = self.connections = 0
        self.is_connected = False
        self.status = 0
        self.token, self._limit = token, limit
        self._stop = threading.Event()
        self._socket: Any = None
        self._http = httpx.Client(base_url=address, headers={"X-Auth": token}, timeout=TIMEOUT)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def count(self, name: str) -> int:
        """How many events of this name came."""
        return sum(seen == name for seen, _ in self.seen)

    def cut(self) -> None:
        """Lose the connection."""
        with suppress(AttributeError, OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End for good."""
        self._stop.set()
        self.cut()
        self._thread.join(60)
        self._http.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            with suppress(httpx.HTTPError, OSError):
                self._listen()
            self.is_connected = False
            self._stop.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        headers = {"Last-Event-ID": self.place} if self.place else {}
        with connect_sse(self._http, "GET", PATH, headers=headers) as source:
            self.status = source.response.status_code
            source.response.raise_for_status()
            self._socket = source.response.extensions["network_stream"].get_extra_info("socket")
            self.connections += 1
            for event in source.iter_sse():
                if not self.place:
                    self._read_page()
                self._apply(event)
                self.place = event.id or self.place
                self.is_connected = True
                if self._stop.is_set():
                    return

    def _apply(self, event: ServerSentEvent) -> None:
        if not event.data:  # the id alone
            return
        data = json.loads(event.data)
        documented_live.check(PATH, event.event, data)
        if event.event in (CHANGED, RESET):
            self._read_page()
        elif event.event == DELETED:
            self.posts.pop(int(data["id"]), None)
        elif (event.event == POSTED and int(data["id"]) >= self.floor) or (
            event.event == EDITED and int(data["id"]) in self.posts
        ):
            self.posts[int(data["id"])] = data["text"]
        self.seen.append((event.event, data))
        if event.event == END:
            self.pauses.append(event.retry or 0)
            self._stop.wait(self.pauses[-1] / 1000)

    def _read_page(self) -> None:
        while not self._stop.is_set():
            page = self._http.get("/post/feed", params={"limit": self._limit})
            if page.status_code == httpx.codes.OK:
                posts = page.json()
                self.posts = {int(post["id"]): post["text"] for post in posts}
                self.floor = int(posts[-1]["id"]) if "next" in page.links else 0
                self.pages += 1
                return
            self._stop.wait(RETRY_SECONDS)
