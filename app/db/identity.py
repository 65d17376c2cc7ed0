"""Asks which server the posts database is on, and which history it follows.

An identity is `sql:<system identifier>:<timeline>`. A promotion, and a recovery to a point in time, begin a new
timeline; a server made from a dump has another system identifier.
"""

import logging
from threading import Lock
from time import monotonic

import psycopg2
from flask import Flask, current_app

from app.db.connections import CONNECTIONS
from app.db.engine import POSTS, READS, db, fetch_one
from app.observability.logging import one_line

PREFIX = "sql:"
FRESH_SECONDS = 5.0  # a pooler or a virtual address may lead elsewhere without a new connection
ASK_SECONDS = 2.0  # query timeout

_TIMELINE = "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
# Any role may call these functions by default. A role that may not read the system identifier has the timeline.
_QUERIES = (
    f"SELECT CAST(system_identifier AS text), {_TIMELINE} FROM pg_control_system()",
    f"SELECT 'unknown', {_TIMELINE}",
)

log = logging.getLogger(__name__)


class Identity:
    """The last reply of the posts database in this process. None: it has not told."""

    def __init__(self) -> None:
        self.known: str | None = None
        self._told: str | None = None  # the last that it has told
        self._connections = -1
        self._fresh_until = 0.0
        self._warned = False
        self._asking = Lock()

    def current(self) -> str | None:
        """Return the identity, at most FRESH_SECONDS old and younger than the last connection."""
        if self._connections == CONNECTIONS.total and monotonic() < self._fresh_until:
            return self.known
        return self.ask()

    def ask(self) -> str | None:
        """Ask the server on a new connection: an old one may lead to a demoted primary. None if it does not tell."""
        with self._asking:
            self._connections = CONNECTIONS.total
            try:
                found = self._fetch()
            except psycopg2.OperationalError as error:  # also of a replica: "recovery is in progress"
                log.info("the identity of the posts database is unknown for now: %s", one_line(error))
                found = None
            if found and self._told and found != self._told:
                for bind in (POSTS, READS):
                    db.engines[bind].dispose()
            self.known, self._told = found, found or self._told
            self._fresh_until = monotonic() + FRESH_SECONDS
            return found

    def _fetch(self) -> str | None:
        refusal: psycopg2.Error
        for query in _QUERIES:
            try:
                return PREFIX + ":".join(fetch_one(POSTS, query, ASK_SECONDS) or ())
            except psycopg2.OperationalError:
                raise
            except psycopg2.Error as error:
                refusal = error
        if not self._warned:
            self._warned = True
            log.warning(
                "PostgreSQL does not tell its timeline (%s): a failover that loses commits goes unnoticed. "
                "After one, run invalidate-feeds",
                one_line(refusal),
            )
        return None


def init_app(app: Flask) -> None:
    app.extensions["posts_identity"] = Identity()


def of_posts() -> Identity:
    found: Identity = current_app.extensions["posts_identity"]
    return found
