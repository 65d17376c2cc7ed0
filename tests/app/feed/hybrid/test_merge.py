"""Merged pages of readers with pulled authors: exact, in three round trips."""

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.feed.cache import post_bodies, timeline
from app.feed.read import CACHE, DATABASE, REBUILT, read_page
from app.feed.rebuild import rebuild
from app.posts import outbox
from app.posts import service as posts
from app.redis.client import client
from tests.app.feed.celebrity import change_settings, elements
from tests.factories import ids_of


@pytest.fixture
def app(make_app):
    """Authors with more than two followers are pulled, those with fewer than two pushed again."""
    app = make_app(feed_pull_followers=2)
    with app.app_context():
        yield app


def test_a_post_of_a_pulled_author_is_in_one_list_and_on_every_page(pulled):
    before = [elements(timeline.HOME.key(reader)) for reader in pulled.readers]
    assert pulled.is_exact()  # and the author's list is warm

    post = pulled.post()
    pulled.settle()

    assert [elements(timeline.HOME.key(reader)) for reader in pulled.readers] == before
    assert elements(timeline.AUTHOR.key(pulled.author))[0] == str(post)
    assert pulled.is_exact()
    assert read_page(pulled.readers[0], 0, 10).source == CACHE


def test_posts_of_pulled_and_pushed_authors_come_in_order_each_once(pulled):
    for author in (pulled.other, pulled.author, pulled.other, pulled.author):
        pulled.post(author)
        pulled.settle()

    assert pulled.is_exact()


