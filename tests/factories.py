"""Creates users, follows and posts, and reads expected feeds by plain SQL."""

import json
from collections.abc import Callable
from datetime import date
from time import monotonic, sleep

from sqlalchemy import text

from app.db.engine import POSTS, USERS, commit, execute
from app.feed.cache import post_bodies, timeline
from app.feed.read import Page
from app.posts import outbox, store
from app.posts import service as posts
from app.redis.client import client
from app.users import store as users

PROFILE = {"first_name": "Ann", "second_name": "Lee", "birthdate": date(1990, 1, 1), "biography": "", "city": "Oslo"}


class Factory:
    """Writes as the use cases do, and can carry the events out at once."""

    def person(self, *, password_hash: str = "no password", **profile: object) -> int:
        user_id = users.insert_user(PROFILE | profile, password_hash)
        commit()
        return user_id

    def people(self, number: int, *, password_hash: str = "no password") -> list[int]:
        return [self.person(password_hash=password_hash) for _ in range(number)]

    def follow(self, follower: int, *followees: int) -> None:
        for followee in followees:
            posts.follow(follower, followee)

    def post(self, author: int, text_: str = "hello") -> int:
        return posts.publish(author, text_)

    def posts(self, author: int, number: int) -> list[int]:
        """Insert posts without events, oldest first."""
        made = [store.insert_post(author, f"post {n}") for n in range(number)]
        commit()
        return made

    def events(self) -> list[tuple[str, dict[str, int]]]:
        """The outbox, oldest first; it is empty after."""
        rows = outbox.lock_batch(list(outbox.EVENTS), 10_000)
        outbox.delete([row[0] for row in rows])
        commit()
        return [(row.event, row.payload) for row in rows]

    def truth(self, reader: int) -> list[int]:
        """Return all posts of the feed, newest first, by a plain join."""
        query = text("""
            SELECT posts.id FROM posts JOIN follows ON followee_id = author_id
            WHERE follower_id = :reader AND author_id NOT IN (SELECT user_id FROM suspended_users)
            ORDER BY posts.id DESC
        """)
        ids = list(execute(POSTS, query, {"reader": reader}).scalars())
        commit()
        return ids

    def feed(self, reader: int) -> list[int]:
        """The list in Redis, the mark (0) included."""
        return [int(element) for element in timeline.ids_of([reader])[0]]

    def body(self, post_id: int) -> bytes | None:
        """The JSON of a post in Redis: b"" if the post is gone, None if it is not cached."""
        [body] = post_bodies.unpack([client().mget([f"post:{post_id}"])[0] or b""])
        return body

    def end_other_connections(self) -> None:
        """Terminate every other connection to both databases, and wait until they are closed."""
        query = text("""
            SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
        """)
        for bind in (USERS, POSTS):
            execute(bind, query)
        commit()


def ids_of(page: Page) -> list[int]:
    """Return the ids of the posts on a page."""
    return [int(json.loads(post)["id"]) for post in page.posts]


def blocked() -> int:
    """Count the connections that wait for a reply in this database of Redis."""
    number = str(client().get_connection_kwargs().get("db", 0))
    return sum("b" in each["flags"] and each["db"] == number for each in client().client_list())


def eventually(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until `condition` holds; fail after `seconds`, naming it."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        sleep(0.02)
