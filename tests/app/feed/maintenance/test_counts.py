"""Counts of all feeds, and results of verify-feeds."""

import pytest

from app.feed.cache import timeline
from app.feed.maintenance import counts, verify_results
from app.feed.rebuild import rebuild
from app.redis.client import client


@pytest.fixture
def reader(world):
    """Create a reader of an author with two posts, and build the feed."""
    reader, author = world.people(2)
    world.follow(reader, author)
    world.posts(author, 2)
    rebuild(reader)
    return reader


def test_feeds_are_counted_and_weighed(world, reader):
    rebuild(world.person())
    timeline.HOME.acquire(reader)  # a lease is no feed

    assert counts.count_feeds()

    count = counts.last_count()
    assert count.feeds == 2
    assert 50 < count.feed_bytes < 500


def test_without_a_feed_none_weighs_anything(world):
    counts.count_feeds()

    assert (counts.last_count().feeds, counts.last_count().feed_bytes) == (0, 0)


def test_feeds_are_counted_once_a_minute_by_one_of_all(reader):
    counted = [counts.count_feeds() for _ in range(3)]

    assert counted == [True, False, False]
    assert 0 < client().ttl(counts.COUNTING_KEY) <= 60


def test_before_the_first_count_and_the_first_check_nothing_is_known(world):
    assert (counts.last_count(), verify_results.last()) == (None, None)


def test_what_verify_feeds_found_is_kept(runner, reader):
    runner.invoke(args=["verify-feeds"])

    verdict = verify_results.last()
    assert (verdict.checked, verdict.divergent, verdict.cold, verdict.repaired, verdict.full) == (1, 0, 0, 0, True)


def test_what_it_repaired_is_kept_too(runner, reader):
    client().rpop(timeline.HOME.key(reader), 2)
    client().rpush(timeline.HOME.key(reader), 0)

    runner.invoke(args=["verify-feeds", "--sample", "5", "--repair", "--settle", "0.1"])

    verdict = verify_results.last()
    assert (verdict.checked, verdict.divergent, verdict.repaired, verdict.full) == (1, 0, 1, False)


def test_a_look_at_single_feeds_says_nothing_of_all(runner, reader):
    runner.invoke(args=["verify-feeds", str(reader)])

    assert verify_results.last() is None
