"""Migrations on two fresh databases: up, down, up, and what the models say; and the ids that the databases make."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from time import time
from uuid import uuid4

import psycopg2
import pytest
from flask import Flask
from flask_migrate import check, downgrade, upgrade
from sqlalchemy import text

from app import create_app
from app.db import POSTS, USERS, db
from app.redis import hang_up
from app.settings import Settings
from tests.world import eventually

TABLES = {USERS: {"users"}, POSTS: {"posts", "follows", "outbox", "pulled_authors"}}
ID_EPOCH_MS = 1_288_834_974_657  # 2010-11-04T01:42:54.657Z


@pytest.fixture
def app(postgres_url: str, settings: Settings) -> Iterator[Flask]:
    """An application on two databases that are empty and its own, in whose context the test runs."""
    names = {bind: f"lenta_test_fresh_{bind}_{uuid4().hex[:8]}" for bind in (USERS, POSTS)}
    server = psycopg2.connect(postgres_url.format("postgres"))
    server.autocommit = True
    for name in names.values():
        server.cursor().execute(f"CREATE DATABASE {name}")
    urls = {f"{bind}_database_url": postgres_url.format(name) for bind, name in names.items()}
    app = create_app(replace(settings, **urls))
    app.testing = True
    with app.app_context():
        yield app
        for engine in db.engines.values():
            engine.dispose()
    hang_up(app)
    for name in names.values():
        server.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()


def execute(bind, statement):
    with db.engines[bind].begin() as connection:
        return connection.execute(text(statement))


def made(bind):
    """All tables, sequences, indexes, functions and triggers of a database."""
    query = """
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
    """
    with db.engines[bind].connect() as connection:
        return sorted(connection.execute(text(query)).scalars())


def tables(bind):
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with db.engines[bind].connect() as connection:
        return set(connection.execute(text(query)).scalars()) - {"alembic_version"}


@contextmanager
def drift_found() -> Iterator[None]:
    """flask_migrate says so in the log, and exits."""
    with pytest.raises(SystemExit):
        yield


# --- up and down -------------------------------------------------------------------------------------------


def test_up_makes_each_table_in_its_database(app):
    upgrade()

    assert {bind: tables(bind) for bind in TABLES} == TABLES


def test_down_leaves_nothing_but_alembics_own_table(app):
    upgrade()

    downgrade(revision="base")

    assert made(USERS) == made(POSTS) == ["alembic_version", "alembic_version_pkc"]


def test_up_after_down_makes_the_same_again(app):
    upgrade()
    first = {bind: made(bind) for bind in TABLES}
    downgrade(revision="base")

    upgrade()

    assert {bind: made(bind) for bind in TABLES} == first


def test_up_twice_changes_nothing_and_loses_nothing(app):
    upgrade()
    execute(POSTS, "INSERT INTO posts (author_id, text) VALUES (1, 'kept')")

    upgrade()

    assert execute(POSTS, "SELECT text FROM posts").scalar_one() == "kept"


def test_what_fails_in_one_database_is_undone_in_both(app):
    execute(POSTS, "CREATE TABLE outbox ()")

    with pytest.raises(Exception, match="outbox"):
        upgrade()

    assert (made(USERS), made(POSTS)) == ([], ["outbox"])


# --- drift -------------------------------------------------------------------------------------------------


def test_the_models_say_what_the_migrations_make(app):
    upgrade()

    check()


@pytest.mark.parametrize(
    ("bind", "statement"),
    [
        (USERS, "ALTER TABLE users ADD COLUMN nickname text"),
        (USERS, "ALTER TABLE users ALTER COLUMN city DROP NOT NULL"),
        (USERS, "DROP INDEX ix_users_names"),
        (POSTS, "ALTER TABLE posts ADD COLUMN likes integer"),
        (POSTS, "ALTER TABLE posts ALTER COLUMN version TYPE bigint"),
        (POSTS, "DROP INDEX ix_follows_followee_id_follower_id"),
        (POSTS, "DROP TABLE follows"),
        (POSTS, "CREATE TABLE stray (id bigint PRIMARY KEY)"),
    ],
)
def test_drift_is_found_in_either_database(app, bind, statement):
    upgrade()
    execute(bind, statement)

    with drift_found():
        check()


# --- what the migrations make ------------------------------------------------------------------------------


def test_an_insert_into_the_outbox_notifies_its_channel(app):
    upgrade()
    listener = db.engines[POSTS].raw_connection()
    listener.cursor().execute("LISTEN outbox")
    listener.commit()

    execute(POSTS, "INSERT INTO outbox (event, payload) VALUES ('post_created', '{}')")

    def notified():
        listener.poll()
        return [notice.channel for notice in listener.notifies] == ["outbox"]

    eventually(notified, "the notification", seconds=5)
    listener.close()


@pytest.mark.parametrize("bind", TABLES)
def test_ids_have_19_digits_and_the_time_in_milliseconds(app, bind):
    upgrade()
    before = time() * 1000

    made_id = execute(bind, "SELECT next_id()").scalar_one()

    assert len(str(made_id)) == 19
    assert before - 3000 < (made_id >> 22) + ID_EPOCH_MS < time() * 1000 + 3000


@pytest.mark.parametrize("bind", TABLES)
def test_an_id_made_in_a_later_millisecond_is_larger(app, bind):
    upgrade()
    one_at_a_time = text("SELECT next_id()")
    ids = []

    with db.engines[bind].connect() as connection:
        while len(ids) < 200:
            newest = connection.execute(one_at_a_time).scalar_one()
            if not ids or newest >> 22 > ids[-1] >> 22:
                ids.append(newest)

    assert ids == sorted(set(ids))


@pytest.mark.parametrize("bind", TABLES)
def test_10000_ids_made_by_four_connections_at_once_are_distinct(app, bind):
    upgrade()
    engine = db.engines[bind]

    def make(_):
        with engine.connect() as connection:
            return list(connection.execute(text("SELECT next_id() FROM generate_series(1, 2500)")).scalars())

    with ThreadPoolExecutor(4) as threads:
        ids = [made_id for part in threads.map(make, range(4)) for made_id in part]

    assert len(set(ids)) == 10_000
