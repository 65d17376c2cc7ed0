"""The outbox: events written in the transaction of what they tell, and taken from there to the broker.

An event names the actor that handles it, and its payload holds that actor's arguments.
Pattern: transactional outbox, https://microservices.io/patterns/data/transactional-outbox.html
"""

import json
from typing import Any, NamedTuple, cast

from flask import g
from sqlalchemy import text

from app.db import POSTS, ask, run

CHANNEL = "outbox"  # what PostgreSQL notifies at each insert

POST_CREATED = "post_created"
POST_EDITED = "post_edited"
POST_DELETED = "post_deleted"
FOLLOWS_CHANGED = "follows_changed"
WARM_REQUESTED = "warm_requested"
TURN_BEGUN = "turn_begun"
EVENTS = (POST_CREATED, POST_EDITED, POST_DELETED, FOLLOWS_CHANGED, WARM_REQUESTED, TURN_BEGUN)

_OLDEST_AGE = "SELECT extract(epoch FROM clock_timestamp() - created_at)::float FROM outbox ORDER BY id LIMIT 1"


class Event(NamedTuple):
    """A row of the outbox. `written_at`: when its transaction began, in seconds since 1970."""

    id: int
    event: str
    payload: dict[str, Any]
    request_id: str | None
    written_at: float


def put(event: str, **payload: Any) -> None:
    """Add an event to the present transaction, with the id of the request that it follows from."""
    insert = text("""
        INSERT INTO outbox (event, payload, request_id) VALUES (:event, CAST(:payload AS jsonb), :request_id)
    """)
    run(POSTS, insert, {"event": event, "payload": json.dumps(payload), "request_id": g.get("request_id")})


def take(events: list[str], limit: int) -> list[Event]:
    """Lock the oldest rows of these kinds that no other relay holds."""
    query = text("""
        SELECT id, event, payload, request_id, CAST(extract(epoch FROM created_at) AS float8)
        FROM outbox WHERE event = ANY(:events) ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
    """)
    return [Event._make(row) for row in run(POSTS, query, {"events": events, "limit": limit})]


def oldest_age() -> float | None:
    """For how many seconds the oldest event has waited; None if none waits."""
    return cast(float | None, run(POSTS, text(_OLDEST_AGE)).scalar_one_or_none())


def oldest_age_within(seconds: float) -> float | None:
    """`oldest_age` for who must not hang with the database: known within `seconds`. Raises psycopg2.Error."""
    row = ask(POSTS, _OLDEST_AGE, seconds)
    return None if row is None else cast(float, row[0])


def size() -> int:
    """How many events wait."""
    return int(run(POSTS, text("SELECT count(*) FROM outbox")).scalar_one())


def drop(ids: list[int]) -> None:
    """Delete rows that the broker has confirmed.

    The commit does not wait for the disk (2 to 9 ms → 0.6 to 3 ms): rows that a crash of PostgreSQL brings back are
    sent once more, which does no harm. This transaction has nothing else to lose.
    """
    delete = text("""
        WITH late AS (SELECT set_config('synchronous_commit', 'off', true))
        DELETE FROM outbox USING late WHERE id = ANY(:ids)
    """)
    run(POSTS, delete, {"ids": ids})
