"""Migrations on two fresh databases: up, down, up, without drift from the models."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from subprocess import PIPE, STDOUT, Popen

import pytest
from flask import Flask
from flask_migrate import check, downgrade, upgrade
from sqlalchemy import event, text

from app.db.engine import POSTS, USERS, db
from app.posts import counts, follow_indexes
from app.posts.counts import Counts
from app.settings import Settings
from app.users import fold_names
from app.users import indexes as user_indexes
from app.users import service as users
from tests.factories import eventually
from tests.system.conftest import fresh_app
from tests.tools.processes import ROOT, environ_of

TABLES = {
    USERS: {"users", "token_generations", "outbox"},
    POSTS: {
        *("posts", "follows", "blocks", "outbox", "pulled_authors"),
        *("user_counts", "counted_users", "gone_users", "deleted_posts", "feed_seen", "suspended_users"),
    },
}


WITHOUT_LOCALE = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"


@pytest.fixture
def app(postgres_url: str, settings: Settings, request: pytest.FixtureRequest) -> Iterator[Flask]:
    """Provide an application on new databases, created with optional options of CREATE DATABASE."""
    with fresh_app(postgres_url, settings, getattr(request, "param", "")) as app:
        yield app


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


MIGRATION_LOCK = 0x6C656E7461  # of migrations/env.py


def test_of_three_migrations_at_once_each_succeeds(app):
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    environ = environ_of(app.extensions["settings"])
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    with db.engines[USERS].connect() as obstacle:
        obstacle.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        obstacle.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        running = [Popen(command, cwd=ROOT, env=environ, stdout=PIPE, stderr=STDOUT, text=True) for _ in range(3)]
        eventually(lambda: execute(USERS, waiting).scalar_one() == 3, "three migrations that wait", 60)
    outputs = [process.communicate(timeout=180)[0] for process in running]

    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert {bind: tables(bind) for bind in TABLES} == TABLES


def test_a_locked_table_ends_the_migration_with_instructions(app):
    upgrade(revision="0004")
    with db.engines[POSTS].connect() as obstacle:
        obstacle.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        obstacle.execute(text("LOCK TABLE alembic_version"))

        with pytest.raises(SystemExit, match="Nothing was changed: run the migration again"):
            upgrade()


def test_one_database_may_take_longer_than_the_other_may_be_idle(app):
    execute(USERS, "CREATE FUNCTION nap() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.1); END'")
    execute(USERS, "CREATE EVENT TRIGGER slow ON ddl_command_start EXECUTE FUNCTION nap()")
    options = "SET idle_in_transaction_session_timeout = 500"
    event.listen(db.engines[POSTS], "connect", lambda connection, _: connection.cursor().execute(options))

    upgrade()

    assert {bind: tables(bind) for bind in TABLES} == TABLES


def test_what_fails_in_one_database_is_undone_in_both(app):
    execute(POSTS, "CREATE TABLE outbox ()")

    with pytest.raises(Exception, match="outbox"):
        upgrade()

    assert (made(USERS), made(POSTS)) == ([], ["outbox"])


# --- folded names ------------------------------------------------------------------------------------------

OLD_USERS = """
    INSERT INTO users (first_name, second_name, birthdate, biography, city, password_hash)
    SELECT 'ΣΊΣΥΦΟΣ' || n, 'Straße', '1990-01-01', '', '', '' FROM generate_series(1, {}) n
