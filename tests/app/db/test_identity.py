"""The posts database tells which server and timeline it is, or the service does without."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest
from flask import Flask

from app.db import identity
from app.db.engine import POSTS, db
from app.feed.maintenance import failover, trust
from tests.conftest import RUN

ROLE = f"plain_{RUN}"
FUNCTIONS = ("pg_control_system()", "pg_walfile_name(pg_lsn)")


@pytest.fixture
def app_of_a_plain_role(databases: dict[str, str], make_app: Callable[..., Flask]) -> Iterator[Flask]:
    """Use the posts database as an ordinary role, which may lose rights."""
    url = urlsplit(databases[POSTS])
    plain = url._replace(netloc=f"{ROLE}@{url.netloc.rpartition('@')[2]}").geturl()
    with closing(psycopg2.connect(databases[POSTS])) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE ROLE {ROLE} LOGIN IN ROLE pg_read_all_data, pg_write_all_data")
    app = make_app(posts_database_url=plain)
    with app.app_context():
        yield app
        for engine in db.engines.values():
            engine.dispose()
    with closing(psycopg2.connect(databases[POSTS])) as connection:
        connection.autocommit = True
        for function in FUNCTIONS:
            connection.cursor().execute(f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC")
        connection.cursor().execute(f"DROP ROLE {ROLE}")


def revoke(url: str, function: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")


def test_an_ordinary_role_reads_system_and_timeline(app_of_a_plain_role):
    assert re.fullmatch(r"sql:\d{15,}:[0-9A-F]{8}", identity.of_posts().ask())


def test_a_role_without_the_system_identifier_reads_the_timeline(app_of_a_plain_role, databases):
    revoke(databases[POSTS], "pg_control_system()")

    assert re.fullmatch(r"sql:unknown:[0-9A-F]{8}", identity.of_posts().ask())


def test_a_server_that_tells_nothing_costs_one_warning_and_only_that(app_of_a_plain_role, databases, caplog):
    failover.check()
    for function in FUNCTIONS:
        revoke(databases[POSTS], function)

    found = [identity.of_posts().ask() for _ in range(2)]

    assert found == [None, None]
    assert caplog.text.count("PostgreSQL does not tell its timeline") == 1
    assert not failover.check()
    assert "sql:unknown" in trust.identities()


def test_a_server_that_is_away_is_unknown_for_now(make_app, databases, caplog):
    away = make_app(posts_database_url="postgresql://postgres@127.0.0.1:1/none")

    with away.app_context():
        found = identity.of_posts().ask()

    assert found is None
    assert "does not tell" not in caplog.text


def test_it_is_asked_again_after_a_new_connection_or_some_seconds(app, monkeypatch):
    asked = []
    one = identity.of_posts()
    monkeypatch.setattr(one, "_fetch", lambda: asked.append(1) or "sql:1:00000001")
    one.current()
    one.current()
    once = len(asked)
    db.engines[POSTS].dispose()
    with db.engines[POSTS].connect():
        one.current()
    twice = len(asked)
    monkeypatch.setattr(identity, "monotonic", lambda: float("inf"))
    one.current()

    assert (once, twice, len(asked)) == (1, 2, 3)


@pytest.mark.parametrize("silent", [False, True])
def test_pooled_connections_to_another_server_are_dropped(app, monkeypatch, silent):
    one = identity.of_posts()
    one.ask()
    if silent:  # during the failover
        monkeypatch.setattr(one, "_fetch", lambda: None)
        one.ask()
    with db.engines[POSTS].connect():
        pass
    before = db.engines[POSTS].pool.checkedin()
    monkeypatch.setattr(one, "_fetch", lambda: "sql:1:00000009")

    one.ask()

    assert (before, db.engines[POSTS].pool.checkedin()) == (1, 0)
