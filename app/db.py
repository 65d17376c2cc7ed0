"""The two databases: one SQLAlchemy extension, a bind for each, and the one way to run a statement."""

import logging
import select
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any, cast

import psycopg2
import psycopg2.extensions
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, CursorResult, MetaData, TextClause, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

USERS = "users"
POSTS = "posts"
REPLICA = "posts_replica"  # only where POSTS_REPLICA_URL is set; has no tables of its own

# What is raised when a database does not answer: gone, refusing, restarting, or the pool is used up.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)

_elsewhere: ContextVar[Mapping[str, Connection]] = ContextVar("elsewhere", default={})  # noqa: B039 - never changed

log = logging.getLogger(__name__)

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


def init_app(app: Flask) -> None:
    db.init_app(app)
    with app.app_context():
        for engine in db.engines.values():
            event.listen(engine, "connect", _set_up)
            event.listen(engine, "checkout", _refuse_dead)
    app.teardown_appcontext_funcs[:] = [_end_session]  # in place of the extension's own


def _set_up(connection: Any, record: Any) -> None:
    """Never compile a query: PostgreSQL does where it overrates one, as that of a feed of 5,000 authors, and then
    takes three times as long."""
    with connection.cursor() as cursor:
        cursor.execute("SET jit = off")
    connection.commit()
    record.info["is_new"] = True  # for _refuse_dead


def _refuse_dead(connection: Any, record: Any, _: object) -> None:
    """A connection of the pool on which something arrived unasked was closed by the server: another one is made.

    This asks the kernel; the pool's own ping asks the server, which takes a round trip each time, and for ever where
    the server is frozen. One that has just been made is not asked about: after two dead ones the pool raises what is
    no database error.
    """
    if record.info.pop("is_new", False):
        return
    if connection.closed or _has_input(connection):
        raise DisconnectionError("the server has closed the connection")


def _has_input(connection: Any) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _end_session(_: BaseException | None) -> None:
    """End the session when its request or message ends.

    A connection that was lost after its last statement fails here; that must not turn a good answer into a 500.
    """
    try:
        db.session.remove()
    except DBAPIError as error:
        log.warning("a connection was lost after its work was done: %s", error)


def run(bind: str, statement: TextClause, parameters: Mapping[str, Any] | None = None) -> CursorResult[Any]:
    """Execute one statement in the session's transaction on `bind` (USERS or POSTS)."""
    if connection := _elsewhere.get().get(bind):
        return connection.execute(statement, parameters or {})
    arguments = {"bind": db.engines[bind]}
    return cast(CursorResult[Any], db.session.execute(statement, parameters or {}, bind_arguments=arguments))


@contextmanager
def reading(bind: str, connection: Connection) -> Iterator[None]:
    """In here `run(bind, …)` reads on this connection, and not in the session's transaction."""
    token = _elsewhere.set({bind: connection})
    try:
        yield
    finally:
        _elsewhere.reset(token)


def array(numbers: Iterable[int]) -> str:
    """An array as PostgreSQL writes it, to be cast: a thousand numbers as psycopg2 writes them take 1 ms to parse."""
    return "{" + ",".join(map(str, numbers)) + "}"


def commit() -> None:
    db.session.commit()


def is_away(error: Exception) -> bool:
    """Whether the database did not answer, under whatever name the driver says it."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, DATABASE_AWAY)


def ask(bind: str, query: str, seconds: float, parameters: Mapping[str, Any] | None = None) -> tuple[Any, ...] | None:
    """The first row of a query, by a connection of its own, within `seconds` whatever the server does.

    A connection of the pool would wait for a frozen server without end. Raises psycopg2.Error.
    """
    deadline = monotonic() + seconds
    engine = db.engines[bind]
    arguments, options = engine.dialect.create_connect_args(engine.url)
    with closing(psycopg2.connect(*arguments, **options, async_=1)) as connection:
        _wait(connection, deadline)
        cursor = connection.cursor()
        cursor.execute(query, parameters)
        _wait(connection, deadline)
        return cast(tuple[Any, ...] | None, cursor.fetchone())


def _wait(connection: Any, deadline: float) -> None:
    """Until an asynchronous connection is done with what it was given."""
    poll = select.poll()
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        poll.register(connection, select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT)
        if not poll.poll(max(0.0, deadline - monotonic()) * 1000):
            raise psycopg2.OperationalError("no answer in time")
        poll.unregister(connection)
