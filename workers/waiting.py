"""Waiting for what Lenta needs to be there."""

from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any

import psycopg2
import redis
from alembic.script import ScriptDirectory
from flask import current_app

from app.db import POSTS, USERS, ask
from app.redis import client
from workers import queues
from workers.broker import BROKER_AWAY

POLL_SECONDS = 0.5
REMIND_SECONDS = 5.0
DATABASE_SECONDS = 2.0


class NotThere(Exception):
    """Says what is missing, in one line."""


def wait(broker: Any, names: Sequence[str], timeout: float, say: Callable[[str], object]) -> dict[str, str]:
    """Until all of these SERVICES are there, or the time is over. Returns what is not there, and why."""
    started = monotonic()
    missing = dict.fromkeys(names, "")
    said = dict.fromkeys(names, 0.0)
    while True:
        for name in list(missing):
            reason, passed = _reason(name, broker), monotonic() - started
            if reason is None:
                del missing[name]
                say(f"{name}: there after {passed:.1f} s")
            elif reason != missing[name] or passed - said[name] >= REMIND_SECONDS:
                missing[name], said[name] = reason, passed
                say(f"{name}: waiting for {passed:.0f} s: {reason}")
        if not missing or monotonic() - started >= timeout:
            return missing
        sleep(min(POLL_SECONDS, max(0.0, started + timeout - monotonic())))


def _reason(name: str, broker: Any) -> str | None:
    """Why a service is not there; None if it is."""
    try:
        SERVICES[name](broker)
    except (psycopg2.Error, redis.RedisError, NotThere, *BROKER_AWAY) as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def _databases(_: Any) -> None:
    for bind in (USERS, POSTS):
        try:
            ask(bind, "SELECT 1", DATABASE_SECONDS)
        except psycopg2.Error as error:
            raise NotThere(f"{bind}: {error}") from error


def _redis(_: Any) -> None:
    client().ping()


def _migrations(_: Any) -> None:
    """At a revision that this version does not know a database was migrated by a newer one."""
    scripts = ScriptDirectory.from_config(current_app.extensions["migrate"].migrate.get_config())
    known = [script.revision for script in scripts.walk_revisions()]  # the newest first
    for bind in (USERS, POSTS):
        try:
            row = ask(bind, "SELECT version_num FROM alembic_version", DATABASE_SECONDS)
        except psycopg2.errors.UndefinedTable:
            row = None
        revision = row and row[0]
        if revision is None or revision in known[1:]:
            raise NotThere(f"the database of {bind} is at {revision or 'none'}, {known[0]} is needed: db upgrade")


SERVICES: dict[str, Callable[[Any], None]] = {
    "databases": _databases,
    "redis": _redis,
    "broker": queues.check,
    "migrations": _migrations,
}
