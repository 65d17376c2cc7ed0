"""Follows by one person delay no other: any number of them is a few rebuilds, on a separate queue."""

import logging
from time import monotonic

import dramatiq
import pytest

from app.db.engine import commit
from app.feed.rebuild import rebuild
from app.observability import metrics
from app.posts import outbox, store
from tests.factories import Factory, eventually
from workers import queues

STORM = 1000
FEW = 30  # rebuilds: five at once, then one a second at most, and two workers are done within seconds; else more


@pytest.fixture
def world(actors):
    return Factory()


@pytest.fixture
def rebuilds():
    """How many rebuilds had a result since the test began."""
    before = {result: _rebuilds(result) for result in ("done", "contended", "covered", "postponed")}
    return lambda result: _rebuilds(result) - before[result]


def _rebuilds(result):
    return metrics.REGISTRY.get_sample_value("lenta_rebuilds_total", {"result": result}) or 0.0


def is_quiet() -> bool:
    depths = queues.depths(dramatiq.get_broker())
    return outbox.size() == 0 and all(depth.ready == depth.delayed == 0 for depth in depths.values())


def test_a_storm_of_follows_is_a_few_rebuilds_and_no_delivery_waits_behind_it(
    world, actors, make_worker, rebuilds, caplog
):
    storming, reader, author, *followed = world.people(5)
    world.follow(reader, author)
    world.events()
    rebuild(reader)
    posts = [post for author_id in followed for post in world.posts(author_id, 2)]
    for number in range(STORM):
        if number < len(followed):
            store.insert_follow(storming, followed[number])
            commit()
        actors.follows_changed.send(storming)
    assert queues.depths(dramatiq.get_broker())["feed"].ready == 0

    started = monotonic()
    post = world.post(author)
    make_worker()
    make_worker()

    eventually(lambda: world.feed(reader) == [post, 0], "another person's post is delivered")
    eventually(lambda: rebuilds("done") + rebuilds("covered") >= STORM, "all messages were carried out", 60)
    eventually(is_quiet, "nothing waits")
    assert world.feed(storming) == [*sorted(posts, reverse=True), 0]
    assert rebuilds("done") <= FEW + (monotonic() - started)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_follow_that_is_taken_back_again_and_again_ends_as_sql_says(world, make_worker, rebuilds, caplog):
    reader, author = world.people(2)
    (post,) = world.posts(author, 1)
    make_worker()
    make_worker()
    started = monotonic()

    for _ in range(100):
        assert store.insert_follow(reader, author)
        outbox.add(outbox.FOLLOWS_CHANGED, follower_id=reader)
        commit()
        assert store.delete_follow(reader, author)
        outbox.add(outbox.FOLLOWS_CHANGED, follower_id=reader)
        commit()
    world.follow(reader, author)

    eventually(lambda: world.feed(reader) == [post, 0], "the last follow is in the feed")
    eventually(is_quiet, "nothing waits")
    assert rebuilds("done") <= FEW + (monotonic() - started)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_message_of_an_earlier_version_is_rebuilt_on_the_queue_of_rebuilds(world, actors, make_worker):
    """A worker of that version, which knows no claims, consumes deliveries."""
    reader = world.person()
    message = actors.follows_changed.message(follower_id=reader)
    dramatiq.get_broker().enqueue(message.copy(queue_name=actors.deliver.queue_name))

    make_worker()

    eventually(lambda: world.feed(reader) == [0], "the feed is rebuilt")
