"""The number of unread posts is what the pages of the feed show."""

from itertools import chain

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.feed import unread
from app.feed.cache import post_bodies, timeline
from app.feed.cache.timeline import PUSH
from app.feed.deliver import deliver
from app.feed.read import CACHE, DATABASE, REBUILT, read_page
from app.feed.rebuild import rebuild
from app.feed.unread import Count, count_newer, count_unread
from app.posts import service as posts
from app.redis.client import client
from tests.app.feed.celebrity import change_settings
from tests.factories import ids_of


@pytest.fixture
def app(make_app):
    app = make_app(feed_pull_followers=2)
    with app.app_context():
        yield app


def shown(reader, after):
    """The ids that a client gets by the pages, all of them."""
    pages = [read_page(reader, 0, 2, after=after)]
    while pages[-1].last_id is not None:
        pages.append(read_page(reader, 0, 2, before=pages[-1].last_id, after=after))
    return list(chain.from_iterable(map(ids_of, pages)))


def test_newer_posts_are_counted_and_without_a_mark_all(world, pair):
    reader, author = pair
    made = world.posts(author, 4)
    rebuild(reader)

    counts = {after: count_newer(reader, after) for after in (None, 0, made[0] - 1, *made, made[-1] + 1)}

    assert [count.number for count in counts.values()] == [4, 4, 4, 3, 2, 1, 0, 0]
    assert {count.source for count in counts.values()} == {CACHE}


def test_the_mark_of_the_user_counts(world, pair):
    reader, author = pair
    made = world.posts(author, 3)
    rebuild(reader)

    before = count_unread(reader)
    posts.mark_seen(reader, made[1])

    assert (before[0].number, before[1]) == (3, None)
    assert (count_unread(reader)[0].number, count_unread(reader)[1]) == (1, made[1])


def test_a_cold_feed_is_rebuilt_before_it_says_that_nothing_is_new(world):
    reader, author = world.people(2)
    world.follow(reader, author)
    made = world.posts(author, 3)

    assert count_newer(reader, made[0]) == Count(2, REBUILT)
    assert count_newer(reader, made[0]) == Count(2, CACHE)


def test_while_another_rebuilds_a_cold_feed_sql_counts(world, pair):
    reader, author = pair
    made = world.posts(author, 3)
    timeline.HOME.evict([reader])
    timeline.HOME.acquire(reader)

    assert count_newer(reader, made[0]) == Count(2, DATABASE)
    assert count_newer(reader, None) == Count(3, DATABASE)


def test_a_list_that_ends_above_the_mark_does_not_say_that_nothing_is_older(world, pair):
    reader, author = pair
    made = world.posts(author, 4)
    client().delete(timeline.HOME.key(reader))
    client().rpush(timeline.HOME.key(reader), made[3], made[2])

    assert count_newer(reader, made[2]) == Count(1, CACHE)
    assert count_newer(reader, made[0]) == Count(3, DATABASE)
    assert count_newer(reader, None) == Count(4, REBUILT)


@pytest.mark.parametrize("redis_is_away", [False, True])
def test_a_count_ends_at_the_cap(world, make_app, redis_is_away):
    with make_app(feed_cap=3, **({"redis_url": "redis://127.0.0.1:1/0"} if redis_is_away else {})).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        made = world.posts(author, 5)

        counts = [count_newer(reader, after) for after in (None, made[0], made[1], made[2])]

        assert [count.number for count in counts] == [3, 3, 3, 2]
        assert [count.is_capped for count in counts] == [True, True, True, False]
        assert {count.source for count in counts} == ({DATABASE} if redis_is_away else {REBUILT, CACHE})


def test_sql_counts_the_posts_of_many_authors_as_pages_show_them(world, make_app):
    with make_app(redis_url="redis://127.0.0.1:1/0").app_context():
        reader, *authors = world.people(4)
        world.follow(reader, *authors)
        made = [post_id for _ in range(3) for author in authors for post_id in world.posts(author, 1)]

        assert [count_newer(reader, after).number for after in made] == list(range(8, -1, -1))


def test_a_post_that_pages_leave_out_does_not_count(world, pair):
    reader, author = pair
    made = world.posts(author, 4)
    rebuild(reader)
    post_bodies.fill(made)
    posts.delete(made[3], author)
    post_bodies.refresh([made[3]])  # as its handler does, before the removal
    posts.delete(made[1], author)
    client().delete(f"post:{made[1]}")

    count = count_newer(reader, made[0])

    assert count == Count(1, CACHE)
    assert shown(reader, made[0]) == [made[2]]
    assert world.feed(reader) == [made[2], made[0], 0]


