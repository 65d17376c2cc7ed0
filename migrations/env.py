"""Runs each revision on both databases: `upgrade_users()` on one, `upgrade_posts()` on the other."""

import logging
from logging.config import fileConfig

import psycopg2
from alembic import context
from flask import current_app
from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from app.db import requirements
from app.db.engine import POSTS, USERS, db
from app.observability.logging import one_line
from app.posts import follow_indexes
from app.posts.counts import count_existing
from app.users import indexes as user_indexes
from app.users.fold_names import fold_names

LOCK = 0x6C656E7461  # "lenta"

# While a migration waits for a table's lock, all later queries on that table wait behind it.
TABLE_LOCK_TIMEOUT = "3s"
LOCKED = f"""Another transaction locked a table for {TABLE_LOCK_TIMEOUT}. Nothing was changed: run the migration again.
To see what holds locks: SELECT pid, state, xact_start, left(query, 80) FROM pg_stat_activity
    WHERE xact_start < now() - interval '3 seconds' ORDER BY xact_start;   (pg_terminate_backend(pid) ends one)"""

log = logging.getLogger("alembic.env")

config = context.config
if config.config_file_name and not current_app.testing:
    fileConfig(config.config_file_name, disable_existing_loggers=False)


def migrate(name: str, connection: Connection) -> None:
    context.configure(
        connection=connection,
        upgrade_token=f"{name}_upgrades",
        downgrade_token=f"{name}_downgrades",
        target_metadata=db.metadatas[name],
        compare_type=True,
    )
    context.run_migrations(engine_name=name)


if context.is_offline_mode():
    raise SystemExit("Two databases are migrated together: connect to them, --sql is not supported.")

try:
    requirements.check_both(requirements.START_SECONDS)
except (requirements.UnsuitableDatabaseError, psycopg2.Error) as error:
    raise SystemExit(f"Nothing was migrated: {one_line(error)}") from None


def lift_limits(connection: Connection) -> None:
    """Remove the timeouts of statements and of idle transactions."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def wait_for_others(connection: Connection) -> None:
    """Take, for this transaction, the lock that every migration takes: of several at once one migrates at a time."""
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    if not connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({LOCK})")):
        log.info("another process is migrating these databases: waiting for its end")
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))


# Both transactions stay open until both have succeeded.
try:
    with db.engines[USERS].begin() as users:
        lift_limits(users)
        wait_for_others(users)
        with db.engines[POSTS].begin() as posts:
            lift_limits(posts)
            for connection in (users, posts):
                connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_LOCK_TIMEOUT}'"))
            migrate(USERS, users)
            migrate(POSTS, posts)
except OperationalError as error:
    if not isinstance(error.orig, LockNotAvailable):
        raise
    raise SystemExit(LOCKED) from error


def upgrades_to_head() -> bool:
    try:
        return bool(context.get_revision_argument() == context.get_head_revision())
    except KeyError:  # a command that has no destination: current, check
        return False


if upgrades_to_head():
    user_indexes.build_indexes(db.engines[USERS])
    fold_names(db.engines[USERS])
    follow_indexes.build_indexes(db.engines[POSTS])
    count_existing(db.engines[POSTS])
