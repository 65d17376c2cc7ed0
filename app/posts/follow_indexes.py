"""Builds the indexes of follows by time, which list followees and followers newest first.

Runs beside the service, outside of the transaction of a migration: to index a billion follows takes long. It may be
interrupted: every `db upgrade` completes it. Until then these lists are slow for users with many followers.
"""

from sqlalchemy import Engine

from app.db.indexes import build_index, exclusive_connection

LOCK = 0x666F6C6C  # "foll"
INDEXES = {
    "ix_follows_follower_id_created_at": "follower_id, created_at, followee_id",
    "ix_follows_followee_id_created_at": "followee_id, created_at, follower_id",
}


def build_indexes(engine: Engine) -> None:
    """Build the missing ones, in one process at a time; others wait."""
    with exclusive_connection(engine, LOCK) as connection:
        for name, columns in INDEXES.items():
            build_index(connection, name, "follows", columns)
