"""Databases that the service cannot work on are named at the start, in one line."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg2
import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from app.db import requirements
from app.db.engine import POSTS, USERS, db
from app.factory import create_app
from app.redis.client import close
from app.settings import Settings
from local.ports import free_port
from tests.factories import Factory, eventually
from tests.system.conftest import fresh_app
from tests.tools.processes import Process, Web
from workers.cli import commands

SQL_ASCII = "TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
LATIN1 = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
UTF8_WITHOUT_LOCALE = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"


@pytest.fixture
def app(postgres_url: str, settings: Settings, request: pytest.FixtureRequest) -> Iterator[Flask]:
    """Provide an application on new databases, created with optional options of CREATE DATABASE."""
    with fresh_app(postgres_url, settings, getattr(request, "param", "")) as app:
        commands.init_app(app)
        yield app


@pytest.fixture
def other(app: Flask):
    """Makes an application on the same databases, with other settings."""
    made = []

    def make(**changes: str) -> Flask:
        made.append(create_app(replace(app.extensions["settings"], **changes)))
        commands.init_app(made[-1])
        return made[-1]

    yield make
    for one in made:
        with one.app_context():
            for engine in db.engines.values():
                engine.dispose()
        close(one)


def run(app: Flask, *arguments: str) -> str:
    """The output of a command, which must fail."""
    with app.app_context():
        result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 1, result.output
    return result.output


def set_read_only(app: Flask, value: str) -> None:
    with psycopg2.connect(app.extensions["settings"].posts_database_url) as connection:
        name = connection.info.dbname
    connection.close()
    with psycopg2.connect(app.extensions["settings"].users_database_url) as connection:
        connection.cursor().execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
    connection.close()


def exchanged(app: Flask) -> dict[str, str]:
    settings = app.extensions["settings"]
    return {"users_database_url": settings.posts_database_url, "posts_database_url": settings.users_database_url}


# --- by commands and /health/ready ---------------------------------------------------------------------------


@pytest.mark.parametrize("app", [SQL_ASCII, LATIN1], indirect=True)
def test_another_encoding_is_named_before_anything_is_migrated(app):
    line = f"the users database has the encoding {encoding(app)}, but UTF8 is required"

    assert line in run(app, "db", "upgrade")
    assert line in run(app, "wait-for-services", "--timeout", "0", "--for", "databases")
    assert line in app.test_client().get("/health/ready").json["databases"]["users"]["status"]
    assert app.test_client().get("/health/ready").status_code == 503
    with db.engines[USERS].connect() as connection:
        assert connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None


def encoding(app: Flask) -> str:
    with db.engines[USERS].connect() as connection:
        return connection.execute(text("SHOW server_encoding")).scalar_one()


@pytest.mark.parametrize("app", [UTF8_WITHOUT_LOCALE], indirect=True)
def test_any_locale_will_do(app):
    upgrade()
    world = Factory()
    author = world.person(first_name="Łucja", second_name="Ящерица")
    world.post(author, "日本語 🙂")

    assert app.test_client().get("/health/ready").status_code == 200


def test_one_database_for_both_is_named(app, other):
    same = other(posts_database_url=app.extensions["settings"].users_database_url)

    line = "USERS_DATABASE_URL and POSTS_DATABASE_URL name the same database: two are required"
    assert line in run(same, "db", "upgrade")
    assert line in run(same, "wait-for-services", "--timeout", "0", "--for", "databases")


def test_databases_that_are_exchanged_are_named(app, other):
    upgrade()
    wrong = other(**exchanged(app))

    line = "the users database contains posts: USERS_DATABASE_URL and POSTS_DATABASE_URL are swapped"
    assert line in run(wrong, "db", "upgrade")
    assert line in run(wrong, "wait-for-services", "--timeout", "0", "--for", "databases")
    assert wrong.test_client().get("/health/ready").status_code == 503


def test_a_read_only_database_is_named(app):
    upgrade()
    set_read_only(app, "on")

    assert "posts: the database is read-only" in run(app, "db", "upgrade")
    assert "posts: the database is read-only" in run(app, "wait-for-services", "--timeout", "0", "--for", "databases")


def test_a_server_that_is_too_old_is_named(app, monkeypatch):
    monkeypatch.setattr(requirements, "OLDEST_VERSION", 99)

    assert "but 99 or newer is required" in run(app, "db", "upgrade")


def test_a_database_that_does_not_answer_is_named(app, other):
    away = other(posts_database_url="postgresql://127.0.0.1:1/lenta_posts")

    assert "Nothing was migrated: posts: Connection refused" in run(away, "db", "upgrade")


def test_texts_of_every_alphabet_are_kept_whatever_the_client_encoding(app, monkeypatch):
    upgrade()
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    for bind in (USERS, POSTS):
        with db.engines[bind].begin() as connection:
            connection.execute(text(f"ALTER DATABASE {connection.engine.url.database} SET client_encoding = 'LATIN1'"))
        db.engines[bind].dispose()
    world = Factory()

    post = world.post(world.person(first_name="Ящерица"), "日本語 🙂")

    with db.engines[POSTS].connect() as connection:
        query = text("SELECT text FROM posts WHERE id = :id")
        assert connection.execute(query, {"id": post}).scalar_one() == "日本語 🙂"


# --- by the services -----------------------------------------------------------------------------------------


def services(app: Flask) -> Settings:
    return replace(app.extensions["settings"], port=free_port(), metrics_port=0, web_workers=1)


WEB = ("gunicorn", "wsgi:app")
WORKER = ("dramatiq", "workers.main", "--processes", "1", "--threads", "1")


@pytest.mark.parametrize("command", [WEB, WORKER])
@pytest.mark.parametrize("app", [SQL_ASCII], indirect=True)
def test_neither_web_nor_worker_starts_on_an_unsuitable_database(app, tmp_path, command):
    process = Process(list(command), services(app), tmp_path / "log")
    try:
        eventually(lambda: not process.is_running(), "it ends", 60)
    finally:
        process.stop()

    lines = (tmp_path / "log").read_text().splitlines()
    assert len([line for line in lines if "The databases cannot be used: the users database has the" in line]) == 1
    assert not any("Traceback" in line for line in lines)


def test_the_web_starts_on_a_database_that_is_read_only_for_now(app, tmp_path):
    upgrade()
    set_read_only(app, "on")

    web = Web(services(app), tmp_path / "log")
    try:
        web.wait()
    finally:
        web.stop()

    assert "the databases could not be checked: posts: the database is read-only" in web.log.read_text()
