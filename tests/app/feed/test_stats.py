"""What is known of all feeds together: how many there are, and what verify-feeds found."""

import pytest

from app.feed import service, stats, timeline
from app.redis import client


@pytest.fixture
def reader(world):
    """Somebody who follows an author of two posts, and has a feed."""
    reader, author = world.people(2)
    world.follow(reader, author)
    world.posts(author, 2)
    service.rebuild(reader)
    return reader


def test_feeds_are_counted_and_weighed(world, reader):
    service.rebuild(world.person())
    timeline.begin(reader)  # a lease is no feed

    assert stats.count_feeds()

    count = stats.last_count()
    assert count.feeds == 2
    assert 50 < count.feed_bytes < 500


def test_without_a_feed_none_weighs_anything(world):
    stats.count_feeds()

    assert (stats.last_count().feeds, stats.last_count().feed_bytes) == (0, 0)


def test_feeds_are_counted_once_a_minute_by_one_of_all(reader):
    counted = [stats.count_feeds() for _ in range(3)]

    assert counted == [True, False, False]
    assert 0 < client().ttl(stats.COUNTING_KEY) <= 60


def test_before_the_first_count_and_the_first_check_nothing_is_known(world):
    assert (stats.last_count(), stats.verdict()) == (None, None)


def test_what_verify_feeds_found_is_kept(runner, reader):
    runner.invoke(args=["verify-feeds"])

    verdict = stats.verdict()
    assert (verdict.checked, verdict.divergent, verdict.cold, verdict.repaired, verdict.full) == (1, 0, 0, 0, True)


def test_what_it_repaired_is_kept_too(runner, reader):
    client().rpop(timeline.feed_key(reader), 2)
    client().rpush(timeline.feed_key(reader), 0)

    runner.invoke(args=["verify-feeds", "--sample", "5", "--repair", "--settle", "0.1"])

    verdict = stats.verdict()
    assert (verdict.checked, verdict.divergent, verdict.repaired, verdict.full) == (1, 0, 1, False)


def test_a_look_at_single_feeds_says_nothing_of_all(runner, reader):
    runner.invoke(args=["verify-feeds", str(reader)])

    assert stats.verdict() is None
