"""A permanently failed message invalidates its feeds."""

from app.feed.cache import post_bodies
from app.feed.invalidate import invalidate_after_failure
from app.feed.rebuild import rebuild


def test_what_was_given_up_is_cold(world):
    author, *readers = world.people(3)
    for reader in readers:
        world.follow(reader, author)
        rebuild(reader)

    invalidate_after_failure({"post_id": 1, "follower_ids": [readers[0]]})

    assert [world.feed(reader) for reader in readers] == [[], [0]]

    post_bodies.refresh([1])
    invalidate_after_failure({"post_id": 1, "author_id": author})

    assert [world.feed(reader) for reader in readers] == [[], []]
    assert world.body(1) is None
