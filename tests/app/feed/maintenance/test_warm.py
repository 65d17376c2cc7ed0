"""Warming builds cold feeds, and leaves the others."""

from itertools import chain

from app.feed.cache import timeline
from app.feed.maintenance import warm
from app.redis.client import client


def test_warm_builds_the_feeds_of_all_who_follow_somebody(world):
    one, two, three, idle = world.people(4)
    world.follow(one, two, three)
    world.follow(two, one)
    for author in (one, two, three, two):
        world.posts(author, 2)

    batches = list(warm.reader_batches("run"))
    for batch in batches:
        warm.warm("run", batch)

    assert list(chain.from_iterable(batches)) == [one, two]
    assert world.feed(one) == [*world.truth(one), 0]
    assert world.feed(two) == [*world.truth(two), 0]
    assert world.feed(three) == world.feed(idle) == []
    assert warm.progress("run") == (2, 2)


def test_warm_leaves_a_feed_that_is_there(world, pair):
    reader, _ = pair
    client().delete(timeline.HOME.key(reader))
    client().rpush(timeline.HOME.key(reader), 5)

    warm.warm("run", [reader])

    assert world.feed(reader) == [5]
