"""Fan-out and delivery, compared with SQL."""

from itertools import chain

import pytest

from app.feed.cache import owed_checks
from app.feed.cache.timeline import PUSH, REMOVE
from app.feed.deliver import deliver, fanout_plan, follower_batches
from app.feed.rebuild import rebuild
from app.posts import service as posts


def test_deliver_puts_a_post_at_the_head_of_each_followers_feed(world, pair):
    reader, author = pair
    post = world.post(author)

    deliver(PUSH, post, author, [reader])

    assert world.feed(reader) == [post, 0]


def test_deliver_takes_back_what_a_former_follower_got(world, pair):
    reader, author = pair
    post = world.post(author)
    posts.unfollow(reader, author)

    deliver(PUSH, post, author, [reader])

    assert world.feed(reader) == [0]


def test_deliver_takes_back_a_post_that_is_gone(world, pair):
    reader, author = pair
    post = world.post(author)
    posts.delete(post, author)

    deliver(PUSH, post, author, [reader])

    assert world.feed(reader) == [0]


def test_deliver_removes(world, pair):
    reader, author = pair
    post = world.post(author)
    deliver(PUSH, post, author, [reader])

    deliver(REMOVE, post, author, [reader])

    assert world.feed(reader) == [0]


def test_follower_batches_cover_every_follower_once(world, make_app):
    app = make_app(feed_fanout_batch=2)
    with app.app_context():
        author, *readers = world.people(6)
        for reader in readers:
            world.follow(reader, author)

        batches = list(follower_batches(author, fanout_plan(author).first))

    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert sorted(chain.from_iterable(batches)) == sorted(readers)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_bulk_begins_above_the_limit(world, make_app, batch):
    with make_app(feed_bulk_followers=2, feed_fanout_batch=batch).app_context():
        author, *readers = world.people(4)
        world.follow(readers[0], author)
        world.follow(readers[1], author)

        assert not fanout_plan(author).is_large

        world.follow(readers[2], author)

        assert fanout_plan(author).is_large


def test_a_removal_of_a_post_that_sql_has_again_has_the_feed_rebuilt(world, pair):
    """A failover lost the deletion, and not its message."""
    reader, author = pair
    post = world.post(author)
    rebuild(reader)
    world.events()

    deliver(REMOVE, post, author, [reader])

    assert world.events() == [("follows_changed", {"follower_id": reader})]
    assert owed_checks.count() == 0


def test_the_message_of_a_deletion_that_was_lost_changes_no_feed(crowd):
    post = crowd.post()
    crowd.settle()

    crowd.handle("post_deleted", post_id=post, author_id=crowd.author)

    assert [crowd.world.feed(reader) for reader in crowd.readers] == [[post, 0]] * 3
