"""Reading the truth from a streaming replica of the posts database (POSTS_REPLICA_URL), never an older truth.

A replica lags, and a rebuild from an older truth would undo what was written meanwhile. So, each time, the primary is
asked how far its log goes, and the replica answers only if it has replayed that far; else the primary answers.
docs/replication.md says why that is enough.
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

from app.db import POSTS, REPLICA, ask, db, reading
from app.redis import Breaker
from app.settings import settings

WAIT_SECONDS = 0.05  # for a replica that is behind
POLL_SECONDS = 0.005
READ_SECONDS = 10.0  # then one that is asked is taken for frozen

AWAY_SECONDS = 30.0  # then one that could not answer is tried again, by one thread

CURRENT, BEHIND, STRANGER = "up", "behind", "no replica of this primary"

# How far the log must have been replayed. A commit is seen only after it was flushed, unless synchronous_commit is off:
# then after it was written. (To the relay that setting does not matter: what it commits so is no truth.) A replica gets
# only what was flushed, so the second would keep it from serving most of the time.
# The timeline is how `pg_walfile_name` begins.
_POSITION = """
    SELECT CAST(CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn()
                ELSE pg_current_wal_flush_lsn() END AS text),
           system_identifier, pg_walfile_name(pg_current_wal_insert_lsn())
    FROM pg_control_system()
"""
# A statement of its own, before the one that reads: the snapshot of one statement is older than what it asks here.
_REPLAYED = f"""
    SELECT CASE WHEN NOT pg_is_in_recovery() OR system_identifier <> %(system)s
                  OR greatest(timeline_id, min_recovery_end_timeline) <> %(timeline)s THEN '{STRANGER}'
                WHEN pg_last_wal_replay_lsn() >= CAST(%(position)s AS pg_lsn) THEN '{CURRENT}'
                ELSE '{BEHIND}' END
    FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
"""

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class ReplicaBreaker(Breaker):
    """Open for a while after the replica could not answer; then for all but one thread, until it has answered."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        self._trying = Lock()

    @contextmanager
    def passing(self) -> Iterator[bool]:
        """Whether to ask the replica."""
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


def at_least_now(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`read`, on the replica if there is one that shows all that the primary shows now, else on the primary.

    `read` must do nothing but read, and at once: where the replica fails it is done again.
    """
    if not settings().posts_replica_url:
        return read(*args, **kwargs)
    with breaker().passing() as is_asked:
        if is_asked:
            try:
                wanted = _wanted()
                with _connection() as connection:
                    found = _wait_for(connection, wanted)
                    breaker().failed = False
                    if found == CURRENT:
                        with reading(POSTS, connection):
                            return read(*args, **kwargs)
                log.info("the replica is not read: it is %s", found)
                breaker().trip()
            except SQLAlchemyError as error:
                log.warning("the replica cannot answer, the primary does: %s", error)
                breaker().failed = True
                breaker().trip(AWAY_SECONDS)
    return read(*args, **kwargs)


def state(seconds: float) -> str:
    """CURRENT, BEHIND or STRANGER; each server is given so many seconds. Raises psycopg2.Error."""
    row = ask(REPLICA, _REPLAYED, seconds, _named(cast(tuple[str, int, str], ask(POSTS, _POSITION, seconds))))
    return cast(tuple[str], row)[0]


def _wanted() -> Mapping[str, Any]:
    # Not in the session's transaction, which must live on if this fails.
    with db.engines[POSTS].connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return _named(tuple(connection.exec_driver_sql(_POSITION).one()))


def _named(position: tuple[str, int, str]) -> Mapping[str, Any]:
    return {"position": position[0], "system": position[1], "timeline": int(position[2][:8], 16)}


@contextmanager
def _connection() -> Iterator[Connection]:
    """A connection to the replica that is hung up on after READ_SECONDS: libpq waits for a frozen one without end."""
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
    """The state of the replica, once it is not BEHIND or WAIT_SECONDS have passed."""
    deadline = monotonic() + WAIT_SECONDS
    while True:
        found = str(connection.exec_driver_sql(_REPLAYED, wanted).scalar_one())
        if found != BEHIND or monotonic() > deadline:
            return found
        sleep(POLL_SECONDS)
