"""Connections to Redis: shared, bounded, and dropped once their server is demoted."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from app.redis import pool as pools
from app.redis.client import client, execute
from app.redis.pool import Pool
from tests.factories import eventually
from tests.tools.proxy import Proxy
from tests.tools.redis_server import RedisServer


@pytest.fixture
def pool(redis_server_url):
    made = Pool.from_url(redis_server_url, socket_timeout=20)
    yield made
    made.disconnect()


def test_a_connection_is_used_again(pool):
    ids = {pool.execute(["CLIENT", "ID"]) for _ in range(5)}

    assert len(ids) == 1


def test_calls_at_once_have_connections_of_their_own(pool):
    """A reply never goes to another caller."""
    with ThreadPoolExecutor(20) as threads:
        replies = list(threads.map(lambda n: pool.execute(["ECHO", str(n)]), range(500)))

    assert replies == [str(n).encode() for n in range(500)]


def test_connections_are_limited_and_the_next_caller_waits(pool, monkeypatch):
    monkeypatch.setattr(pools, "MAX_CONNECTIONS", 2)
    held = [pool.get_connection() for _ in range(2)]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.execute, ["ECHO", "late"])
        eventually(lambda: pool._waiting == 1, "the caller waits for a connection")

        pool.release(held.pop())

        assert waiting.result(10) == b"late"
    pool.release(held.pop())


def test_a_caller_times_out_while_all_connections_are_in_use(redis_server_url, monkeypatch):
    monkeypatch.setattr(pools, "MAX_CONNECTIONS", 1)
    pool = Pool.from_url(redis_server_url, socket_timeout=0.1)
    held = pool.get_connection()

    with pytest.raises(redis.TimeoutError):
        pool.execute(["PING"])

    pool.release(held)
    pool.disconnect()


def test_a_connection_that_was_lost_is_replaced_at_once(pool):
    pool.execute(["PING"])
    lost = pool._idle[0]
    lost._sock.shutdown(2)

    assert pool.execute(["PING"]) == b"PONG"


def test_a_reply_that_came_too_late_goes_to_nobody(redis_server_url):
    pool = Pool.from_url(redis_server_url, socket_timeout=0.2)
    with pytest.raises(redis.TimeoutError):
        pool.execute(["BLPOP", "nothing", "1"])

    assert pool.execute(["ECHO", "mine"]) == b"mine"
    pool.disconnect()


class Interrupt(BaseException):
    """As a time limit raises it between any two steps of its thread."""


def test_replies_that_an_interrupted_pipeline_left_unread_go_to_no_other(pool, monkeypatch):
    server = redis.Redis.from_pool(pool)
    parse = server.parse_response

    def parse_one(*arguments, **options):
        parse(*arguments, **options)
        raise Interrupt

    with server.pipeline(transaction=False) as pipe:
        monkeypatch.setattr(pipe, "parse_response", parse_one)
        pipe.echo("first").echo("second")
        with pytest.raises(Interrupt):
            pipe.execute()

    assert server.echo("mine") == b"mine"


def test_a_connection_freed_just_before_the_wait_is_taken(pool, monkeypatch):
    monkeypatch.setattr(pools, "MAX_CONNECTIONS", 1)
    held = pool.get_connection()
    enter = pool._freed.__enter__

    class FreedJustBefore(type(pool._freed)):
        def __enter__(self):
            if not pool._idle:
                pool.release(held)
            return enter()

    monkeypatch.setattr(pool._freed, "__class__", FreedJustBefore)

    assert pool.execute(["PING"]) == b"PONG"


# --- a primary that is demoted behind a virtual address ----------------------------------------------------


@pytest.fixture
def servers(folder):
    """Two servers, and a proxy that stands for the address of the primary: the first of them."""
    servers = [RedisServer(folder / f"demoted-{n}") for n in range(2)]
    proxy = Proxy("127.0.0.1", servers[0].port)
    yield *servers, proxy
    proxy.close()
    for server in servers:
        server.close()


def test_the_first_rejected_write_drops_connections_to_a_demoted_server(servers, make_app):
    """Reads are affected, too: such a server still serves them from stale data."""
    old, new, address = servers
    with make_app(redis_url=f"redis://127.0.0.1:{address.port}/0").app_context():
        execute("SET", "where", "old")
        assert client().get("where") == b"old"
        address.lead_to("127.0.0.1", new.port)
        new.client.set("where", "new")
        old.client.replicaof("127.0.0.1", 1)

        with pytest.raises(redis.ReadOnlyError):
            execute("SET", "a write", "1")

        assert client().get("where") == b"new"
        assert execute("GET", "where") == b"new"
