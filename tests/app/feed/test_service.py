"""Read, deliver, rebuild, warm: each against what SQL says."""

import json
from itertools import chain

import pytest

from app.db import POSTS, USERS, db, run
from app.feed import bodies, service, timeline, truth, warming
from app.feed.reading import CACHE, DATABASE, REBUILT, Page, read_page
from app.feed.timeline import PUSH, REMOVE
from app.posts import service as posts
from app.redis import breaker, client


@pytest.fixture
def pair(world):
    """A reader who follows an author, and the reader's feed is built."""
    reader, author = world.people(2)
    world.follow(reader, author)
    service.rebuild(reader)
    return reader, author


def texts(page: Page) -> list[str]:
    return [json.loads(post)["text"] for post in page.posts]


def ids(page: Page) -> list[int]:
    return [int(json.loads(post)["id"]) for post in page.posts]


def test_deliver_puts_a_post_at_the_head_of_each_followers_feed(world, pair):
    reader, author = pair
    post = world.post(author)

    service.deliver(PUSH, post, author, [reader])

    assert world.feed(reader) == [post, 0]


def test_deliver_takes_back_what_a_former_follower_got(world, pair):
    reader, author = pair
    post = world.post(author)
    posts.unfollow(reader, author)

    service.deliver(PUSH, post, author, [reader])

    assert world.feed(reader) == [0]


def test_deliver_takes_back_a_post_that_is_gone(world, pair):
    reader, author = pair
    post = world.post(author)
    posts.delete(post, author)

    service.deliver(PUSH, post, author, [reader])

    assert world.feed(reader) == [0]


def test_deliver_removes(world, pair):
    reader, author = pair
    post = world.post(author)
    service.deliver(PUSH, post, author, [reader])

    service.deliver(REMOVE, post, author, [reader])

    assert world.feed(reader) == [0]


def test_follower_batches_cover_every_follower_once(world, make_app):
    app = make_app(feed_fanout_batch=2)
    with app.app_context():
        author, *readers = world.people(6)
        for reader in readers:
            world.follow(reader, author)

        batches = list(service.follower_batches(author, service.audience(author).first))

    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert sorted(chain.from_iterable(batches)) == sorted(readers)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_bulk_begins_above_the_limit(world, make_app, batch):
    with make_app(feed_bulk_followers=2, feed_fanout_batch=batch).app_context():
        author, *readers = world.people(4)
        world.follow(readers[0], author)
        world.follow(readers[1], author)

        assert not service.audience(author).is_large

        world.follow(readers[2], author)

        assert service.audience(author).is_large


def test_rebuild_makes_what_sql_says(world):
    reader, one, other, stranger = world.people(4)
    world.follow(reader, one, other)
    for author in (one, other, stranger, one):
        world.posts(author, 2)

    service.rebuild(reader)

    assert world.feed(reader) == [*world.truth(reader), 0]


def test_rebuild_is_cut_at_the_cap(world, make_app):
    with make_app(feed_cap=3).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        world.posts(author, 5)

        service.rebuild(reader)

        assert world.feed(reader) == world.truth(reader)[:3]


def test_rebuild_of_a_full_feed_that_is_as_it_was_takes_one_query(world, make_app, monkeypatch):
    with make_app(feed_cap=5).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        world.posts(author, 8)
        service.rebuild(reader)
        asked = []
        monkeypatch.setattr(truth, "run", lambda *arguments: (asked.append(arguments), run(*arguments))[1])

        service.rebuild(reader)

        assert len(asked) == 1


@pytest.mark.parametrize("change", ["nothing", "follow", "unfollow", "delete"])
def test_rebuild_of_a_full_feed_does_not_depend_on_where_it_ended(world, make_app, change):
    with make_app(feed_cap=5).app_context():
        reader, author, other, newcomer = world.people(4)
        world.follow(reader, author, other)
        for writer in (newcomer, author, other, other, other, newcomer, author, other, newcomer, author):
            written = world.posts(writer, 2)
        service.rebuild(reader)
        if change == "follow":
            world.follow(reader, newcomer)
        elif change == "unfollow":
            posts.unfollow(reader, author)
        elif change == "delete":
            posts.delete(written[0], author)

        service.rebuild(reader)

        assert world.feed(reader) == world.truth(reader)[:5]