"""
FOLDED = "SELECT first_name_folded, second_name_folded FROM users ORDER BY id"
INDEX = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_users_folded_names')"


@pytest.mark.parametrize("app", ["", WITHOUT_LOCALE], indirect=True, ids=["a locale", "no locale"])
def test_an_upgrade_folds_the_names_of_all_users_who_are_there(app):
    upgrade(revision="0004")
    number = 2 * fold_names.BATCH + 1
    execute(USERS, OLD_USERS.format(number))

    upgrade()

    assert sorted(execute(USERS, FOLDED).all()) == sorted((f"σίσυφοσ{n}", "strasse") for n in range(1, number + 1))
    assert execute(USERS, INDEX).scalar_one() is True
    assert len(users.search("Σίσυφος", "STRASS")) == users.SEARCH_LIMIT


def test_an_upgrade_that_was_interrupted_is_completed_by_the_next(app, monkeypatch):
    upgrade(revision="0004")
    execute(USERS, OLD_USERS.format(2 * fold_names.BATCH))
    fold, names = fold_names.fold, []
    in_a_batch = 2 * fold_names.BATCH  # two names of each user

    def fold_or_end(name):
        names.append(name)
        if len(names) == in_a_batch + 1:
            raise KeyboardInterrupt
        return fold(name)

    monkeypatch.setattr(fold_names, "fold", fold_or_end)
    with pytest.raises(KeyboardInterrupt):
        upgrade()
    before = execute(USERS, FOLDED).all()

    upgrade()

    assert before.count((None, None)) == fold_names.BATCH
    assert len(names) == in_a_batch + 1 + in_a_batch  # the first batch is not folded again
    assert (None, None) not in execute(USERS, FOLDED).all()
    assert execute(USERS, INDEX).scalar_one() is True


@pytest.mark.parametrize(
    ("field", "folded"),
    [("first_name", ("grösse", "strasse")), ("second_name", ("σίσυφοσ1", "grösse"))],  # noqa: RUF001
)
def test_a_name_that_changes_while_names_are_folded_keeps_its_new_folded_form(app, monkeypatch, field, folded):
    upgrade(revision="0006")
    execute(USERS, OLD_USERS.format(1))
    user_id = execute(USERS, "SELECT id FROM users").scalar_one()
    fold = fold_names.fold

    def change_first(name):
        monkeypatch.undo()
        users.update(user_id, {field: "Größe"})
        return fold(name)

    monkeypatch.setattr(fold_names, "fold", change_first)

    upgrade()

    assert execute(USERS, FOLDED).all() == [folded]


def test_a_user_of_whom_one_name_was_folded_is_completed_later(app):
    upgrade()
    execute(USERS, OLD_USERS.format(1))
    users.update(execute(USERS, "SELECT id FROM users").scalar_one(), {"first_name": "Ann"})

    upgrade()

    assert execute(USERS, FOLDED).all() == [("ann", "strasse")]


OF_USERS = ("ix_users_folded_names", "ix_users_username", *user_indexes.INDEXES)
BESIDE_THE_SERVICE = dict.fromkeys(OF_USERS, USERS) | dict.fromkeys(follow_indexes.INDEXES, POSTS)


@pytest.mark.parametrize(("index", "bind"), BESIDE_THE_SERVICE.items())
def test_an_index_that_was_left_half_built_is_built_again(app, index, bind):
    upgrade()
    execute(bind, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass")

    upgrade()

    is_valid = f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{index}')"
    assert execute(bind, is_valid).scalar_one() is True


def test_the_indexes_of_follows_are_built_while_others_write(app):
    upgrade()  # a later migration takes the lock of the table, which this writer holds
    execute(POSTS, f"DROP INDEX {', '.join(follow_indexes.INDEXES)}")
    with db.engines[POSTS].connect() as writer:
        writer.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        writer.execute(text("INSERT INTO follows (follower_id, followee_id) VALUES (1, 2)"))
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
        running = Popen(command, cwd=ROOT, env=environ_of(app.extensions["settings"]), stdout=PIPE, stderr=STDOUT)
        building = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        building += "AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'"
        eventually(lambda: execute(POSTS, building).scalar_one() == 1, "an index that waits for the writer")

        execute(POSTS, "SET LOCAL lock_timeout = '1s'; INSERT INTO follows (follower_id, followee_id) VALUES (2, 1)")
        writer.commit()
    output = running.communicate(timeout=180)[0]

    assert running.returncode == 0, output
    valid = "SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid = 'follows'::regclass"
    assert execute(POSTS, valid).scalar_one() == 4


def test_an_upgrade_leaves_the_users_who_are_there_without_usernames(app):
    upgrade(revision="0011")
    execute(USERS, OLD_USERS.format(2))

    upgrade()

    assert execute(USERS, "SELECT username FROM users").scalars().all() == [None, None]
    assert execute(USERS, "SELECT indisunique FROM pg_index WHERE indexrelid = 'ix_users_username'::regclass").scalar()


def test_a_downgrade_drops_the_indexes_of_search_in_one_box(app):
    upgrade()

    downgrade(revision="0012")

    assert not set(made(USERS)) & set(user_indexes.INDEXES)


def test_a_downgrade_drops_the_indexes_of_follows_by_time(app):
    upgrade()

    downgrade(revision="0006")

    assert not set(made(POSTS)) & set(follow_indexes.INDEXES)


# --- counts ------------------------------------------------------------------------------------------------

EXISTING = """
    INSERT INTO follows (follower_id, followee_id) SELECT n, 1 FROM generate_series(2, 2500) n;
    INSERT INTO posts (author_id, text) SELECT n, 'old' FROM generate_series(2400, 2600) n
