"""Requirements for the databases, checked at start instead of failing in each request.

UTF-8, PostgreSQL 14, writable, and not swapped or identical. Any locale works: PostgreSQL neither folds nor sorts
text here.
"""

import logging
import sys
from typing import Any

import psycopg2
import psycopg2.errors

from app.db.engine import POSTS, USERS, fetch_one
from app.observability.logging import one_line

OLDEST_VERSION = 14
ENCODING = "UTF8"
START_SECONDS = 3.0

# The last two identify a database.
_FACTS = """
    SELECT current_setting('server_encoding'), CAST(current_setting('server_version_num') AS integer) / 10000,
           current_setting('transaction_read_only'), to_regclass('users') IS NOT NULL, to_regclass('posts') IS NOT NULL,
           pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database())
"""

log = logging.getLogger(__name__)


class UnsuitableDatabaseError(Exception):
    """Names in one line a defect of a database that waiting will not fix."""


def check(bind: str, seconds: float) -> tuple[Any, ...]:
    """Check one database within `seconds`. Returns its identity.

    Raises UnsuitableDatabaseError; psycopg2.Error if it is unavailable or read-only, as a demoted primary is.
    """
    encoding, version, read_only, has_users, has_posts, *identity = fetch_one(bind, _FACTS, seconds) or ()
    if encoding != ENCODING:
        raise UnsuitableDatabaseError(
            f"the {bind} database has the encoding {encoding}, but {ENCODING} is required: "
            "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
        )
    if version < OLDEST_VERSION:
        raise UnsuitableDatabaseError(
            f"the {bind} database runs on PostgreSQL {version}, but {OLDEST_VERSION} or newer is required"
        )
    if (has_users, has_posts) == {USERS: (False, True), POSTS: (True, False)}[bind]:
        other = {USERS: POSTS, POSTS: USERS}[bind]
        raise UnsuitableDatabaseError(
            f"the {bind} database contains {other}: USERS_DATABASE_URL and POSTS_DATABASE_URL are swapped"
        )
    if read_only != "off":
        raise psycopg2.errors.ReadOnlySqlTransaction("the database is read-only")
    return tuple(identity)


def check_both(seconds: float) -> None:
    """Check both databases. Raises as `check` does."""
    identities = []
    for bind in (USERS, POSTS):
        try:
            identities.append(check(bind, seconds))
        except psycopg2.Error as error:
            raise type(error)(f"{bind}: {error}") from error
    if identities[0] == identities[1]:
        raise UnsuitableDatabaseError(
            "USERS_DATABASE_URL and POSTS_DATABASE_URL name the same database: two are required"
        )


def check_at_start() -> None:
    """Abort the start on an unsuitable database. Temporary errors are only logged.

    Raises SystemExit with a message for the operator.
    """
    try:
        check_both(START_SECONDS)
    except UnsuitableDatabaseError as error:
        sys.exit(f"The databases cannot be used: {error}")
    except psycopg2.Error as error:
        log.warning("the databases could not be checked: %s", one_line(error))
