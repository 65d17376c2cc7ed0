"""Connections of the pool."""

from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from app.db import POSTS, USERS, commit, db, is_away, run


def test_a_connection_that_the_server_has_closed_is_replaced_before_it_is_used(app):
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

    assert is_away(caught.value)


def test_a_connection_is_used_again(app):
    first = _backend(POSTS)
    commit()

    assert _backend(POSTS) == first


def _backend(bind: str) -> int:
    """The server's process for the session's connection."""
    return run(bind, text("SELECT pg_backend_pid()")).scalar_one()
