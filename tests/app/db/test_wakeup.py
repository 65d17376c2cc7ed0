"""A commit with an event wakes one relay, and nothing rests on it."""

import threading

import pytest

from app.db import wakeup
from app.db.engine import POSTS, USERS, commit, db
from app.posts import outbox
from app.redis.circuit_breaker import breaker
from app.redis.client import client
from app.users.outbox import OUTBOX as USERS_OUTBOX
from tests.factories import blocked, eventually
from tests.tools.redis_server import RedisServer

KEYS = {POSTS: "outbox:posts", USERS: "outbox:users"}
OUTBOXES = {POSTS: outbox.OUTBOX, USERS: USERS_OUTBOX}


@pytest.fixture
def private_redis(tmp_path):
    server = RedisServer(tmp_path / "redis")
    yield server
    server.close()


@pytest.fixture
def gate(app, monkeypatch):
    """Holds the first command back until it is set. Commands that were sent are in `sent`."""
    gate, execute = threading.Event(), wakeup.execute
    gate.sent = []

    def held(*command):
        gate.sent.append(command)
        assert gate.wait(30)
        return execute(*command)

    monkeypatch.setattr(wakeup, "execute", held)
    yield gate
    gate.set()


def waits_in_vain(bind):
    """Whether there is no wake-up to take."""
    return client().bzpopmin(KEYS[bind], 0.01) is None


def in_background(app, work):
    def run():
        with app.app_context():
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("bind", [USERS, POSTS])
def test_a_commit_with_an_event_leaves_a_wake_up_of_its_database(app, bind):
    other = {USERS: POSTS, POSTS: USERS}[bind]
    OUTBOXES[bind].add("something")
    assert waits_in_vain(bind)

    commit()

    assert waits_in_vain(other)
    assert not waits_in_vain(bind)


def test_a_commit_without_an_event_leaves_none(world):
    world.person()

    assert waits_in_vain(USERS)
    assert waits_in_vain(POSTS)


def test_the_commit_after_one_with_an_event_leaves_none(world):
    outbox.add("something")
    commit()
    assert not waits_in_vain(POSTS)

    world.posts(world.person(), 1)

    assert waits_in_vain(POSTS)


def test_any_number_of_commits_leave_one_wake_up(app):
    for _ in range(3):
        outbox.add("something")
        commit()

    assert not waits_in_vain(POSTS)
    assert waits_in_vain(POSTS)


def test_a_wake_up_reaches_one_waiting_relay(app, make_app):
    server, woken = make_app(redis_timeout_ms=60_000).extensions["redis"], []
    threads = [threading.Thread(target=lambda: woken.append(server.bzpopmin(KEYS[POSTS], 30))) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: blocked() == 2, "two relays that wait")

    for waiting in (1, 0):
        outbox.add("something")
        commit()
        assert blocked() == waiting  # Redis wakes a client before the next command

    for thread in threads:
        thread.join()
    assert None not in woken


def test_many_commits_at_once_send_two_commands_and_the_second_is_after_all_of_them(app, gate):
    first = in_background(app, outbox.OUTBOX.wakeup.send)
    eventually(lambda: len(gate.sent) == 1, "a command that is under way")
    second = in_background(app, outbox.OUTBOX.wakeup.send)
    eventually(lambda: outbox.OUTBOX.wakeup._next.locked() or not second.is_alive(), "one that waits for it")

    for _ in range(10):
        third = in_background(app, outbox.OUTBOX.wakeup.send)
        third.join(30)
        assert not third.is_alive()

    assert len(gate.sent) == 1
    gate.set()
    first.join(30)
    second.join(30)
    assert len(gate.sent) == 2


def test_a_command_that_fails_stops_none_of_the_next(app, monkeypatch):
    execute = wakeup.execute
    monkeypatch.setattr(wakeup, "execute", lambda *_: pytest.fail("interrupted"))
    for _ in range(2):
        outbox.add("something")
        with pytest.raises(pytest.fail.Exception):
            commit()
    monkeypatch.setattr(wakeup, "execute", execute)

    outbox.add("something")
    commit()

    assert not waits_in_vain(POSTS)


def test_an_unavailable_redis_fails_no_commit_and_opens_the_circuit(make_app, private_redis, world):
    private_redis.kill()
    with make_app(redis_url=f"redis://127.0.0.1:{private_redis.port}").app_context():
        outbox.add("something")

        commit()

        assert breaker().is_open
        assert [event.event for event in outbox.lock_batch(["something"], 10)] == ["something"]
        db.session.rollback()


def test_a_full_redis_fails_no_commit_and_goes_on_serving_pages(make_app, private_redis, world):
    with make_app(redis_url=f"redis://127.0.0.1:{private_redis.port}").app_context():
        client().config_set("maxmemory", 1)
        outbox.add("something")

        commit()

        assert not breaker().is_open
        assert outbox.size() == 1
        db.session.rollback()
