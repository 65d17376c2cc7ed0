"""Reads from a streaming replica (POSTS_REPLICA_URL), without stale results.

A replica lags, and a rebuild from stale data would undo later writes. So each read first fetches the primary's log
position, and uses the replica only if it has replayed that far, else the primary. docs/replication.md explains why
that is sufficient.
"""

import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock, Timer
from time import monotonic, sleep
from typing import Any, ParamSpec, TypeVar, cast

from flask import current_app
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import POSTS, READS, REPLICA, db, fetch_one, using_connection
from app.redis.circuit_breaker import CircuitBreaker
from app.settings import settings

WAIT_SECONDS = 0.05  # for a lagging replica
POLL_SECONDS = 0.005
READ_SECONDS = 10.0  # query timeout

AWAY_SECONDS = 30.0  # then one thread retries a failed replica

CURRENT, BEHIND, WRONG_PRIMARY = "up", "behind", "no replica of this primary"

# The log position that must have been replayed. A commit becomes visible after it is flushed, or with
# synchronous_commit off after it is written. (The relay uses that setting, but its commits contain no feed data.) A
# replica receives only flushed data, so requiring written data would rule it out most of the time.
# `pg_walfile_name` begins with the timeline.
_POSITION = """
    SELECT CAST(CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn()
                ELSE pg_current_wal_flush_lsn() END AS text),
           system_identifier, pg_walfile_name(pg_current_wal_insert_lsn())
    FROM pg_control_system()
"""
# A separate statement: one statement's snapshot predates the position it reports.
_REPLAYED = f"""
    SELECT CASE WHEN NOT pg_is_in_recovery() OR system_identifier <> %(system)s
                  OR greatest(timeline_id, min_recovery_end_timeline) <> %(timeline)s THEN '{WRONG_PRIMARY}'
                WHEN pg_last_wal_replay_lsn() >= CAST(%(position)s AS pg_lsn) THEN '{CURRENT}'
                ELSE '{BEHIND}' END
    FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
"""

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class ReplicaBreaker(CircuitBreaker):
    """Stays open for a while after a failure, then half-open: one thread probes the replica."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        self._trying = Lock()

    @contextmanager
    def allow_one(self) -> Iterator[bool]:
        """Yield whether this thread may read the replica (half-open: one at a time)."""
        if self.is_open:
            yield False
        elif not self.failed:
            yield True
        elif self._trying.acquire(blocking=False):
            try:
                yield True
            finally:
                self._trying.release()
        else:
            yield False


def breaker() -> ReplicaBreaker:
    return cast(ReplicaBreaker, current_app.extensions.setdefault("replica_breaker", ReplicaBreaker()))


def read_fresh(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `read` on the replica if it is current, else on the primary.

    `read` must be a pure, non-lazy read: it is repeated on the primary if the replica fails.
    """
    if not settings().posts_replica_url:
        return read_primary(read, *args, **kwargs)
    with breaker().allow_one() as is_asked:
        if is_asked:
            try:
                wanted = _primary_position()
                with _connection() as connection:
                    found = _wait_for(connection, wanted)
                    breaker().failed = False
                    if found == CURRENT:
                        with using_connection(POSTS, connection):
                            return read(*args, **kwargs)
                log.info("replica not used: %s", found)
                breaker().trip()
            except SQLAlchemyError as error:
                log.warning("replica unavailable, reading the primary: %s", error)
                breaker().failed = True
                breaker().trip(AWAY_SECONDS)
    return read_primary(read, *args, **kwargs)


def read_primary(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `read` on the primary, through a pool that writers cannot exhaust."""
    with db.engines[READS].connect() as connection, using_connection(POSTS, connection):
        return read(*args, **kwargs)


def state(seconds: float) -> str:
    """Return CURRENT, BEHIND or WRONG_PRIMARY. `seconds` is the timeout per server. Raises psycopg2.Error."""
    row = fetch_one(
        REPLICA, _REPLAYED, seconds, _as_parameters(cast(tuple[str, int, str], fetch_one(POSTS, _POSITION, seconds)))
    )
    return cast(tuple[str], row)[0]


def _primary_position() -> Mapping[str, Any]:
    with db.engines[READS].connect() as connection:
        return _as_parameters(tuple(connection.exec_driver_sql(_POSITION).one()))


def _as_parameters(position: tuple[str, int, str]) -> Mapping[str, Any]:
    return {"position": position[0], "system": position[1], "timeline": int(position[2][:8], 16)}


@contextmanager
def _connection() -> Iterator[Connection]:
    """Connect to the replica, and shut the socket after READ_SECONDS: libpq has no read timeout."""
    connection = db.engines[REPLICA].connect()
    timer = Timer(READ_SECONDS, _hang_up, [connection.connection.dbapi_connection])
    timer.daemon = True
    timer.start()
    try:
        with connection:
            yield connection
    finally:
        timer.cancel()


def _hang_up(connection: Any) -> None:
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def _wait_for(connection: Connection, wanted: Mapping[str, Any]) -> str:
    """Return the state of the replica once it is not BEHIND or WAIT_SECONDS have passed."""
    deadline = monotonic() + WAIT_SECONDS
    while True:
        found = str(connection.exec_driver_sql(_REPLAYED, wanted).scalar_one())
        if found != BEHIND or monotonic() > deadline:
            return found
        sleep(POLL_SECONDS)
