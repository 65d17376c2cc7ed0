"""A client of the live feed: it reads a page, and from then on applies events to it."""

import json

from app.feed.live import events, log
from app.feed.live.log import CHANGED, DELETED, EDITED, POSTED
from app.feed.read import read_page


class LiveClient:
    """A screen: posts by id, down to the `floor`; 0 if it shows the oldest."""

    def __init__(self, user_id: int, limit: int) -> None:
        self.user_id, self.limit = user_id, limit
        self.place: log.Place | None = None
        self.posts: dict[int, str] = {}
        self.floor = 0

    def poll(self) -> bool:
        """Connect, or come back and apply what has happened since. Returns whether anything had."""
        end = log.listen()
        entries = log.read(self.place, 100) if self.place and self.place.token == end.token else None
        if entries is None:  # new, or reset
            self._read_page()
            self.place = end
            return True
        for event in events.of(entries, {self.user_id}):
            self._apply(event)
        if entries:
            self.place = log.Place(end.token, entries[-1].id)
        return bool(entries)

    def _apply(self, event: events.Event) -> None:
        data = json.loads(event.data)
        if event.name == CHANGED:
            self._read_page()
        elif event.name == DELETED:
            self.posts.pop(int(data["id"]), None)
        elif (event.name == POSTED and int(data["id"]) >= self.floor) or (
            event.name == EDITED and int(data["id"]) in self.posts
        ):
            self.posts[int(data["id"])] = data["text"]

    def _read_page(self) -> None:
        page = read_page(self.user_id, 0, self.limit)
        self.posts = {int(post["id"]): post["text"] for post in map(json.loads, page.posts)}
        self.floor = page.last_id or 0
