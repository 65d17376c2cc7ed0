"""A Redis Cluster: commands find their servers during changes, and failures are fast."""

from time import monotonic

import pytest
import redis
from redis.crc import key_slot
from redis.exceptions import TryAgainError

from app.feed.cache import post_bodies, timeline
from app.feed.maintenance import failover, trust
from app.feed.read import CACHE, DATABASE, read_page
from app.feed.rebuild import rebuild
from app.redis.client import client, replication_ids
from tests.factories import Factory, ids_of

TIMEOUT_MS = 600  # of which three are less than the nodes wait for each other


@pytest.fixture
def app(make_app, redis_cluster):
    app = make_app(redis_url=redis_cluster.url, redis_timeout_ms=TIMEOUT_MS)
    with app.app_context():
        for node in redis_cluster.primaries():
            node.client.flushdb()
        yield app
    redis_cluster.wait()


@pytest.fixture
def reader(world):
    """Create a reader of five posts with feed and bodies in the cache."""
    reader, author = world.people(2)
    world.follow(reader, author)
    post_bodies.refresh(world.posts(author, 5))
    rebuild(reader)
    return reader


@pytest.fixture
def primary(redis_cluster, reader):
    """The primary that has the reader's feed."""
    return redis_cluster.primary_of(timeline.HOME.key(reader))


def other_than(primary, redis_cluster):
    return next(node for node in redis_cluster.primaries() if node is not primary)


def test_a_page_comes_from_the_servers_of_its_feed_and_of_its_posts(world, reader):
    page = read_page(reader, 0, 10)

    assert page.source == CACHE
    assert ids_of(page) == world.truth(reader)


def test_a_push_is_one_call_for_each_slot(app, redis_cluster):
    readers = list(range(1, 3 * timeline.BUCKETS + 1))
    for reader in readers[::100]:
        client().rpush(timeline.HOME.key(reader), 0)
    for node in redis_cluster.primaries():
        node.client.config_resetstat()

    pushed = timeline.HOME.push(readers, 1)

    assert pushed == len(readers[::100])
    statistics = [node.client.info("commandstats") for node in redis_cluster.primaries()]
    assert sum(calls["cmdstat_evalsha"]["calls"] for calls in statistics) == timeline.BUCKETS


def test_servers_without_the_scripts_get_them(reader, redis_cluster):
    for node in redis_cluster.nodes:
        node.client.script_flush()

    assert read_page(reader, 0, 10).source == CACHE

    for node in redis_cluster.nodes:
        node.client.script_flush()

    assert timeline.HOME.push([reader, reader + 1, reader + 2], 2**62) == 1


def test_a_feed_is_found_while_its_slot_moves_and_after(world, reader, primary, redis_cluster):
    slot, target = key_slot(timeline.HOME.key(reader).encode()), other_than(primary, redis_cluster)
    before = world.feed(reader)
    ids = {node: node.client.cluster("MYID").decode() for node in (primary, target)}
    target.client.cluster("SETSLOT", slot, "IMPORTING", ids[primary])
    primary.client.cluster("SETSLOT", slot, "MIGRATING", ids[target])

    stays = world.feed(reader)
    primary.client.migrate("127.0.0.1", target.port, timeline.HOME.key(reader), 0, 5000)
    has_gone = world.feed(reader)  # ASK
    page = read_page(reader, 0, 10)
    with pytest.raises(TryAgainError):  # the lease may be on either: the queue tries again
        rebuild(reader)
    for node in redis_cluster.primaries():
        node.client.cluster("SETSLOT", slot, "NODE", ids[target])
    has_moved = world.feed(reader)  # MOVED

    assert [stays, has_gone, has_moved] == [before] * 3
    assert page.source == CACHE
    assert rebuild(reader)
    for node in (primary, target):
        assert node.client.execute_command("CLUSTER COUNTKEYSINSLOT", slot) == (node is target)


def test_nobody_waits_for_a_frozen_primary_longer_than_the_time_out(world, reader, primary):
    with primary.frozen():
        start = monotonic()
        pages = [read_page(reader, 0, 10) for _ in range(10)]
        waited = monotonic() - start

    assert {page.source for page in pages} == {DATABASE}
    assert ids_of(pages[-1]) == world.truth(reader)
    assert waited < 3 * TIMEOUT_MS / 1000


def test_a_delivery_to_a_frozen_primary_fails_once_for_all_feeds(reader, primary):
    with primary.frozen():
        start = monotonic()
        with pytest.raises(redis.TimeoutError):
            timeline.HOME.push(range(reader, reader + 1000), 1)
        waited = monotonic() - start

    assert waited < 3 * TIMEOUT_MS / 1000


def test_a_primary_that_was_deposed_and_is_promoted_again_is_a_stranger(world, reader, primary, redis_cluster):
    failover.check()
    rebuild(reader)
    first = replication_ids()
    seen = []
    for node in (successor(redis_cluster, primary), primary):
        redis_cluster.promote(node)
        seen.append(replication_ids())
        rebuild(reader)
        assert failover.check()
        assert world.feed(reader) == []

    assert len({first, *seen}) == 3


def test_only_what_lies_on_the_stranger_is_dropped(app, world, redis_cluster):
    failover.check()
    readers = world.people(30)
    for reader in readers:
        rebuild(reader)
    trusted = client().get(trust.TRUSTED_KEY).decode().split()

    client().set(trust.TRUSTED_KEY, " ".join(trusted[1:]))
    assert failover.check()

    assert 0 < len([reader for reader in readers if world.feed(reader)]) < len(readers)
    assert not failover.check()


def test_the_service_starts_and_answers_while_no_node_does(make_app, redis_cluster):
    app = make_app(redis_url="redis+cluster://127.0.0.1:1,127.0.0.1:2/")
    with app.app_context():
        reader = Factory().person()

        assert read_page(reader, 0, 10).source == DATABASE
        assert app.extensions["redis_breaker"].is_open


def test_a_cluster_has_no_transactions(app):
    with pytest.raises(redis.DataError, match="transaction=False"):
        client().pipeline()


def successor(redis_cluster, primary):
    """The replica of a primary."""
    redis_cluster.wait()
    return next(
        node for node in redis_cluster.nodes if node.client.info("replication").get("master_port") == primary.port
    )
