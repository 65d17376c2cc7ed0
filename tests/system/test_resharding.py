"""Slots of a Redis Cluster move while feeds are written, and while a primary fails: every feed is exact afterwards."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from flask import Flask
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.feed import store
from app.feed.cache import owed_checks, timeline
from app.feed.cache.timeline import BUCKETS, PUSH
from app.feed.deliver import deliver, sweep
from app.feed.maintenance import failover, trust
from app.feed.read import CACHE, DATABASE, read_page
from app.feed.rebuild import rebuild
from app.redis.client import client, primaries
from tests.conftest import require_cluster
from tests.factories import Factory, eventually
from tests.system.test_failover import cluster_killed
from tests.tools.redis_cluster import MovingSlot, RedisCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    require_cluster()
    cluster = RedisCluster(tmp_path / "cluster")
    yield cluster
    cluster.close()


@pytest.fixture
def app(make_app: Callable[..., Flask], cluster: RedisCluster) -> Iterator[Flask]:
    app = make_app(redis_url=cluster.url)
    with app.app_context():
        yield app


@pytest.fixture
def reader(world: Factory) -> int:
    return world.person()


@pytest.fixture
def slot(cluster: RedisCluster, reader: int) -> MovingSlot:
    return MovingSlot(cluster, timeline.HOME.key(reader))


def test_a_push_between_the_moves_of_a_list_and_its_lease_is_in_the_rebuild_under_way(world, reader, slot):
    author = world.person()
    world.follow(reader, author)
    older = execute(POSTS, text("SELECT next_id()")).scalar_one()  # of a transaction that commits later
    newer = world.post(author)
    rebuild(reader)
    lease = timeline.HOME.acquire(reader)
    read = store.select_feed(reader, 10)[0]
    insert = text("INSERT INTO posts (id, author_id, text) VALUES (:id, :author, '')")
    execute(POSTS, insert, {"id": older, "author": author})
    commit()
    with slot.open():
        slot.move(timeline.HOME.key(reader))
        with suppress(redis.ResponseError):
            deliver(PUSH, older, author, [reader])
    delivered = older in world.feed(reader)

    if not delivered:
        deliver(PUSH, older, author, [reader])  # the message is retried
    timeline.HOME.commit(reader, lease, read)

    assert world.feed(reader) == [newer, older, 0]


def test_no_check_is_lost_while_its_note_moves(world, reader, slot, monkeypatch):
    monkeypatch.setattr(owed_checks, "OVERDUE_MS", 0)
    author = world.person()
    rebuild(reader)
    [note], _ = owed_checks.push([reader], world.post(author), author)
    with slot.open():
        slot.move(note.owed)
        with suppress(redis.ResponseError):
            sweep()

    sweep()

    assert (world.feed(reader), owed_checks.count()) == ([0], 0)
    assert not client().exists(f"{note.owed}:notes")


def test_a_slot_that_moves_does_not_hold_up_the_checks_of_others(world, reader, slot, monkeypatch):
    monkeypatch.setattr(owed_checks, "OVERDUE_MS", 0)
    author = world.person()
    readers = [reader, *(reader + step for step in range(1, 9))]
    for each in readers:
        rebuild(each)
    owed_checks.push(readers, world.post(author), author)
    with slot.open():
        sweep()

        assert owed_checks.count() <= 1

    sweep()
    assert owed_checks.count() == 0


def test_notes_at_both_ends_of_a_move_do_not_hold_it_up(world, reader, slot):
    author = world.person()
    rebuild(reader)
    post = world.post(author)
    other = reader + BUCKETS
    owed_checks.push([other], post, author)
    with slot.open():
        slot.move(timeline.HOME.key(reader))
        with suppress(redis.ResponseError):
            owed_checks.push([reader], post, author)

    assert owed_checks.count() == 1


def test_a_server_that_lost_writes_is_not_trusted_before_its_slots_have_moved(world, reader, slot):
    eventually(lambda: not checks(), "the servers are trusted")
    rebuild(reader)
    present = primaries()
    source = [
        each for each, server in present.items() if server.connection_pool.connection_kwargs["port"] == slot.source.port
    ]
    with slot.open():
        slot.move(timeline.HOME.key(reader))
        trust.distrust(present, source)
        trust.compare()
        found = [failover.check(), trust.is_trusted()]

    eventually(failover.check, "its feeds are dropped")

    assert found == [False, False]
    assert world.feed(reader) == []


@pytest.mark.parametrize("failing", ["source", "target"])
def test_a_failover_during_a_move_leaves_no_old_copy_of_a_feed(world, cluster, reader, slot, failing):
    eventually(lambda: not checks(), "the servers are trusted")
    author = world.person()
    world.follow(reader, author)
    before = world.post(author)
    neighbours = [reader + number * BUCKETS for number in range(8)]
    for neighbour in neighbours:
        rebuild(neighbour)
    slot.begin()
    for neighbour in neighbours:  # most keys have moved, so the repair gives the slot to the target
        slot.move(timeline.HOME.key(neighbour))
    with cluster_killed(cluster, getattr(slot, failing)):
        after = world.post(author)
        for _ in range(3):
            with suppress(redis.RedisError):
                rebuild(reader)  # on the successor of the source, which knows of no move
    assert read_page(reader, 0, 10).source == DATABASE

    cluster.fix()
    eventually(lambda: not checks(), "the servers are trusted again")
    eventually(lambda: read_page(reader, 0, 10).source == CACHE, "the feed is built again")

    assert world.feed(reader) == [after, before, 0]
    assert world.feed(neighbours[1]) == []


def checks() -> bool:
    """Return whether a check of the servers finds anything, or fails."""
    with suppress(redis.RedisError):
        failover.check()
        return not trust.is_trusted() or trust.untrusted(primaries(), None, trust.trusted()) != []
    return True
