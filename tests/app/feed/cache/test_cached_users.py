"""Which users have a home feed in Redis."""

from app.feed.cache import cached_users, post_bodies, timeline

READER, OTHER = 1, 2


def test_redis_is_empty_until_there_is_a_feed(app):
    post_bodies.refresh([1])
    timeline.HOME.acquire(READER)

    assert cached_users.is_empty()

    timeline.HOME.commit(READER, timeline.HOME.acquire(READER), [])

    assert not cached_users.is_empty()


def test_users_are_cold_until_their_feeds_are_built(app):
    timeline.HOME.commit(READER, timeline.HOME.acquire(READER), [])

    assert cached_users.filter_cold([READER, OTHER]) == [OTHER]
    assert list(cached_users.scan()) == [READER]
    assert cached_users.sample(10) == ([READER], 1.0)
