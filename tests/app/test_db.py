"""Connections of the pool."""

from contextlib import closing

import psycopg2
from sqlalchemy import text

from app.db import POSTS, USERS, commit, run


def test_a_connection_that_the_server_has_closed_is_replaced_before_it_is_used(app):
    """As each is when PostgreSQL was restarted."""
    old = [_backend(bind) for bind in (USERS, POSTS)]
    commit()  # they are back in the pool

    with closing(psycopg2.connect(app.extensions["settings"].users_database_url)) as other:
        for pid in old:
            other.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", [pid])  # and it is closed when this ends
    new = [_backend(bind) for bind in (USERS, POSTS)]

    assert not set(old).intersection(new)


def test_a_connection_is_used_again(app):
    first = _backend(POSTS)
    commit()

    assert _backend(POSTS) == first


def _backend(bind: str) -> int:
    """The server's process for the session's connection."""
    return run(bind, text("SELECT pg_backend_pid()")).scalar_one()
