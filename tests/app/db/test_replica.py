"""Reads from a streaming replica only if it is not behind. Starts a primary and a replica."""

import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import event, text

from app.auth.tokens import issue_token
from app.db import replica
from app.db.engine import POSTS, READS, REPLICA, USERS, db, execute
from app.feed.deliver import deliver
from app.feed.maintenance import warm
from app.feed.rebuild import rebuild_or_raise
from app.posts import service as posts
from app.redis import circuit_breaker
from local.services import DATABASES, PostgreSQL, start_postgresql
from tests.conftest import clean
from tests.factories import Factory, eventually
from tests.tools.postgres_replica import ask, copy_of
from tests.tools.proxy import Proxy

USERS_DATABASE, POSTS_DATABASE = DATABASES


@pytest.fixture(scope="session")
def primary(folder: Path) -> Iterator[PostgreSQL]:
    server = start_postgresql(folder / "primary")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_replica(primary: PostgreSQL, folder: Path) -> Iterator[PostgreSQL]:
    server = copy_of(primary, folder / "replica")
    ask(server, "ALTER SYSTEM SET max_standby_streaming_delay = '100ms'")
    ask(server, "SELECT pg_reload_conf()")
    yield server
    server.stop()


@pytest.fixture
def own_replica(primary: PostgreSQL, folder: Path) -> Iterator[PostgreSQL]:
    """A replica that a test may break."""
    path = folder / "own-replica"
    server = copy_of(primary, path)
    yield server
    server.stop()
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a replica that is not paused catch up, also on a slow machine."""
    monkeypatch.setattr(replica, "WAIT_SECONDS", 1.0)


@pytest.fixture
def make_replicated(primary: PostgreSQL, make_app: Callable[..., Flask]) -> Iterator[Callable[[str], Flask]]:
    """Provide an application context on the primary and this replica."""
    contexts = []

    def make(replica_url: str, **changes: Any) -> Flask:
        app = make_app(
            **{
                "users_database_url": primary.url(USERS_DATABASE),
                "posts_database_url": primary.url(POSTS_DATABASE),
                "posts_replica_url": replica_url,
            }
            | changes
        )
        contexts.append(app.app_context())
        contexts[-1].push()
        upgrade()
        clean(app)
        return app

    yield make
    for context in reversed(contexts):
        context.pop()


@pytest.fixture
def app(shared_replica: PostgreSQL, make_replicated: Callable[[str], Flask]) -> Iterator[Flask]:
    app = make_replicated(shared_replica.url(POSTS_DATABASE))
    yield app
    resume(shared_replica)


def pause(server: PostgreSQL) -> None:
    ask(server, "SELECT pg_wal_replay_pause()")
    eventually(lambda: ask(server, "SELECT pg_get_wal_replay_pause_state()") == ("paused",), "replay is paused")


def resume(server: PostgreSQL) -> None:
    if ask(server, "SELECT pg_is_wal_replay_paused()") == (True,):
        ask(server, "SELECT pg_wal_replay_resume()")


def catch_up() -> None:
    eventually(lambda: replica.state(30) == replica.CURRENT, "the replica caught up")
    eventually(lambda: not replica.breaker().is_open, "it is asked again")


@pytest.fixture
def without_waiting(app: Flask, primary: PostgreSQL) -> Iterator[None]:
    """The database is told that a commit need not wait for the disk."""
    ask(primary, f"ALTER DATABASE {POSTS_DATABASE} SET synchronous_commit = off")
    for bind in (POSTS, READS):
        db.engines[bind].dispose()
    yield
    ask(primary, f"ALTER DATABASE {POSTS_DATABASE} RESET synchronous_commit")


@pytest.fixture
def readings(app: Flask) -> list[str]:
    """Which server was read follows from, each time."""
    return noted(app)


def noted(app: Flask) -> list[str]:
    asked: list[str] = []
    for bind in (READS, REPLICA):

        def note(*arguments: Any, bind: str = bind) -> None:
            if re.search("FROM (effective_)?follows", arguments[2]) and "DELETE" not in arguments[2]:
                asked.append(bind)

        event.listen(db.engines[bind], "before_cursor_execute", note)
    return asked


def test_a_current_replica_serves_rebuilds_warming_and_pages_from_sql(app, world, readings):
    author, reader, other = world.people(3)
    world.follow(reader, author)
    world.follow(other, author)
    written = world.posts(author, 3)
    catch_up()

    rebuild_or_raise(reader)
    warm.warm("run", [other])
    page = app.test_client().get(f"/post/feed?before={written[2]}", headers={"X-Auth": issue_token(reader)})

    assert world.feed(reader) == world.feed(other) == [*reversed(written), 0]
    assert [post["id"] for post in page.json] == [str(written[1]), str(written[0])]
    assert set(readings) == {REPLICA}


def test_what_is_waited_for_at_most_a_moment_is_read_from_the_replica(world, readings):
    author, reader = world.people(2)
    world.follow(reader, author)
    post = world.post(author)

    rebuild_or_raise(reader)  # at once, while the replica is receiving it

    assert world.feed(reader) == [post, 0]
    assert len(readings) == 1


def test_a_replica_that_is_behind_undoes_no_follow_unfollow_post_or_delete(world, readings, shared_replica):
    kept, left, found, reader = world.people(4)
    world.follow(reader, kept, left)
    deleted, lost = world.post(kept), world.post(left)
    catch_up()
    pause(shared_replica)

    world.follow(reader, found)
    posts.unfollow(reader, left)
    new, gained = world.post(kept), world.post(found)
    posts.delete(deleted, kept)
    rebuild_or_raise(reader)
    at_once = world.feed(reader)
    resume(shared_replica)
    catch_up()
    rebuild_or_raise(reader)

    assert at_once == [gained, new, 0]
    assert world.feed(reader) == [gained, new, 0]
    assert lost not in at_once
    assert readings == [READS, REPLICA]


def test_a_pushed_post_is_not_lost_to_a_replica_that_lacks_it(world, shared_replica):
    author, reader = world.people(2)
    world.follow(reader, author)
    catch_up()
    rebuild_or_raise(reader)
    pause(shared_replica)
    post = world.post(author)
    deliver("push", post, author, [reader])

    rebuild_or_raise(reader)

    assert world.feed(reader) == [post, 0]


def test_what_is_committed_without_waiting_for_the_disk_is_covered_too(world, without_waiting):
    author, reader = world.people(2)
    world.follow(reader, author)
    catch_up()

    written = world.posts(author, 1)
    rebuild_or_raise(reader)

    assert world.feed(reader) == [*written, 0]


def test_asynchronous_commits_of_the_relay_do_not_rule_out_a_replica(world, readings):
    author, reader = world.people(2)
    world.follow(reader, author)
    catch_up()

    execute(POSTS, text("SET LOCAL synchronous_commit = off"))
    world.events()  # are deleted
    rebuild_or_raise(reader)

    assert readings == [REPLICA]


def test_a_lagging_replica_is_waited_for_once_and_then_spared(world, shared_replica, readings, monkeypatch):
    author, reader = world.people(2)
    world.follow(reader, author)
    pause(shared_replica)
    world.post(author)

    now = monotonic()
    with monkeypatch.context() as standing:
        standing.setattr(circuit_breaker, "monotonic", lambda: now)  # it is open for a second
        rebuild_or_raise(reader)
        is_open = replica.breaker().is_open
    resume(shared_replica)
    catch_up()
    rebuild_or_raise(reader)

    assert is_open
    assert readings == [READS, REPLICA]


def test_a_read_that_the_replica_cancels_is_done_by_the_primary(world, primary, caplog):
    author, reader = world.people(2)
    world.follow(reader, author)
    catch_up()

    def read() -> int:
        if execute(POSTS, text("SELECT pg_is_in_recovery()")).scalar_one():
            execute(POSTS, text("SELECT count(*) FROM follows"))
            ask(primary, "ALTER TABLE follows ALTER created_at SET DEFAULT now()")  # needs the whole table's lock
            execute(POSTS, text("SELECT pg_sleep(30)"))
        return int(execute(POSTS, text("SELECT count(*) FROM follows")).scalar_one())

    assert replica.read_fresh(read) == 1
    assert "conflict with recovery" in caplog.text


def test_a_replica_that_died_costs_nothing_but_its_help(own_replica, make_replicated):
    app = make_replicated(own_replica.url(POSTS_DATABASE))
    world, asked = Factory(), noted(app)
    author, reader = world.people(2)
    world.follow(reader, author)
    catch_up()
    rebuild_or_raise(reader)
    os.killpg(own_replica.process.pid, signal.SIGKILL)
    post = world.post(author)

    rebuild_or_raise(reader)
    ready = app.test_client().get("/health/ready")

    assert world.feed(reader) == [post, 0]
    assert asked == [REPLICA, READS]
    assert (ready.status_code, ready.json["status"]) == (200, "ready")
    assert ready.json["databases"][REPLICA]["status"].startswith("down: ")


def test_a_frozen_replica_is_hung_up_on(shared_replica, make_replicated, monkeypatch):
    parts = urlsplit(shared_replica.url(POSTS_DATABASE))
    proxy = Proxy(parse_qs(parts.query)["host"][0], 5432)
    app = make_replicated(f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}")
    world, asked = Factory(), noted(app)
    author, reader = world.people(2)
    world.follow(reader, author)
    catch_up()
    rebuild_or_raise(reader)

    proxy.freeze()
    monkeypatch.setattr(replica, "READ_SECONDS", 0.5)
    rebuild_or_raise(reader)
    ready = app.test_client().get("/health/ready")
    proxy.close()

    assert asked == [REPLICA, READS]
    assert (ready.status_code, ready.json["databases"][REPLICA]["status"]) == (200, "down: OperationalError")


def test_a_replica_that_has_failed_is_tried_by_one_thread_at_a_time(app):
    breaker = replica.breaker()
    breaker.failed = True

    with breaker.allow_one() as first, breaker.allow_one() as second:
        assert (first, second) == (True, False)
    with breaker.allow_one() as third:
        assert third


def test_a_replica_that_was_promoted_is_not_trusted(own_replica, make_replicated):
    app = make_replicated(own_replica.url(POSTS_DATABASE))
    world, asked = Factory(), noted(app)
    author, reader = world.people(2)
    world.follow(reader, author)
    ask(own_replica, "SELECT pg_promote()")

    rebuild_or_raise(reader)

    assert asked == [READS]
    assert replica.state(30) == replica.WRONG_PRIMARY


def test_a_replica_of_another_server_is_not_trusted(shared_replica, databases, make_replicated):
    app = make_replicated(
        shared_replica.url(POSTS_DATABASE), users_database_url=databases[USERS], posts_database_url=databases[POSTS]
    )
    world, asked = Factory(), noted(app)

    rebuild_or_raise(world.person())

    assert asked == [READS]
    assert replica.state(30) == replica.WRONG_PRIMARY


def test_ready_tells_how_the_replica_is(app, world, shared_replica):
    catch_up()
    current = app.test_client().get("/health/ready")
    pause(shared_replica)
    world.person()
    behind = app.test_client().get("/health/ready")

    assert (current.status_code, current.json["databases"][REPLICA]["status"]) == (200, replica.CURRENT)
    assert (behind.status_code, behind.json["databases"][REPLICA]["status"]) == (200, replica.BEHIND)


def test_migrations_leave_the_replica_alone(app):
    upgrade()  # would fail: it takes no writes

    assert db.metadatas[REPLICA].tables == {}
