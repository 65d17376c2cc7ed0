"""A Redis primary is cut off from the others, but not from the application: nothing that only it saw is trusted."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import time

import pytest
import redis
from flask import Flask

from app.auth.revoked_tokens import revoke, revoked
from app.feed.cache import timeline
from app.feed.cache.timeline import PUSH
from app.feed.deliver import deliver
from app.feed.maintenance import failover, trust
from app.feed.read import CACHE, read_page
from app.feed.rebuild import rebuild
from app.redis import replication
from app.redis.client import client, primaries
from tests.conftest import do_without, require_cluster
from tests.factories import Factory, eventually, ids_of
from tests.tools.network import Host, Network, missing
from tests.tools.redis_groups import ClusterGroup, Group, SentinelGroup, Server

NOTICED_SECONDS = 15.0  # a failover takes five of them

Make = Callable[..., Flask]


@pytest.fixture
def network() -> Iterator[Network]:
    require_cluster()
    if lack := missing():
        do_without(lack)
    with Network() as network:
        yield network


@pytest.fixture(params=[SentinelGroup, ClusterGroup])
def group(request: pytest.FixtureRequest, network: Network, tmp_path: Path) -> Group:
    made: Group = request.param(network, tmp_path / "group")
    network.callback(made.close)
    return made


@pytest.fixture
def careless(network: Network, tmp_path: Path) -> SentinelGroup:
    """Its primary takes writes without a replica."""
    made = SentinelGroup(network, tmp_path / "group", safe=())
    network.callback(made.close)
    return made


def primary_of(group: Group, key: str) -> Server:
    if isinstance(group, SentinelGroup):
        return group.primaries()[0]
    return next(server for server in group.primaries() if _has(server, key))


def _has(server: Server, key: str) -> bool:
    with suppress(redis.ResponseError):
        return bool(server.client.exists(key))
    return False


def cut_off(network: Network, *minority: Host) -> None:
    """Part these hosts from all others but the application."""
    for host in minority:
        network.cut(host, [other for other in network.hosts.values() if other not in (*minority, network.here)])


def completes(action: Callable[[], object]) -> Callable[[], bool]:
    """Whether `action` returns something true, and Redis is there."""

    def attempt() -> bool:
        with suppress(redis.RedisError):
            return bool(action())
        return False

    return attempt


def test_reads_and_writes_leave_a_primary_that_is_cut_off(make_app: Make, network, group):
    app = make_app(redis_url=group.url, redis_timeout_ms=500)
    with app.app_context():
        world = Factory()
        reader, author = world.people(2)
        world.follow(reader, author)
        eventually(completes(failover.check), "it is trusted")
        eventually(completes(lambda: rebuild(reader)), "the feed is built")
        first = world.post(author)
        eventually(completes(lambda: not deliver(PUSH, first, author, [reader])), "the post is delivered")
        eventually(lambda: read_page(reader, 0, 10).source == CACHE, "pages come from Redis")
        before = read_page(reader, 0, 10)
        loser = primary_of(group, timeline.HOME.key(reader))
        cut_off(network, loser.host)

        dropped = completes(failover.check)
        eventually(dropped, "another primary is used, and its feeds are dropped", NOTICED_SECONDS)
        refused = refusal_of(loser, timeline.HOME.key(reader))
        second = world.post(author)
        eventually(completes(lambda: not deliver(PUSH, second, author, [reader])), "it takes writes")
        eventually(lambda: read_page(reader, 0, 10).source == CACHE, "pages come from Redis again")
        after = read_page(reader, 0, 10)

    assert (before.source, ids_of(before)) == (CACHE, [first])
    assert ids_of(after) == [second, first]
    assert refused.startswith(("NOREPLICAS", "The cluster is down", "CLUSTERDOWN"))


def is_refused() -> bool:
    return revoked().refuses("revoked while parted", 1, 0)


def refusal_of(server: Server, key: str) -> str:
    with pytest.raises(redis.ResponseError) as refusal:
        server.client.expire(key, 1000)
    return str(refusal.value)


def test_what_only_the_loser_saw_is_dropped_and_its_revocations_are_kept(make_app: Make, network, careless):
    loser = careless.primaries()[0]
    late, web, other = (make_app(redis_url=careless.url, redis_timeout_ms=500) for _ in range(3))
    with late.app_context():
        world = Factory()
        reader, author = world.people(2)
        world.follow(reader, author)
        eventually(completes(failover.check), "it is trusted")
        rebuild(reader)
    with web.app_context():
        trust.compare()
    with other.app_context():
        assert not failover.check()

    cut_off(network, loser.host, network.hosts["sentinel0"])  # one Sentinel goes on naming the loser
    with other.app_context():
        eventually(completes(failover.check), "the new primary is used", NOTICED_SECONDS)
        rebuild(reader)
    with late.app_context():
        post = world.post(author)
        deliver(PUSH, post, author, [reader])  # its message is acknowledged
    with web.app_context():
        revoke("revoked while parted", int(time()) + 1000)
    key = timeline.HOME.key(reader)
    lists = [[int(element) for element in server.client.lrange(key, 0, -1)] for server in careless.servers]
    network.heal()
    careless.wait()
    with late.app_context():
        eventually(completes(failover.check), "what it wrote to the loser is not relied on")
        page = read_page(reader, 0, 10)
    with web.app_context():
        trust.compare()
        eventually(is_refused, "the process that revoked the token goes on refusing it")
    with other.app_context():
        eventually(is_refused, "others refuse it too")

    assert sorted(lists) == [[0], [0], [post, 0]]
    assert ids_of(page) == [post]


def test_a_sentinel_that_is_cut_off_is_not_believed(make_app: Make, network, careless):
    loser = careless.primaries()[0]
    app = make_app(redis_url=careless.url, redis_timeout_ms=500)
    with app.app_context():
        client().ping()
        cut_off(network, loser.host, network.hosts["sentinel0"])
        eventually(lambda: loser not in careless.primaries() and careless.primaries(), "it is replaced")

        trust.compare()
        [server] = primaries().values()
        named = {server.connection_pool.get_master_address() for _ in range(3)}

    assert named == {(careless.primaries()[0].host.ip, 6379)}


def test_a_primary_that_would_go_on_alone_is_reported_at_the_start(make_app: Make, careless, caplog):
    with make_app(redis_url=careless.url).app_context():
        replication.check_at_start()
        warned = caplog.text
        caplog.clear()
        client().config_set("min-replicas-to-write", 1)
        replication.check_at_start()

    assert "Redis has replicas, but min-replicas-to-write is 0" in warned
    assert caplog.text == ""