@pytest.mark.parametrize("by_cursor", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_of_any_size_are_the_feed(pulled, by_cursor, limit):
    for author in (pulled.other, pulled.author, pulled.author, pulled.other, pulled.author):
        pulled.post(author)
    pulled.settle()
    reader, shown, page = pulled.readers[0], [], None

    while page is None or page.last_id is not None:
        cursor = page.last_id if page and by_cursor else None
        page = read_page(reader, 0 if by_cursor else len(shown), limit, cursor)
        shown += ids_of(page)

    assert shown == pulled.world.truth(reader)


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_newer_posts_of_a_merged_feed_are_all_that_came_since(pulled, limit):
    for author in (pulled.other, pulled.author, pulled.author, pulled.other, pulled.author):
        pulled.post(author)
    pulled.settle()
    reader = pulled.readers[0]
    true = pulled.world.truth(reader)

    for number, after in enumerate(true):
        shown, page = [], None
        while page is None or page.last_id is not None:
            page = read_page(reader, 0, limit, page and page.last_id, after)
            shown += ids_of(page)
        assert shown == true[:number]


def test_newer_posts_of_a_cold_author_list_are_not_missed(pulled):
    reader = pulled.readers[0]
    known = pulled.world.truth(reader)[0]
    pulled.post()
    pulled.settle()
    client().delete(timeline.AUTHOR.key(pulled.author))

    page = read_page(reader, 0, 10, after=known)

    assert ids_of(page) == pulled.world.truth(reader)[:1]
    assert page.source == REBUILT


def test_pages_by_cursor_go_on_beyond_the_cap(pulled, app):
    change_settings(app, feed_cap=3)
    for author in (pulled.other, pulled.author) * 4:
        pulled.post(author)
    pulled.settle()
    for reader in pulled.readers:
        rebuild(reader)
    reader, shown, before = pulled.readers[0], [], None

    for _ in range(10):
        page = read_page(reader, 0, 2, before)
        shown += ids_of(page)
        before = page.last_id
        if before is None:
            break

    assert shown == pulled.world.truth(reader)
    assert pulled.shown(reader, 3) == pulled.world.truth(reader)[:3]


def test_a_deleted_post_is_in_no_list(pulled):
    first, last = pulled.world.truth(pulled.readers[0])[-1], pulled.post()
    pulled.settle()
    assert pulled.is_exact()

    posts.delete(first, pulled.author)
    posts.delete(last, pulled.author)
    pulled.settle()

    keys = [timeline.AUTHOR.key(pulled.author), *map(timeline.HOME.key, pulled.readers)]
    assert not {str(first), str(last)} & {element for key in keys for element in elements(key)}
    assert pulled.is_exact()


def test_a_post_delivered_after_its_removal_stays_in_no_list(pulled):
    assert pulled.is_exact()
    post = pulled.post()
    posts.delete(post, pulled.author)
    (_, creation), (_, deletion) = pulled.world.events()

    pulled.handle(outbox.POST_DELETED, **deletion)
    pulled.handle(outbox.POST_CREATED, **creation)

    assert str(post) not in elements(timeline.AUTHOR.key(pulled.author))


def test_a_deleted_post_is_dropped_from_the_page_and_the_lists(pulled):
    post = pulled.post()
    pulled.settle()
    assert pulled.is_exact()
    posts.delete(post, pulled.author)
    post_bodies.refresh([post])

    assert pulled.is_exact()
    assert str(post) not in elements(timeline.AUTHOR.key(pulled.author))


def test_a_cold_authors_list_is_built_when_it_is_read(pulled):
    timeline.AUTHOR.evict([pulled.author])

    page = read_page(pulled.readers[0], 0, 10)

    assert page.source == REBUILT
    assert pulled.is_exact()
    assert read_page(pulled.readers[0], 0, 10).source == CACHE


def test_while_somebody_builds_an_authors_list_pages_come_from_sql(pulled):
    timeline.AUTHOR.evict([pulled.author])
    client().set(timeline.AUTHOR.key(pulled.author) + ":lease", "another's")

    page = read_page(pulled.readers[0], 0, 10)

    assert page.source == DATABASE
    assert ids_of(page) == pulled.world.truth(pulled.readers[0])


def test_an_authors_list_that_is_too_short_is_built_anew(pulled):
    assert pulled.is_exact()
    [newest, *_] = elements(timeline.AUTHOR.key(pulled.author))
    client().delete(timeline.AUTHOR.key(pulled.author))
    client().rpush(timeline.AUTHOR.key(pulled.author), newest)

    assert pulled.is_exact()


def test_a_page_needs_nothing_of_a_short_list_that_lies_below_it(pulled):
    last = pulled.post()
    pulled.settle()
    assert pulled.is_exact()
    client().delete(timeline.AUTHOR.key(pulled.author))
    client().rpush(timeline.AUTHOR.key(pulled.author), last)

    page = read_page(pulled.readers[0], 0, 1)

    assert page.source == CACHE
    assert elements(timeline.AUTHOR.key(pulled.author)) == [str(last)]


def test_follows_and_unfollows_of_a_pulled_author_change_the_page(pulled):
    newcomer = pulled.world.person()
    pulled.world.follow(newcomer, pulled.author)
    pulled.leave(pulled.readers[0])
    pulled.settle()
    pulled.post()
    pulled.settle()

    assert pulled.is_exact()
    assert pulled.shown(newcomer) == pulled.world.truth(newcomer)


def test_the_lives_of_all_lists_of_a_page_are_renewed(pulled):
    assert pulled.is_exact()
    keys = [timeline.HOME.key(pulled.readers[0]), timeline.AUTHOR.key(pulled.author)]
    for key in keys:
        client().expire(key, 5)

    read_page(pulled.readers[0], 0, 1)

    assert all(client().ttl(key) > 5 for key in keys)


# --- round trips -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cursor", [{}, {"before": 2**62}, {"after": 0}], ids=["none", "before", "after"])
@pytest.mark.parametrize("authors", [0, 1, 5])
def test_a_page_takes_three_round_trips_however_many_authors_are_pulled(world, round_trips, authors, cursor):
    reader, pushed, *others = world.people(2 + authors)
    world.follow(reader, pushed, *others)
    for author in (pushed, *others):
        world.posts(author, 3)
        execute(POSTS, text("INSERT INTO pulled_authors (author_id, state) VALUES (:id, 'pulled')"), {"id": author})
    execute(POSTS, text("DELETE FROM pulled_authors WHERE author_id = :id"), {"id": pushed})
    commit()

    trips = round_trips(lambda: read_page(reader, 0, 10, **cursor))

    assert read_page(reader, 0, 10, **cursor).source == CACHE
    assert trips == (3 if authors else 1)
    assert client().ping()
