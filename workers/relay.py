"""The outbox relays: each takes the events of one database to the broker.

They run in the background of each worker process; several share the work by SKIP LOCKED. A commit wakes one of them
through Redis, and all of them poll.
"""

import json
import threading
from typing import Any

import dramatiq
import redis
from flask import Flask

from app.db.engine import commit
from app.db.outbox import Outbox
from app.posts.outbox import OUTBOX as POSTS_OUTBOX
from app.redis.connect import connect, disconnect
from app.settings import Settings
from app.users.outbox import OUTBOX as USERS_OUTBOX
from workers.middleware import REQUEST_ID, WRITTEN_AT

BATCH = 100
POLL_SECONDS = 1.0  # finds events whose wake-up was lost
POLL_SECONDS_ALONE = 0.25  # while Redis wakes no relay
REPLY_SECONDS = 1.5  # more than POLL_SECONDS. A frozen Redis delays a poll by as much


def run_relay(app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    """Relay the events of posts until `stopping` is set.

    Raises errors of the database and the broker; nothing is lost then.
    """
    _run(POSTS_OUTBOX, app, broker, stopping)


def run_relay_of_users(app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    """Relay the events of users, like `run_relay`: a thread each, so that neither database waits for the other."""
    _run(USERS_OUTBOX, app, broker, stopping)


def _run(outbox: Outbox, app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    settings: Settings = app.extensions["settings"]
    client = connect(settings.redis_url, REPLY_SECONDS)
    try:
        while True:
            with app.app_context():
                moved = relay_batch(broker, outbox)
            if stopping.is_set():  # after the batch, so that the wake-up that was taken is not lost
                return
            if moved < BATCH:
                _wait(outbox, client, stopping)
    finally:
        disconnect(client)


def _wait(outbox: Outbox, client: redis.Redis, stopping: threading.Event) -> None:
    """Wait for a wake-up, at most POLL_SECONDS."""
    try:
        outbox.wakeup.wait(client, POLL_SECONDS)
    except redis.RedisError:
        stopping.wait(POLL_SECONDS_ALONE)


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