def test_rebuild_gives_up_loudly_when_the_lease_is_lost_each_time(world, pair, monkeypatch):
    reader, _ = pair
    read = service.truth.contents

    def read_while_somebody_else_begins(user_id, *arguments):
        timeline.begin(user_id)
        return read(user_id, *arguments)

    monkeypatch.setattr(service.truth, "contents", read_while_somebody_else_begins)

    with pytest.raises(service.RebuildContended):
        service.reconcile(reader)


def test_a_warm_feed_is_read_without_sql(world, pair):
    reader, author = pair
    post = world.post(author)
    bodies.refresh([post])
    service.deliver(PUSH, post, author, [reader])
    for bind in (USERS, POSTS):
        db.engines[bind].dispose()
    db.session.remove()

    page = read_page(reader, 0, 10)

    assert (ids(page), page.source, page.last_id) == ([post], CACHE, None)
    assert [db.engines[bind].pool.checkedout() for bind in (USERS, POSTS)] == [0, 0]


def test_a_cold_feed_is_rebuilt_and_read(world):
    reader, author = world.people(2)
    world.follow(reader, author)
    made = world.posts(author, 3)

    page = read_page(reader, 0, 10)

    assert (ids(page), page.source) == (made[::-1], REBUILT)
    assert read_page(reader, 0, 10).source == CACHE


def test_a_list_that_is_too_short_is_rebuilt(world, pair):
    reader, author = pair
    made = world.posts(author, 3)
    client().delete(timeline.feed_key(reader))
    client().rpush(timeline.feed_key(reader), made[-1])

    page = read_page(reader, 1, 10)

    assert (ids(page), page.source) == ([made[1], made[0]], REBUILT)


def test_a_page_beyond_the_end_of_a_feed_is_empty(world, pair):
    reader, author = pair
    world.posts(author, 3)

    assert ids(read_page(reader, 50, 10)) == []


def test_a_missing_body_is_read_from_sql_and_cached(world, pair):
    reader, author = pair
    post = world.post(author, "kept")
    service.deliver(PUSH, post, author, [reader])

    page = read_page(reader, 0, 10)

    assert (texts(page), page.source) == (["kept"], CACHE)
    assert world.body(post) == page.posts[0]


def test_a_dead_post_is_dropped_and_the_page_refilled(world, pair):
    reader, author = pair
    made = world.posts(author, 4)
    service.rebuild(reader)
    posts.delete(made[3], author)
    posts.delete(made[2], author)

    page = read_page(reader, 0, 2)

    assert ids(page) == [made[1], made[0]]
    assert world.feed(reader) == [made[1], made[0], 0]


def test_many_dead_posts_never_make_a_page_short(world, pair):
    reader, author = pair
    made = world.posts(author, 30)
    service.rebuild(reader)
    for post in made[5:]:
        posts.delete(post, author)

    page = read_page(reader, 0, 2)

    assert ids(page) == [made[4], made[3]]


def test_a_reader_leaves_a_rebuild_under_way_alone_and_reads_sql(world, pair):
    reader, author = pair
    made = world.posts(author, 2)
    timeline.make_cold([reader])
    lease = timeline.begin(reader)

    page = read_page(reader, 0, 10)

    assert (ids(page), page.source) == (made[::-1], DATABASE)
    assert timeline.commit(reader, lease, made[::-1])


def test_offset_and_limit_are_cut_at_the_cap(world, make_app):
    with make_app(feed_cap=3).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        made = world.posts(author, 5)

        assert ids(read_page(reader, 2, 3)) == [made[2]]
        assert ids(read_page(reader, 3, 3)) == []


