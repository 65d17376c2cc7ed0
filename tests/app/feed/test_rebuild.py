"""Rebuilding a feed: the result is what SQL contains."""

import pytest

from app.db.engine import execute
from app.feed import store
from app.feed.cache import timeline
from app.feed.rebuild import RebuildContended, rebuild, rebuild_or_raise
from app.posts import service as posts


def test_rebuild_makes_what_sql_says(world):
    reader, one, other, stranger = world.people(4)
    world.follow(reader, one, other)
    for author in (one, other, stranger, one):
        world.posts(author, 2)

    rebuild(reader)

    assert world.feed(reader) == [*world.truth(reader), 0]


def test_rebuild_is_cut_at_the_cap(world, make_app):
    with make_app(feed_cap=3).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        world.posts(author, 5)

        rebuild(reader)

        assert world.feed(reader) == world.truth(reader)[:3]


def test_rebuild_of_a_full_feed_that_is_as_it_was_takes_one_query(world, make_app, monkeypatch):
    with make_app(feed_cap=5).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        world.posts(author, 8)
        rebuild(reader)
        asked = []
        monkeypatch.setattr(store, "execute", lambda *arguments: (asked.append(arguments), execute(*arguments))[1])

        rebuild(reader)

        assert len(asked) == 1


@pytest.mark.parametrize("change", ["nothing", "follow", "unfollow", "delete"])
def test_rebuild_of_a_full_feed_does_not_depend_on_where_it_ended(world, make_app, change):
    with make_app(feed_cap=5).app_context():
        reader, author, other, newcomer = world.people(4)
        world.follow(reader, author, other)
        for writer in (newcomer, author, other, other, other, newcomer, author, other, newcomer, author):
            written = world.posts(writer, 2)
        rebuild(reader)
        if change == "follow":
            world.follow(reader, newcomer)
        elif change == "unfollow":
            posts.unfollow(reader, author)
        elif change == "delete":
            posts.delete(written[0], author)

        rebuild(reader)

        assert world.feed(reader) == world.truth(reader)[:5]


def test_rebuild_gives_up_loudly_when_the_lease_is_lost_each_time(world, pair, monkeypatch):
    reader, _ = pair
    read = store.select_feed

    def read_while_somebody_else_begins(user_id, *arguments):
        timeline.HOME.acquire(user_id)
        return read(user_id, *arguments)

    monkeypatch.setattr(store, "select_feed", read_while_somebody_else_begins)

    with pytest.raises(RebuildContended):
        rebuild_or_raise(reader)
