"""Folds the names of users created by older versions, and builds their index.

Runs while the service is up, outside of a migration's transaction, and in batches, so that no row is locked for long.
If interrupted, the next `db upgrade` completes it; until then search uses these users' names in lower case.
"""

import logging

from sqlalchemy import Connection, Engine, text

from app.db.indexes import build_index, exclusive_connection
from app.users.folding import fold

BATCH = 2000
LOCK = 0x666F6C64  # "fold"

_SELECT = text("""
    SELECT id, first_name, second_name FROM users
    WHERE id > :after AND (first_name_folded IS NULL OR second_name_folded IS NULL) ORDER BY id LIMIT :batch
""")
# A name that was folded since it was read here has changed.
_UPDATE = text("""
    UPDATE users SET first_name_folded = coalesce(users.first_name_folded, folded.first_name),
        second_name_folded = coalesce(users.second_name_folded, folded.second_name)
    FROM unnest(CAST(:ids AS bigint[]), CAST(:first_names AS text[]), CAST(:second_names AS text[]))
        AS folded (id, first_name, second_name)
    WHERE users.id = folded.id AND (users.first_name_folded IS NULL OR users.second_name_folded IS NULL)
""")
_INDEXED = """
    coalesce(first_name_folded, lower(first_name)) text_pattern_ops,
    coalesce(second_name_folded, lower(second_name)) text_pattern_ops
"""

log = logging.getLogger(__name__)


def fold_names(engine: Engine) -> None:
    """Complete names and index; of several processes at once one works, and the others wait."""
    with exclusive_connection(engine, LOCK) as connection:
        if number := _fold_missing(connection):
            log.info("folded the names of %d users", number)
        if build_index(connection, "ix_users_folded_names", "users", _INDEXED):
            connection.execute(text("ANALYZE users"))  # an index on expressions has statistics from ANALYZE only


def _fold_missing(connection: Connection) -> int:
    number = after = 0
    while rows := connection.execute(_SELECT, {"after": after, "batch": BATCH}).all():
        folded = {
            "ids": [row.id for row in rows],
            "first_names": [fold(row.first_name) for row in rows],
            "second_names": [fold(row.second_name) for row in rows],
        }
        number += connection.execute(_UPDATE, folded).rowcount
        after = rows[-1].id
    return number
