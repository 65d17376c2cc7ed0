"""What tests say: people, friendships, posts; and the oracle, the feed as plain SQL says it."""

from collections.abc import Callable
from datetime import date
from time import monotonic, sleep

from sqlalchemy import text

from app.db import POSTS, USERS, commit, run
from app.feed import bodies, timeline
from app.posts import outbox, store
from app.posts import service as posts
from app.redis import client
from app.users import store as users

PROFILE = {"first_name": "Ann", "second_name": "Lee", "birthdate": date(1990, 1, 1), "biography": "", "city": "Oslo"}


class World:
    """Writes as the use cases do, and can carry the events out at once."""

    def person(self, **profile: object) -> int:
        user_id = users.insert_user(PROFILE | profile, "no password")
        commit()
        return user_id

    def people(self, number: int) -> list[int]:
        return [self.person() for _ in range(number)]

    def follow(self, follower: int, *followees: int) -> None:
        for followee in followees:
            posts.follow(follower, followee)

    def post(self, author: int, text_: str = "hello") -> int:
        return posts.publish(author, text_)

    def posts(self, author: int, number: int) -> list[int]:
        """Posts without events, oldest first: what was there before."""
        made = [store.insert_post(author, f"post {n}") for n in range(number)]
        commit()
        return made

    def events(self) -> list[tuple[str, dict[str, int]]]:
        """The outbox, oldest first; it is empty after."""
        rows = outbox.take(list(outbox.EVENTS), 10_000)
        outbox.drop([row[0] for row in rows])
        commit()
        return [(row.event, row.payload) for row in rows]

    def truth(self, reader: int) -> list[int]:
        """All posts of the feed, newest first, by the join that anybody would write."""
        query = text("""
            SELECT posts.id FROM posts JOIN follows ON followee_id = author_id
            WHERE follower_id = :reader ORDER BY posts.id DESC
        """)
        ids = list(run(POSTS, query, {"reader": reader}).scalars())
        commit()
        return ids

    def feed(self, reader: int) -> list[int]:
        """The list in Redis, the mark (0) included."""
        return [int(element) for element in timeline.ids_of([reader])[0]]

    def body(self, post_id: int) -> bytes | None:
        """The JSON of a post in Redis: b"" if the post is gone, None if it is not cached."""
        [body] = bodies.unpack([client().get(f"post:{post_id}") or b""])
        return body

    def end_other_connections(self) -> None:
        """Terminate every other connection to both databases, as a restart of PostgreSQL does."""
        query = text("""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
        """)
        for bind in (USERS, POSTS):
            run(bind, query)
        commit()


def eventually(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until `condition` holds; fail with `what` after `seconds`."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        sleep(0.02)
