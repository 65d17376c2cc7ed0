"""The two databases: one SQLAlchemy extension, a bind for each, and the one way to run a statement."""

from collections.abc import Mapping
from typing import Any, cast

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CursorResult, MetaData, TextClause
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

USERS = "users"
POSTS = "posts"

# What is raised when a database does not answer: gone, refusing, restarting, or the pool is used up.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)

db = SQLAlchemy(
    metadata=MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
)


def run(bind: str, statement: TextClause, parameters: Mapping[str, Any] | None = None) -> CursorResult[Any]:
    """Execute one statement in the session's transaction on `bind` (USERS or POSTS)."""
    arguments = {"bind": db.engines[bind]}
    return cast(CursorResult[Any], db.session.execute(statement, parameters or {}, bind_arguments=arguments))


def commit() -> None:
    db.session.commit()


def is_away(error: Exception) -> bool:
    """Whether the database did not answer, under whatever name the driver says it."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, DATABASE_AWAY)
