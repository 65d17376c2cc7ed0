"""The command wait-for-services: waits for the named services, and reports them."""

from dataclasses import replace
from time import monotonic, sleep

import psycopg2
import pytest
from flask import Flask

from app.db.engine import db
from app.factory import create_app
from app.redis.client import close
from tests.tools.chaos.servers import proxy_to, through
from workers.cli import commands
from workers.cli import wait as waiting

PATIENT, AS_IT_IS = 20.0, waiting.DATABASE_SECONDS  # a database that is there may be slow while other tests run


@pytest.fixture
def wait(settings, _migrated, monkeypatch):
    """Runs the command on an application with other settings."""
    monkeypatch.setattr(waiting, "DATABASE_SECONDS", PATIENT)

    def run(*arguments, exit_code, **changes):
        app: Flask = create_app(replace(settings, **changes))
        commands.init_app(app)
        with app.app_context():
            result = app.test_cli_runner().invoke(args=["wait-for-services", *arguments])
            for engine in db.engines.values():
                engine.dispose()
        close(app)
        assert result.exit_code == exit_code, (result.output, result.exception)
        return result.output

    return run


def test_what_is_there_is_not_waited_for(wait, broker_url):
    started = monotonic()

    output = wait(exit_code=0, broker_url=broker_url)

    assert [line.split(":")[0] for line in output.splitlines()] == ["databases", "redis", "broker", "migrations"]
    assert monotonic() - started < 10


def test_it_waits_until_the_broker_is_there_and_goes_on_at_once(wait, rabbitmq_url, behind, monkeypatch):
    proxy, url = behind(rabbitmq_url)
    proxy.refuse()

    def restore_and_sleep(seconds):
        proxy.restore()
        sleep(seconds)

    monkeypatch.setattr(waiting, "sleep", restore_and_sleep)

    output = wait("--for", "broker", exit_code=0, broker_url=url)

    assert "broker: waiting" in output
    assert "broker: available after" in output


def test_at_the_deadline_it_names_what_is_missing_and_why(wait, broker_url):
    output = wait("--timeout", "1", exit_code=1, broker_url=f"{broker_url.split(':')[0]}://127.0.0.1:1/")

    missing = output[output.index("not available after 1 s") :]
    assert "broker: " in missing
    assert "refused" in missing
    assert "redis" not in missing


def test_only_what_is_asked_for_is_waited_for(wait):
    output = wait("--for", "databases,redis", exit_code=0, broker_url="amqp://127.0.0.1:1/")

    assert "broker" not in output


def test_a_frozen_database_is_not_waited_for_without_end(wait, settings, monkeypatch):
    monkeypatch.setattr(waiting, "DATABASE_SECONDS", AS_IT_IS)
    proxy = proxy_to(settings.posts_database_url, 5432)
    proxy.freeze()
    started = monotonic()

    url = through(settings.posts_database_url, proxy)
    output = wait("--timeout", "1", "--for", "databases", exit_code=1, posts_database_url=url)

    assert monotonic() - started < 10
    assert "posts" in output
    proxy.close()


@pytest.mark.parametrize(("revision", "exit_code"), [("0001", 1), ("of_a_newer_version", 0)])
def test_migrations_are_there_at_the_newest_revision_or_a_newer_one(wait, settings, revision, exit_code):
    with psycopg2.connect(settings.users_database_url) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT version_num FROM alembic_version")
        [newest] = cursor.fetchone()
        cursor.execute("UPDATE alembic_version SET version_num = %s", (revision,))
        connection.commit()

        try:
            output = wait("--timeout", "0", "--for", "migrations", exit_code=exit_code)
        finally:
            cursor.execute("UPDATE alembic_version SET version_num = %s", (newest,))
    connection.close()

    assert exit_code == 0 or f"the users database is at revision 0001, {newest} is required" in output


def test_a_database_that_was_never_migrated_is_named(wait, postgres_url):
    output = wait(
        "--timeout", "0", "--for", "migrations", exit_code=1, posts_database_url=postgres_url.format("postgres")
    )

    assert "the posts database is at revision none" in output


def test_a_service_that_there_is_not_is_named(wait):
    assert "no such service: rabbit; choose from databases" in wait("--for", "rabbit", exit_code=2)
