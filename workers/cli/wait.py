"""Waits for the services that Lenta needs."""

from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any

import psycopg2
import redis
from alembic.script import ScriptDirectory
from flask import current_app

from app.db import requirements
from app.db.engine import POSTS, USERS, fetch_one
from app.observability.logging import one_line
from app.redis.client import client
from workers import queues
from workers.errors import BROKER_UNAVAILABLE

POLL_SECONDS = 0.5
REMIND_SECONDS = 5.0
DATABASE_SECONDS = 2.0


class NotReady(Exception):
    """Describes in one line why a service is not ready."""


def wait(broker: Any, names: Sequence[str], timeout: float, say: Callable[[str], object]) -> dict[str, str]:
    """Wait until these SERVICES are available or `timeout` seconds have passed. Returns reasons by missing service."""
    started = monotonic()
    missing = dict.fromkeys(names, "")
    said = dict.fromkeys(names, 0.0)
    while True:
        for name in list(missing):
            reason, passed = _reason(name, broker), monotonic() - started
            if reason is None:
                del missing[name]
                say(f"{name}: available after {passed:.1f} s")
            elif reason != missing[name] or passed - said[name] >= REMIND_SECONDS:
                missing[name], said[name] = reason, passed
                say(f"{name}: waiting for {passed:.0f} s: {reason}")
        if not missing or monotonic() - started >= timeout:
            return missing
        sleep(min(POLL_SECONDS, max(0.0, started + timeout - monotonic())))


def _reason(name: str, broker: Any) -> str | None:
    """Return why a service is not available, or None if it is."""
    try:
        SERVICES[name](broker)
    except (psycopg2.Error, redis.RedisError, NotReady, *BROKER_UNAVAILABLE) as error:
        return one_line(error)
    return None


def _databases(_: Any) -> None:
    try:
        requirements.check_both(DATABASE_SECONDS)
    except requirements.UnsuitableDatabaseError as error:
        raise NotReady(str(error)) from error


def _redis(_: Any) -> None:
    client().ping()


def _migrations(_: Any) -> None:
    """Check the revisions. An unknown one means that a newer version migrated the database, which is accepted."""
    scripts = ScriptDirectory.from_config(current_app.extensions["migrate"].migrate.get_config())
    known = [script.revision for script in scripts.walk_revisions()]  # newest first
    for bind in (USERS, POSTS):
        try:
            row = fetch_one(bind, "SELECT version_num FROM alembic_version", DATABASE_SECONDS)
        except psycopg2.errors.UndefinedTable:
            row = None
        revision = row and row[0]
        if revision is None or revision in known[1:]:
            raise NotReady(
                f"the {bind} database is at revision {revision or 'none'}, {known[0]} is required: run db upgrade"
            )


SERVICES: dict[str, Callable[[Any], None]] = {
    "databases": _databases,
    "redis": _redis,
    "broker": queues.check,
    "migrations": _migrations,
}
