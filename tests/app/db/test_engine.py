"""Connections of the pool."""

from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from app.db import connections
from app.db.engine import POSTS, READS, USERS, commit, db, execute, is_unavailable
from app.db.outbox import Event
from app.posts import outbox
from tests.factories import eventually


def test_a_connection_closed_by_the_server_is_replaced_before_use(app):
    """As each is when PostgreSQL was restarted."""
    old = [_backend(bind) for bind in (USERS, POSTS)]
    commit()  # they are back in the pool

    with closing(psycopg2.connect(app.extensions["settings"].users_database_url)) as other:
        for pid in old:
            other.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", [pid])  # and it is closed when this ends
    new = [_backend(bind) for bind in (USERS, POSTS)]

    assert not set(old).intersection(new)


def test_a_server_that_ends_every_new_connection_is_away(app):
    """Such as one that crashes over and over: a client is told to try again, not that we have failed."""
    engine = db.engines[POSTS]
    engine.dispose()
    with closing(psycopg2.connect(app.extensions["settings"].users_database_url)) as other:

        def end(connection, _):
            other.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])

        event.listen(engine, "connect", end)
        with pytest.raises(DBAPIError) as caught:
            _backend(POSTS)
        event.remove(engine, "connect", end)

    assert is_unavailable(caught.value)


def test_a_connection_is_used_again(app):
    first = _backend(POSTS)
    commit()

    assert _backend(POSTS) == first


def _backend(bind: str) -> int:
    """The server's process for the session's connection."""
    return execute(bind, text("SELECT pg_backend_pid()")).scalar_one()


# --- a server that turns read-only -------------------------------------------------------------------------


def test_a_server_that_turns_read_only_loses_its_connections(app, client_of, world):
    """A demoted primary, to which the pooled connections still lead; new ones reach its successor."""
    client = client_of(world.person())
    for bind in (USERS, POSTS, READS):
        with db.engines[bind].connect() as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = on")
            connection.commit()
    before = {bind: _backend_of_pool(bind) for bind in (USERS, POSTS, READS)}

    refused = client.post("/post/create", json={"text": "hello"})
    db.session.rollback()  # as at the end of a request, which here shares the test's context
    accepted = client.post("/post/create", json={"text": "hello"})

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert accepted.status_code == 200
    assert all(_backend_of_pool(bind) != pid for bind, pid in before.items())


def _backend_of_pool(bind: str) -> int:
    with db.engines[bind].connect() as connection:
        return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def test_a_read_only_database_is_not_ready(app, client_of):
    connection = psycopg2.connect(app.extensions["settings"].posts_database_url)
    with closing(connection), connection.cursor() as cursor:
        name = connection.info.dbname
        connection.autocommit = True
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        response = app.test_client().get("/health/ready")
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    assert response.status_code == 503
    assert response.json["databases"]["posts"]["status"] == "down: ReadOnlySqlTransaction"


# --- time-outs ---------------------------------------------------------------------------------------------


def test_a_statement_that_takes_too_long_is_unavailable(make_app):
    with make_app(database_statement_timeout_ms=100).app_context(), pytest.raises(DBAPIError) as raised:
        execute(POSTS, text("SELECT pg_sleep(5)"))

    assert is_unavailable(raised.value)


def test_a_lock_that_is_not_released_is_unavailable(make_app, settings):
    with closing(psycopg2.connect(settings.posts_database_url)) as other:
        other.cursor().execute("LOCK TABLE posts")
        with make_app(database_lock_timeout_ms=100).app_context(), pytest.raises(DBAPIError) as raised:
            execute(POSTS, text("SELECT count(*) FROM posts"))

    assert is_unavailable(raised.value)


def test_rows_that_a_vanished_relay_holds_are_free_within_the_idle_timeout(make_app, world, monkeypatch):
    """The client vanished, so the server sees an open connection in a transaction."""
    world.post(world.person())
    with monkeypatch.context() as soon:
        soon.setattr(connections, "IDLE_TRANSACTION_MS", 300)
        relay = make_app()
    with relay.app_context():
        held = outbox.lock_batch(list(outbox.EVENTS), 10)
        vanished = db.session.connection(bind_arguments={"bind": db.engines[POSTS]})
        assert len(held) == 1

        with make_app().app_context():
            eventually(lambda: len(_lock_and_release()) == 1, "another relay takes the event")
        vanished.invalidate()


def _lock_and_release() -> list[Event]:
    taken = outbox.lock_batch(list(outbox.EVENTS), 10)
    db.session.rollback()
    return taken


def test_the_server_watches_for_clients_that_vanish(app):
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")

    values = [execute(POSTS, text(f"SELECT current_setting('{name}')")).scalar_one() for name in names]

    assert values == ["10", "5", "3", "20000"] or values == ["0"] * 4  # the second on a Unix socket


def test_a_pool_that_is_disposed_logs_nothing(app, caplog):
    with caplog.at_level("INFO"):
        db.engines[POSTS].dispose()

    assert caplog.records == []
