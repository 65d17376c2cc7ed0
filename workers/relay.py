"""The outbox relays: each takes the events of one database to the broker.

They run in the background of each worker process; several share the work by SKIP LOCKED.
"""

import json
import select
import threading
from typing import Any

import dramatiq
from flask import Flask

from app.db.engine import commit, db
from app.db.outbox import CHANNEL, Outbox
from app.posts.outbox import OUTBOX as POSTS_OUTBOX
from app.users.outbox import OUTBOX as USERS_OUTBOX
from workers.middleware import REQUEST_ID, WRITTEN_AT

BATCH = 100
POLL_SECONDS = 5.0  # fallback for missed notifications


def run_relay(app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    """Relay the events of posts until `stopping` is set.

    Raises errors of the database and the broker; nothing is lost then.
    """
    _run(POSTS_OUTBOX, app, broker, stopping)


def run_relay_of_users(app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    """Relay the events of users, like `run_relay`: a thread each, so that neither database waits for the other."""
    _run(USERS_OUTBOX, app, broker, stopping)


def _run(outbox: Outbox, app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    with Listener(app, outbox.bind) as listener:
        while not stopping.is_set():
            with app.app_context():
                moved = relay_batch(broker, outbox)
            if moved < BATCH:
                listener.wait(stopping)


def relay_batch(broker: dramatiq.Broker, outbox: Outbox = POSTS_OUTBOX) -> int:
    """Send up to BATCH events. Returns how many left the outbox.

    They leave it when the broker has confirmed them all. Must run in an application context. An event that no actor of
    this version handles stays for a newer one. Only the oldest of equal events is sent: all of them are committed, and
    its actor reads SQL later.
    """
    rows = outbox.lock_batch([name for name in broker.get_declared_actors() if name in outbox.events], BATCH)
    sent = set()
    for row in rows:
        message = row.event, json.dumps(row.payload, sort_keys=True)
        if message in sent:
            continue
        sent.add(message)
        options: dict[str, Any] = {WRITTEN_AT: row.written_at}
        if row.request_id:
            options[REQUEST_ID] = row.request_id
        broker.get_actor(row.event).send_with_options(kwargs=row.payload, **options)
    if rows:
        outbox.delete([row.id for row in rows])
    commit()
    return len(rows)


class Listener:
    """A connection that is notified by PostgreSQL of inserts into the outbox."""

    def __init__(self, app: Flask, bind: str) -> None:
        with app.app_context():
            self._engine = db.engines[bind]
        self._connection: Any = None
        self._poll = select.poll()

    def __enter__(self) -> "Listener":
        pooled = self._engine.raw_connection()
        pooled.detach()  # it listens forever, so it must not return to the pool
        self._connection = pooled.dbapi_connection
        self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        self._poll.register(self._connection, select.POLLIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def wait(self, stopping: threading.Event) -> None:
        """Wait for an insert, POLL_SECONDS, or `stopping` (checked every second)."""
        waited = 0.0
        while waited < POLL_SECONDS and not stopping.is_set():
            if self._poll.poll(1000):
                self._connection.poll()
                if self._connection.notifies:
                    self._connection.notifies.clear()
                    return
            waited += 1.0
