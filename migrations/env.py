"""Runs each revision on both databases: `upgrade_users()` on one, `upgrade_posts()` on the other."""

from logging.config import fileConfig

from alembic import context
from flask import current_app
from sqlalchemy import Connection

from app.db import POSTS, USERS, db

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

# Both transactions stay open until both have succeeded.
with db.engines[USERS].begin() as users, db.engines[POSTS].begin() as posts:
    migrate(USERS, users)
    migrate(POSTS, posts)
