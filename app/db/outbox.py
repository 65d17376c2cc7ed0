"""Outboxes: events stored in the transaction of the change and relayed to the broker. Each database has one.

An event names its actor, and its payload contains the actor's arguments.
Pattern: transactional outbox, https://microservices.io/patterns/data/transactional-outbox.html
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from flask import g
from sqlalchemy import BigInteger, Column, DateTime, Identity, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from app.db.engine import after_commit, db, execute, fetch_one
from app.db.wakeup import Wakeup

_OLDEST_AGE = "SELECT extract(epoch FROM clock_timestamp() - created_at)::float FROM outbox ORDER BY id LIMIT 1"


class Event(NamedTuple):
    """A row of an outbox. `written_at`: start of its transaction, in seconds since 1970."""

    id: int
    event: str
    payload: dict[str, Any]
    request_id: str | None
    written_at: float


class Outbox(NamedTuple):
    """The outbox of a database, and the events that its transactions write."""

    bind: str
    events: tuple[str, ...]
    wakeup: Wakeup

    def add(self, event: str, **payload: Any) -> None:
        """Add an event to the current transaction, with the id of the current request. Its commit wakes a relay."""
        self.add_all(event, [(payload, g.get("request_id"))])
        after_commit(self.wakeup.send)

    def add_all(self, event: str, payloads: Sequence[tuple[dict[str, Any], str | None]]) -> None:
        """Add events of one kind, each with the id of its request. The caller wakes a relay."""
        insert = text("""
            INSERT INTO outbox (event, payload, request_id)
            SELECT :event, payload, request_id
            FROM unnest(CAST(:payloads AS jsonb[]), CAST(:request_ids AS text[])) AS new (payload, request_id)
        """)
        columns = {
            "payloads": [json.dumps(payload) for payload, _ in payloads],
            "request_ids": [request_id for _, request_id in payloads],
        }
        execute(self.bind, insert, {"event": event, **columns})

    def lock_batch(self, events: Sequence[str], limit: int) -> list[Event]:
        """Lock the oldest events of these kinds that no other relay has locked."""
        query = text("""
            SELECT id, event, payload, request_id, CAST(extract(epoch FROM created_at) AS float8)
            FROM outbox WHERE event = ANY(:events) ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        """)
        return [Event._make(row) for row in execute(self.bind, query, {"events": list(events), "limit": limit})]

    def oldest_age(self) -> float | None:
        """Return the age of the oldest event in seconds. None if none waits."""
        return cast(float | None, execute(self.bind, text(_OLDEST_AGE)).scalar_one_or_none())

    def oldest_age_within(self, seconds: float) -> float | None:
        """Return `oldest_age` with a timeout. Raises psycopg2.Error."""
        row = fetch_one(self.bind, _OLDEST_AGE, seconds)
        return None if row is None else cast(float, row[0])

    def size(self) -> int:
        """Count the waiting events."""
        return int(execute(self.bind, text("SELECT count(*) FROM outbox")).scalar_one())

    def delete(self, ids: list[int]) -> None:
        """Delete rows that the broker has confirmed.

        The commit does not wait for the disk: rows restored by a crash of PostgreSQL are sent again, which is harmless.
        The transaction contains nothing else.
        """
        delete = text("""
            WITH async_commit AS (SELECT set_config('synchronous_commit', 'off', true))
            DELETE FROM outbox USING async_commit WHERE id = ANY(:ids)
        """)
        execute(self.bind, delete, {"ids": ids})


def table(bind: str) -> Table:
    """Return the outbox of a database."""
    return db.Table(
        "outbox",
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("event", Text, nullable=False),
        Column("payload", JSONB, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("request_id", Text),
        bind_key=bind,
    )
