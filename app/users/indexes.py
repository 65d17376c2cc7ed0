"""Builds indexes of users beside the service, outside of the transaction of a migration.

It may be interrupted: every `db upgrade` completes it. Until the first is there, nothing keeps usernames unique: so
`db upgrade` ends before processes of the new version start.
"""

from sqlalchemy import Engine, text

from app.db.indexes import build_index, exclusive_connection

LOCK = 0x75736572  # "user"

_FIRST = "COALESCE(first_name_folded, lower(first_name))"
_SECOND = "COALESCE(second_name_folded, lower(second_name))"
# Search in one box reads these. In the order of "C" the texts with one prefix are adjacent.
FULL_NAME = f"""((({_FIRST} COLLATE "C") || ' ') || {_SECOND})"""
REVERSED_NAME = f"""((({_SECOND} COLLATE "C") || ' ') || {_FIRST})"""
INDEXES = {"ix_users_full_name": f"{FULL_NAME}, id", "ix_users_reversed_name": f"{REVERSED_NAME}, id"}


def build_indexes(engine: Engine) -> None:
    """Build the missing ones, in one process at a time; others wait."""
    with exclusive_connection(engine, LOCK) as connection:
        build_index(connection, "ix_users_username", "users", "username", unique=True)
        built = [build_index(connection, name, "users", columns) for name, columns in INDEXES.items()]
        if any(built):
            connection.execute(text("ANALYZE users"))  # an index on expressions has statistics from ANALYZE only
