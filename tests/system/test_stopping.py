"""Graceful shutdown finishes started work and loses nothing; see also `make rolling`."""

import os
import signal
import socket
from contextlib import closing
from dataclasses import replace
from time import monotonic

import psycopg2
import pytest

from app.auth.tokens import issue_token
from app.feed.cache import cached_users
from app.feed.maintenance import failover
from app.posts import outbox
from local.ports import free_port
from tests.conftest import RUN
from tests.factories import Factory, eventually
from tests.system.test_end_to_end import drop_queues
from tests.tools.processes import Web, start_worker
from tests.tools.rolling.fleet import WORKER

CLIENTS = 12
REQUEST = b"GET /post/feed HTTP/1.1\r\nHost: lenta\r\nX-Auth: %s\r\n\r\n"
DEFERRED_SECONDS = 5.5  # gunicorn gives a thread back after 5 s without data


@pytest.fixture
def web(settings, app, folder):
    web = Web(replace(settings, port=free_port(), web_workers=1), folder / f"stopping-{RUN}.log").wait()
    yield web
    web.stop(signal.SIGKILL)


def test_who_was_let_in_before_the_stop_is_answered(web, world):
    """The backlog accepts clients while the process is busy."""
    token = issue_token(world.person()).encode()
    [child] = web.children()
    os.kill(child, signal.SIGSTOP)
    clients = [socket.create_connection(("127.0.0.1", web.port), timeout=20) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(REQUEST % token)

    web.send(signal.SIGTERM)
    os.kill(child, signal.SIGCONT)

    answers = []
    for client in clients:
        with closing(client):
            answers.append(client.recv(100).split(b"\r\n")[0])
    assert answers == [b"HTTP/1.1 200 OK"] * CLIENTS
    assert web.stop() == 0


def test_who_never_sends_anything_does_not_hold_up_the_stop(web):
    with closing(socket.create_connection(("127.0.0.1", web.port))) as silent:
        silent.settimeout(DEFERRED_SECONDS)
        with pytest.raises(TimeoutError):
            silent.recv(1)
        started = monotonic()

        code = web.stop()

    assert code == 0
    assert monotonic() - started < 10


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_a_worker_gives_back_what_it_has_not_finished(request, settings, app, folder, broker):
    """Prefetched messages, too: another worker handles them immediately."""
    settings = replace(
        settings,
        broker_url=request.getfixturevalue(f"{broker}_url"),
        broker_namespace=f"lenta-stop-{broker}-{RUN}",
        log_level="debug",
    )
    world = Factory()
    failover.check()
    world.events()  # else the workers warm all feeds, because this Redis is new to them
    author, *readers = world.people(300)
    for reader in readers:
        world.follow(reader, author)
    log = folder / f"stopping-{broker}-{RUN}"
    with closing(psycopg2.connect(settings.posts_database_url)) as blocking:
        blocking.cursor().execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
        first = start_worker(settings, log.with_suffix(".1.log"), *WORKER)
        eventually(lambda: outbox.size() == 0, "all is on the queue, and the worker waits for the lock")
        first.send(signal.SIGTERM)
        eventually(lambda: "Stopping workers..." in first.log.read_text(), "it takes up nothing more")
    code = first.stop(signal.SIGCONT)  # stopped by the first SIGTERM; a second one would kill it
    left = cached_users.filter_cold(readers)

    second = start_worker(settings, log.with_suffix(".2.log"), *WORKER)
    try:
        assert code == 0
        assert len(left) > len(readers) / 2
        # Not by what the broker does for a worker that died: on Redis after 60 s.
        eventually(lambda: cached_users.filter_cold(readers) == [], "the other one did the rest")
    finally:
        second.stop()
        if broker == "rabbitmq":
            drop_queues(settings.broker_url, settings.broker_namespace)
