"""Reading the truth from a streaming replica of the posts database (POSTS_REPLICA_URL), never an older truth.

A replica lags, and a rebuild from an older truth would undo what was written meanwhile. So, each time, the primary is
asked how far its log goes, and the replica answers only if it has replayed that far; else the primary answers.
docs/replication.md says why that is enough.
"""

import logging
from collections.abc import Callable
from time import monotonic, sleep
from typing import ParamSpec, TypeVar, cast

from flask import current_app
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import SQLAlchemyError

from app.db import POSTS, REPLICA, db, reading
from app.redis import Breaker
from app.settings import settings

WAIT_SECONDS = 0.05  # for a replica that is behind
POLL_SECONDS = 0.005

CURRENT, BEHIND, STRANGER = "up", "behind", "no replica of this primary"

# How far the log must have been replayed. A commit is seen only after it was flushed, unless synchronous_commit is off:
# then after it was written. (To the relay that setting does not matter: what it commits so is no truth.) A replica gets
# only what was flushed, so the second would keep it from serving most of the time.
# The timeline is how `pg_walfile_name` begins.
_POSITION = text("""
    SELECT CAST(CASE current_setting('synchronous_commit') WHEN 'off' THEN pg_current_wal_insert_lsn()
                ELSE pg_current_wal_flush_lsn() END AS text) AS position,
           system_identifier AS system, pg_walfile_name(pg_current_wal_insert_lsn()) AS file
    FROM pg_control_system()
""")
# A statement of its own, before the one that reads: the snapshot of one statement is older than what it asks here.
_REPLAYED = text("""
    SELECT pg_is_in_recovery() AND system_identifier = :system
               AND greatest(timeline_id, min_recovery_end_timeline) = :timeline AS is_replica,
           pg_last_wal_replay_lsn() >= CAST(:position AS pg_lsn) AS is_current
    FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
""")

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


def breaker() -> Breaker:
    """Open for a second after the replica could not answer: the next ones do not wait for it."""
    return cast(Breaker, current_app.extensions.setdefault("replica_breaker", Breaker()))


def at_least_now(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`read`, on the replica if there is one that shows all that the primary shows now, else on the primary.

    `read` must do nothing but read: where the replica fails it is done again.
    """
    if not settings().posts_replica_url or breaker().is_open:
        return read(*args, **kwargs)
    try:
        position = _position()
        with db.engines[REPLICA].connect() as connection:
            state = _wait_for(connection, position)
            if state == CURRENT:
                with reading(POSTS, connection):
                    return read(*args, **kwargs)
        log.info("the replica is %s, the primary answers", state)
    except SQLAlchemyError as error:
        log.warning("the replica cannot answer, the primary does: %s", error)
    breaker().trip()
    return read(*args, **kwargs)


def state() -> str:
    """CURRENT, BEHIND or STRANGER. Raises what a server raises that is away."""
    with db.engines[REPLICA].connect() as connection:
        return _wait_for(connection, _position())


def _position() -> Row[tuple[str, int, str]]:
    # Not in the session's transaction, which must live on if this fails.
    with db.engines[POSTS].connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return connection.execute(_POSITION).one()


def _wait_for(connection: Connection, wanted: Row[tuple[str, int, str]]) -> str:
    parameters = {"system": wanted.system, "timeline": int(wanted.file[:8], 16), "position": wanted.position}
    deadline = monotonic() + WAIT_SECONDS
    while True:
        found = connection.execute(_REPLAYED, parameters).one()
        if not found.is_replica:
            return STRANGER
        if found.is_current:
            return CURRENT
        if monotonic() > deadline:
            return BEHIND
        sleep(POLL_SECONDS)