def test_a_post_that_pages_still_show_counts(world, pair):
    reader, author = pair
    made = world.posts(author, 2)
    rebuild(reader)
    post_bodies.fill(made)
    posts.delete(made[1], author)  # nothing has handled it

    assert count_newer(reader, made[0]).number == len(shown(reader, made[0])) == 1


def test_a_body_that_is_being_filled_is_looked_up_in_sql(world, pair):
    reader, author = pair
    made = world.posts(author, 2)
    rebuild(reader)
    post_bodies.acquire(made, steal=True)

    assert count_newer(reader, None) == Count(2, CACHE)


def test_posts_of_pulled_authors_count(pulled):
    for author in (pulled.other, pulled.author, pulled.author, pulled.other):
        pulled.post(author)
    pulled.settle()

    for reader in pulled.readers:
        true = pulled.world.truth(reader)
        assert [count_newer(reader, after).number for after in true] == list(range(len(true)))
        assert count_newer(reader, None) == Count(len(true), CACHE)


@pytest.mark.parametrize("few", [1, 3])
def test_many_unread_posts_of_pulled_authors_are_all_counted(pulled, monkeypatch, few):
    monkeypatch.setattr(unread, "FEW", few)
    for author in (pulled.other, pulled.author) * 3:
        pulled.post(author)
    pulled.settle()
    true = pulled.world.truth(pulled.readers[0])

    assert [count_newer(pulled.readers[0], after).number for after in (*true, 0)] == list(range(len(true) + 1))


def test_merged_counts_end_at_the_cap(pulled, app):
    change_settings(app, feed_cap=3)
    for author in (pulled.other, pulled.author) * 3:
        pulled.post(author)
    pulled.settle()
    reader = pulled.readers[0]
    true = pulled.world.truth(reader)

    assert [count_newer(reader, after).number for after in (true[2], true[3], true[5], None)] == [2, 3, 3, 3]


def test_a_cold_list_of_a_pulled_author_is_built_before_it_counts_as_empty(pulled):
    reader = pulled.readers[0]
    known = pulled.world.truth(reader)[0]
    pulled.post()
    pulled.settle()
    client().delete(timeline.AUTHOR.key(pulled.author))

    assert count_newer(reader, known) == Count(1, REBUILT)


def test_a_deleted_post_that_came_back_into_the_list_of_a_pulled_author_does_not_count(pulled):
    """A frozen worker may push it after its removal. A page takes it out, and so does a count."""
    reader, known = pulled.readers[0], pulled.world.truth(pulled.readers[0])[0]
    post = pulled.post()
    posts.delete(post, pulled.author)
    pulled.settle()
    count_newer(reader, known)  # the list is warm
    timeline.AUTHOR.push([pulled.author], post)
    client().delete(f"post:{post}")

    assert count_newer(reader, known) == Count(0, CACHE)
    assert shown(reader, known) == []


def test_without_sql_a_warm_count_needs_the_mark_only(world, pair):
    reader, author = pair
    post = world.post(author)
    post_bodies.refresh([post])
    deliver(PUSH, post, author, [reader])
    execute(POSTS, text("ALTER TABLE posts RENAME TO elsewhere"))
    commit()
    try:
        assert count_unread(reader) == (Count(1, CACHE), None)
    finally:
        execute(POSTS, text("ALTER TABLE elsewhere RENAME TO posts"))
        commit()


def test_a_count_renews_the_life_of_the_list(world, pair):
    reader, _ = pair
    client().expire(timeline.HOME.key(reader), 5)

    count_newer(reader, None)

    assert client().ttl(timeline.HOME.key(reader)) > 5


def test_a_key_of_a_wrong_type_is_no_list(world, pair):
    reader, author = pair
    world.posts(author, 1)
    client().set(timeline.HOME.key(reader), "no list")

    assert count_newer(reader, None) == Count(1, DATABASE)


@pytest.mark.parametrize("number", [3, 100])
def test_a_warm_count_takes_one_round_trip(world, pair, round_trips, number):
    reader, author = pair
    made = world.posts(author, number)
    rebuild(reader)
    post_bodies.fill(made)

    assert round_trips(lambda: count_newer(reader, None)) == 1
    assert count_newer(reader, None) == Count(number, CACHE)