"""
COUNTED = [(1, Counts(2499, 0, 0)), (2, Counts(0, 1, 0)), (2500, Counts(0, 1, 1)), (2600, Counts(0, 0, 1))]


def counted():
    found = [(user_id, counts.of_user(user_id)) for user_id, _ in COUNTED]
    db.session.commit()
    return found


def test_an_upgrade_counts_what_is_there(app):
    upgrade(revision="0009")
    execute(POSTS, EXISTING)

    upgrade()

    assert counted() == COUNTED
    assert counts.counted_up_to() == counts.MAX_ID
    assert [part.missing for part in counts.compare()] == [{}] * 3


def test_counts_are_exact_while_an_upgrade_counts_and_after_it_was_interrupted(app, monkeypatch):
    upgrade(revision="0009")
    execute(POSTS, EXISTING)
    following, seen = counts.execute, []

    def look_and_write(bind, statement, parameters=None):
        if statement is counts._MEND_AND_MOVE:
            monkeypatch.undo()
            seen.append(counted())
            execute(POSTS, f"INSERT INTO follows (follower_id, followee_id) VALUES ({len(seen)}, 2600)")
            execute(POSTS, f"DELETE FROM follows WHERE follower_id = {len(seen)}")
            monkeypatch.setattr(counts, "execute", look_and_write)
            if len(seen) == 2:
                raise KeyboardInterrupt
        return following(bind, statement, parameters)

    monkeypatch.setattr(counts, "execute", look_and_write)
    with pytest.raises(KeyboardInterrupt):
        upgrade()
    monkeypatch.undo()
    with_one_less = counted()

    upgrade()

    assert seen[0] == COUNTED
    assert seen[1] == COUNTED
    assert with_one_less == counted() == [(1, Counts(2498, 0, 0)), (2, Counts(0, 0, 0)), *COUNTED[2:]]
    assert all(part.missing == {} for part in counts.compare())


def test_users_without_folded_names_are_found_and_folded_later(app):
    upgrade()
    execute(USERS, OLD_USERS.format(1))
    execute(USERS, "UPDATE users SET first_name = 'Ann', second_name = 'Lee'")
    found = users.search("ANN", "LE")

    upgrade()

    assert len(found) == 1
    assert execute(USERS, FOLDED).all() == [("ann", "lee")]


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
        *((USERS, f"DROP INDEX {index}") for index in OF_USERS),
        (USERS, "ALTER TABLE users DROP COLUMN username CASCADE"),
        (POSTS, "ALTER TABLE posts ADD COLUMN likes integer"),
        (POSTS, "ALTER TABLE posts ALTER COLUMN version TYPE bigint"),
        (POSTS, "DROP INDEX ix_follows_followee_id_follower_id"),
        *((POSTS, f"DROP INDEX {index}") for index in follow_indexes.INDEXES),
        (POSTS, "DROP TABLE follows CASCADE"),
        (POSTS, "CREATE TABLE stray (id bigint PRIMARY KEY)"),
    ],
)
def test_drift_is_found_in_either_database(app, bind, statement):
    upgrade()
    execute(bind, statement)

    with drift_found():
        check()


# --- results of the migrations ------------------------------------------------------------------------------


@pytest.mark.parametrize("bind", [USERS, POSTS])
def test_an_insert_into_an_outbox_notifies_only_for_the_version_before(app, bind):
    upgrade()
    with closing(db.engines[bind].raw_connection()) as connection:
        cursor = connection.cursor()
        cursor.execute("LISTEN outbox")
        connection.commit()

        def notices_of_an_insert(options):
            cursor.execute(f"{options}; INSERT INTO outbox (event, payload) VALUES ('post_created', '{{}}')")
            connection.commit()
            cursor.execute("SELECT 1")  # what this session is told comes before the reply
            return [notice.channel for notice in connection.notifies]

        assert notices_of_an_insert("SELECT") == []
        assert notices_of_an_insert("RESET lenta.wakes_relay") == ["outbox"]
