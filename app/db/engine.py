"""The two databases: their engines and sessions, and the execution of statements."""

import logging
import select
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import Any, cast

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, CursorResult, ExceptionContext, MetaData, TextClause, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ResourceClosedError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import SessionTransaction

from app.db import cooperative
from app.db.connections import connect, discard_closed_connection, on_connect, session_options
from app.db.pool import bounded
from app.settings import Settings

USERS = "users"
POSTS = "posts"
READS = "posts_reads"  # a second pool on the posts database for pages and rebuilds; writers cannot exhaust it
REPLICA = "posts_replica"  # only if POSTS_REPLICA_URL is set; has no models

# Raised if a database is unavailable: gone, refusing, restarting, or its pool is exhausted.
DATABASE_UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeout)

_connection_override: ContextVar[Mapping[str, Connection]] = ContextVar("elsewhere", default={})  # noqa: B039 - never changed

# Timeouts for a pooled connection. Reads wait longer: their connections are never held by a wait for a lock.
POOL_SECONDS = 3.0
READ_POOL_SECONDS = 10.0

# One in so many of a web process's client connections may wait for each pool: together they leave room for reads that
# need no database.
WAITING_SHARE = 6

_AFTER_COMMIT = "after_commit"  # a key of a session's `info`

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


def binds(settings: Settings) -> dict[str, dict[str, Any]]:
    """Build SQLALCHEMY_BINDS: a pool of connections for each bind."""
    made = {
        USERS: _options(settings, settings.users_database_url),
        POSTS: _options(settings, settings.posts_database_url),
        READS: _options(settings, settings.posts_database_url)
        | {"isolation_level": "AUTOCOMMIT", "pool_timeout": READ_POOL_SECONDS},
    }
    if settings.posts_replica_url:
        made[REPLICA] = _options(settings, settings.posts_replica_url)
    return made


def _options(settings: Settings, url: str) -> dict[str, Any]:
    return {
        "url": make_url(url).set(drivername="postgresql+psycopg2"),
        # `deliver` must see everything committed before its check, regardless of the server's default.
        "isolation_level": "READ COMMITTED",
        "pool_size": settings.database_pool_size,
        "max_overflow": 0,
        "poolclass": bounded(max(1, settings.web_connections // WAITING_SHARE)),
        "pool_timeout": POOL_SECONDS,
        "pool_use_lifo": True,
        "hide_parameters": True,  # keeps texts and password hashes out of logs
        "connect_args": {
            "connect_timeout": 3,
            "application_name": "lenta",
            "client_encoding": "utf8",  # overrides the role, the database and PGCLIENTENCODING
            # Detect a dead server in seconds instead of hours (TCP keepalive).
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        },
    }


def init_app(app: Flask, settings: Settings) -> None:
    """Set up the engines and sessions of `app`. SQLALCHEMY_BINDS must be set."""
    db.init_app(app)
    with app.app_context():
        for engine in db.engines.values():
            event.listen(engine, "do_connect", connect)
            event.listen(engine, "connect", partial(on_connect, session_options(settings)))
            event.listen(engine, "checkout", discard_closed_connection)
            event.listen(engine, "handle_error", _drop_read_only_connections)
    app.teardown_appcontext_funcs[:] = [_end_session]  # in place of the extension's own


def _drop_read_only_connections(context: ExceptionContext) -> None:
    """Drop all pooled connections if a server refuses a write, as a demoted primary does.

    Behind a virtual address old connections stay with it; new ones reach its successor.
    """
    if isinstance(context.original_exception, psycopg2.errors.ReadOnlySqlTransaction):
        context.is_disconnect = True
        for bind in (USERS, POSTS, READS):
            if db.engines[bind] is not context.engine:
                db.engines[bind].dispose()


def _end_session(_: BaseException | None) -> None:
    """End the session with its request or message.

    Rolling back on a lost connection raises here; the response is already complete, so log and continue.
    """
    if not db.session.registry.has():
        return
    session = db.session()
    transaction = session.get_transaction()
    try:
        session.close()
    except DBAPIError as error:
        log.warning("a connection was lost after its work was done: %s", error)
        # The failure has kept the connection of the other bind. Where that one was closed first, it is named closed.
        with suppress(ResourceClosedError):
            cast(SessionTransaction, transaction).close(invalidate=True)
    finally:
        db.session.registry.clear()


def execute(bind: str, statement: TextClause, parameters: Mapping[str, Any] | None = None) -> CursorResult[Any]:
    """Execute a statement in the session's transaction on `bind` (USERS or POSTS)."""
    if connection := _connection_override.get().get(bind):
        return connection.execute(statement, parameters or {})
    arguments = {"bind": db.engines[bind]}
    return cast(CursorResult[Any], db.session.execute(statement, parameters or {}, bind_arguments=arguments))


@contextmanager
def using_connection(bind: str, connection: Connection) -> Iterator[None]:
    """Make `execute(bind, …)` use `connection` instead of the session within this block."""
    token = _connection_override.set({bind: connection})
    try:
        yield
    finally:
        _connection_override.reset(token)


def pg_array_literal(numbers: Iterable[int]) -> str:
    """Return a PostgreSQL array literal. Cast it in the query. psycopg2's own rendering is slow to parse."""
    return "{" + ",".join(map(str, numbers)) + "}"


def commit() -> None:
    """Commit the session's transactions, and do what `after_commit` was given."""
    db.session.commit()
    for action in db.session().info.pop(_AFTER_COMMIT, ()):
        action()


def after_commit(action: Callable[[], None]) -> None:
    """Do this after the next commit, once, without a transaction or a connection."""
    db.session().info.setdefault(_AFTER_COMMIT, {})[action] = None


def is_unavailable(error: Exception) -> bool:
    """Return whether the database was unavailable, whichever exception the driver raised."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or isinstance(error, DATABASE_UNAVAILABLE)


def fetch_one(
    bind: str, query: str, seconds: float, parameters: Mapping[str, Any] | None = None
) -> tuple[Any, ...] | None:
    """Fetch the first row of a query on a dedicated connection, within `seconds`.

    A pooled connection would wait forever for a frozen server. Raises psycopg2.Error.
    """
    deadline = monotonic() + seconds
    with closing(_connect(bind, deadline)) as connection:
        cursor = connection.cursor()
        cursor.execute(query, parameters)
        _wait(connection, deadline)
        return cast(tuple[Any, ...] | None, cursor.fetchone())


def _connect(bind: str, deadline: float) -> Any:
    """Connect to the first server that answers in its share of the time."""
    engine = db.engines[bind]
    _, parameters = engine.dialect.create_connect_args(engine.url)
    servers, failures = cooperative.each_server(parameters), []
    for place, server in enumerate(servers):
        connection = None
        try:
            connection = psycopg2.connect(**server, async_=1)
            now = monotonic()
            _wait(connection, now + (deadline - now) / (len(servers) - place))
            return connection
        except psycopg2.OperationalError as error:
            if connection is not None:
                connection.close()
            failures.append(error)
    raise cooperative.all_of(failures)


def _wait(connection: Any, deadline: float) -> None:
    """Wait until an asynchronous connection has finished its operation."""
    poll = select.poll()
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        poll.register(connection, select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT)
        if not poll.poll(max(0.0, deadline - monotonic()) * 1000):
            raise psycopg2.OperationalError("no reply in time")
        poll.unregister(connection)