def test_before_pages_on_past_the_cap(world, make_app):
    with make_app(feed_cap=3).app_context():
        reader, author = world.people(2)
        world.follow(reader, author)
        world.posts(author, 8)

        pages = [read_page(reader, 0, 2)]
        while pages[-1].last_id:
            pages.append(read_page(reader, 0, 2, before=pages[-1].last_id))

        assert list(chain.from_iterable(map(ids, pages))) == world.truth(reader)
        assert {page.source for page in pages} == {REBUILT, DATABASE}


def test_before_does_not_drift_when_a_post_arrives(world, pair):
    reader, author = pair
    made = world.posts(author, 4)
    service.rebuild(reader)
    first = read_page(reader, 0, 2)
    service.deliver(PUSH, world.post(author), author, [reader])

    second = read_page(reader, 0, 2, before=first.last_id)

    assert ids(first) + ids(second) == made[::-1]


def test_without_redis_a_page_comes_from_sql_and_the_breaker_opens(world, make_app):
    reader, author = world.people(2)
    world.follow(reader, author)
    made = world.posts(author, 3)

    with make_app(redis_url="redis://127.0.0.1:1/0").app_context():
        page = read_page(reader, 1, 1)

        assert breaker().is_open
        assert (ids(page), page.source) == ([made[1]], DATABASE)


def test_a_key_that_redis_cannot_read_costs_one_feed_its_cache_and_nobody_else(world, pair):
    reader, author = pair
    made = world.posts(author, 1)
    client().set(timeline.feed_key(reader), "no list")

    page = read_page(reader, 0, 10)

    assert not breaker().is_open
    assert (ids(page), page.source) == (made, DATABASE)


def test_an_edit_is_read_at_once_when_its_event_is_handled(world, pair):
    reader, author = pair
    post = world.post(author, "first")
    service.deliver(PUSH, post, author, [reader])
    bodies.refresh([post])
    posts.edit(post, author, "second")

    bodies.refresh([post])

    assert texts(read_page(reader, 0, 1)) == ["second"]


def test_a_cached_body_is_what_the_post_call_answers(world, pair, client_of):
    reader, author = pair
    post = world.post(author, 'кот "Ñ" \U0001f408 </script>')
    service.deliver(PUSH, post, author, [reader])

    page = client_of(reader).get("/post/feed")

    assert page.get_json() == [client_of(reader).get(f"/post/get/{post}").get_json()]


def test_warm_builds_the_feeds_of_all_who_follow_somebody(world):
    one, two, three, idle = world.people(4)
    world.follow(one, two, three)
    world.follow(two, one)
    for author in (one, two, three, two):
        world.posts(author, 2)

    batches = list(warming.reader_batches("run"))
    for batch in batches:
        warming.warm("run", batch)

    assert list(chain.from_iterable(batches)) == [one, two]
    assert world.feed(one) == [*world.truth(one), 0]
    assert world.feed(two) == [*world.truth(two), 0]
    assert world.feed(three) == world.feed(idle) == []
    assert warming.progress("run") == (2, 2)


def test_warm_leaves_a_feed_that_is_there(world, pair):
    reader, _ = pair
    client().delete(timeline.feed_key(reader))
    client().rpush(timeline.feed_key(reader), 5)

    warming.warm("run", [reader])

    assert world.feed(reader) == [5]


def test_what_was_given_up_is_cold(world):
    author, *readers = world.people(3)
    for reader in readers:
        world.follow(reader, author)
        service.rebuild(reader)

    service.forget(op=PUSH, post_id=1, author_id=author, follower_ids=[readers[0]])

    assert [world.feed(reader) for reader in readers] == [[], [0]]

    bodies.put([(1, bodies.versioned(1, b"old"))])
    service.forget(post_id=1, author_id=author)

    assert [world.feed(reader) for reader in readers] == [[], []]
    assert world.body(1) is None
