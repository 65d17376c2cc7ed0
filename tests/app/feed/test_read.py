"""Reading pages: from Redis, after a rebuild, or from SQL."""

import json
from itertools import chain

from app.db.engine import POSTS, USERS, db
from app.feed.cache import post_bodies, timeline
from app.feed.cache.timeline import PUSH
from app.feed.deliver import deliver
from app.feed.read import CACHE, DATABASE, REBUILT, Page, read_page
from app.feed.rebuild import rebuild
from app.posts import service as posts
from app.redis.circuit_breaker import breaker
from app.redis.client import client
from tests.factories import ids_of


def texts(page: Page) -> list[str]:
    return [json.loads(post)["text"] for post in page.posts]


def test_a_warm_feed_is_read_without_sql(world, pair):
    reader, author = pair
    post = world.post(author)
    post_bodies.refresh([post])
    deliver(PUSH, post, author, [reader])
    db.session.remove()
    for bind in (USERS, POSTS):
        db.engines[bind].dispose()

    page = read_page(reader, 0, 10)

    assert (ids_of(page), page.source, page.last_id) == ([post], CACHE, None)
    assert [db.engines[bind].pool.checkedout() for bind in (USERS, POSTS)] == [0, 0]


def test_a_cold_feed_is_rebuilt_and_read(world):
    reader, author = world.people(2)
    world.follow(reader, author)
    made = world.posts(author, 3)

    page = read_page(reader, 0, 10)

    assert (ids_of(page), page.source) == (made[::-1], REBUILT)
    assert read_page(reader, 0, 10).source == CACHE


def test_a_list_that_is_too_short_is_rebuilt(world, pair):
    reader, author = pair
    made = world.posts(author, 3)
    client().delete(timeline.HOME.key(reader))
    client().rpush(timeline.HOME.key(reader), made[-1])

    page = read_page(reader, 1, 10)

    assert (ids_of(page), page.source) == ([made[1], made[0]], REBUILT)


def test_a_page_beyond_the_end_of_a_feed_is_empty(world, pair):
    reader, author = pair
    world.posts(author, 3)

    assert ids_of(read_page(reader, 50, 10)) == []


def test_a_missing_body_is_read_from_sql_and_cached(world, pair):
    reader, author = pair
    post = world.post(author, "kept")
    deliver(PUSH, post, author, [reader])

    page = read_page(reader, 0, 10)

    assert (texts(page), page.source) == (["kept"], CACHE)
    assert world.body(post) == page.posts[0]


def test_a_dead_post_is_dropped_and_the_page_refilled(world, pair):
    reader, author = pair
    made = world.posts(author, 4)
    rebuild(reader)
    posts.delete(made[3], author)
    posts.delete(made[2], author)

    page = read_page(reader, 0, 2)

    assert ids_of(page) == [made[1], made[0]]
    assert world.feed(reader) == [made[1], made[0], 0]


def test_many_dead_posts_never_make_a_page_short(world, pair):
    reader, author = pair
    made = world.posts(author, 30)
    rebuild(reader)
    for post in made[5:]:
        posts.delete(post, author)

    page = read_page(reader, 0, 2)

    assert ids_of(page) == [made[4], made[3]]


def test_a_reader_leaves_a_rebuild_under_way_alone_and_reads_sql(world, pair):
    reader, author = pair
    made = world.posts(author, 2)
    timeline.HOME.evict([reader])
    lease = timeline.HOME.acquire(reader)

    page = read_page(reader, 0, 10)

    assert (ids_of(page), page.source) == (made[::-1], DATABASE)
    assert timeline.HOME.commit(reader, lease, made[::-1])


def test_offset_and_limit_are_cut_at_the_cap(world, make_app):
    with make_app(feed_cap=3).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        made = world.posts(author, 5)

        assert ids_of(read_page(reader, 2, 3)) == [made[2]]
        assert ids_of(read_page(reader, 3, 3)) == []


def test_before_pages_on_past_the_cap(world, make_app):
    with make_app(feed_cap=3).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        world.posts(author, 8)

        pages = [read_page(reader, 0, 2)]
        while pages[-1].last_id:
            pages.append(read_page(reader, 0, 2, before=pages[-1].last_id))

        assert list(chain.from_iterable(map(ids_of, pages))) == world.truth(reader)
        assert {page.source for page in pages} == {REBUILT, DATABASE}


def test_before_does_not_drift_when_a_post_arrives(world, pair):
    reader, author = pair
    made = world.posts(author, 4)
    rebuild(reader)
    first = read_page(reader, 0, 2)
    deliver(PUSH, world.post(author), author, [reader])

    second = read_page(reader, 0, 2, before=first.last_id)

    assert ids_of(first) + ids_of(second) == made[::-1]


def test_without_redis_a_page_comes_from_sql_and_the_breaker_opens(world, make_app):
    reader, author = world.people(2)
    world.follow(reader, author)
    made = world.posts(author, 3)

    with make_app(redis_url="redis://127.0.0.1:1/0").app_context():
        page = read_page(reader, 1, 1)

        assert breaker().is_open
        assert (ids_of(page), page.source) == ([made[1]], DATABASE)


def test_a_key_of_a_wrong_type_affects_only_its_own_feed(world, pair):
    reader, author = pair
    made = world.posts(author, 1)
    client().set(timeline.HOME.key(reader), "no list")

    page = read_page(reader, 0, 10)

    assert not breaker().is_open
    assert (ids_of(page), page.source) == (made, DATABASE)
