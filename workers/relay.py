"""The outbox relay: takes events from PostgreSQL to the broker.

It runs beside each worker (see beside.py); several share the work by SKIP LOCKED.
"""

import select
import threading
from typing import Any

import dramatiq
from flask import Flask

from app.db import POSTS, commit, db
from app.posts import outbox
from workers.broker import REQUEST_ID, WRITTEN_AT

BATCH = 100
POLL_SECONDS = 5.0  # behind NOTIFY, for what a lost notification or a relay that died left behind


def run_relay(app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    """Move events until `stopping` is set. Raises what the database or the broker raises; nothing is lost then."""
    with Listener(app) as listener:
        while not stopping.is_set():
            with app.app_context():
                moved = relay_batch(broker)
            if moved < BATCH:
                listener.wait(stopping)


def relay_batch(broker: dramatiq.Broker) -> int:
    """Send up to BATCH events; they leave the outbox when the broker has confirmed them all. Returns how many.

    Must run in an application context. An event that no actor of this version handles stays for a newer one.
    """
    rows = outbox.take([name for name in broker.get_declared_actors() if name in outbox.EVENTS], BATCH)
    for row in rows:
        options: dict[str, Any] = {WRITTEN_AT: row.written_at}
        if row.request_id:
            options[REQUEST_ID] = row.request_id
        broker.get_actor(row.event).send_with_options(kwargs=row.payload, **options)
    if rows:
        outbox.drop([row.id for row in rows])
    commit()
    return len(rows)


class Listener:
    """A connection that PostgreSQL tells about inserts into the outbox."""

    def __init__(self, app: Flask) -> None:
        with app.app_context():
            self._engine = db.engines[POSTS]
        self._connection: Any = None
        self._poll = select.poll()

    def __enter__(self) -> "Listener":
        pooled = self._engine.raw_connection()
        pooled.detach()  # it listens for as long as it lives, so it must not go back to the pool
        self._connection = pooled.dbapi_connection
        self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(f"LISTEN {outbox.CHANNEL}")
        self._poll.register(self._connection, select.POLLIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def wait(self, stopping: threading.Event) -> None:
        """Until something is inserted, POLL_SECONDS pass, or `stopping` is set (seen within a second)."""
        waited = 0.0
        while waited < POLL_SECONDS and not stopping.is_set():
            if self._poll.poll(1000):
                self._connection.poll()
                if self._connection.notifies:
                    self._connection.notifies.clear()
                    return
            waited += 1.0
