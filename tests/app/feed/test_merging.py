"""Pages of those who follow pulled authors: merged, exact, and in three round trips."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import text

from app.db import POSTS, commit, run
from app.feed import authored, bodies, service, timeline
from app.feed.reading import CACHE, DATABASE, REBUILT, read_page
from app.posts import outbox
from app.posts import service as posts
from app.redis import OwnConnection, client
from tests.app.feed.crowd import change_settings, elements


@pytest.fixture
def app(make_app):
    """Authors with more than two followers are pulled, those with fewer than two pushed again."""
    app = make_app(feed_pull_followers=2)
    with app.app_context():
        yield app


def test_a_post_of_a_pulled_author_goes_into_one_list_and_is_on_everybodys_page(pulled):
    before = [elements(timeline.feed_key(reader)) for reader in pulled.readers]
    assert pulled.is_exact()  # and the author's list is warm

    post = pulled.post()
    pulled.settle()

    assert [elements(timeline.feed_key(reader)) for reader in pulled.readers] == before
    assert elements(authored.key(pulled.author))[0] == str(post)
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
        shown += [int(json.loads(post)["id"]) for post in page.posts]

    assert shown == pulled.world.truth(reader)


def test_pages_by_cursor_go_on_beyond_the_cap(pulled, app):
    change_settings(app, feed_cap=3)
    for author in (pulled.other, pulled.author) * 4:
        pulled.post(author)
    pulled.settle()
    for reader in pulled.readers:
        service.rebuild(reader)
    reader, shown, before = pulled.readers[0], [], None

    for _ in range(10):
        page = read_page(reader, 0, 2, before)
        shown += [int(json.loads(post)["id"]) for post in page.posts]
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

    keys = [authored.key(pulled.author), *map(timeline.feed_key, pulled.readers)]
    assert not {str(first), str(last)} & {element for key in keys for element in elements(key)}
    assert pulled.is_exact()


def test_a_post_delivered_after_its_removal_stays_in_no_list(pulled):
    assert pulled.is_exact()
    post = pulled.post()
    posts.delete(post, pulled.author)
    (_, creation), (_, deletion) = pulled.world.events()

    pulled.handle(outbox.POST_DELETED, **deletion)
    pulled.handle(outbox.POST_CREATED, **creation)

    assert str(post) not in elements(authored.key(pulled.author))


def test_a_dead_post_that_slipped_through_is_dropped_from_the_page_and_the_lists(pulled):
    post = pulled.post()
    pulled.settle()
    assert pulled.is_exact()
    posts.delete(post, pulled.author)
    bodies.refresh([post])

    assert pulled.is_exact()
    assert str(post) not in elements(authored.key(pulled.author))


def test_a_cold_authors_list_is_built_when_it_is_read(pulled):
    authored.make_cold([pulled.author])

    page = read_page(pulled.readers[0], 0, 10)

    assert page.source == REBUILT
    assert pulled.is_exact()
    assert read_page(pulled.readers[0], 0, 10).source == CACHE


def test_while_somebody_builds_an_authors_list_pages_come_from_sql(pulled):
    authored.make_cold([pulled.author])
    client().set(authored.key(pulled.author) + ":lease", "somebody's")

    page = read_page(pulled.readers[0], 0, 10)

    assert page.source == DATABASE
    assert [int(json.loads(post)["id"]) for post in page.posts] == pulled.world.truth(pulled.readers[0])


def test_an_authors_list_that_is_too_short_is_built_anew(pulled):
    assert pulled.is_exact()
    [newest, *_] = elements(authored.key(pulled.author))
    client().delete(authored.key(pulled.author))
    client().rpush(authored.key(pulled.author), newest)

    assert pulled.is_exact()


def test_a_page_needs_nothing_of_a_short_list_that_lies_below_it(pulled):
    last = pulled.post()
    pulled.settle()
    assert pulled.is_exact()
    client().delete(authored.key(pulled.author))
    client().rpush(authored.key(pulled.author), last)

    page = read_page(pulled.readers[0], 0, 1)

    assert page.source == CACHE
    assert elements(authored.key(pulled.author)) == [str(last)]


def test_who_unfollows_a_pulled_author_sees_no_more_of_them_and_who_follows_sees_all(pulled):
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
    keys = [timeline.feed_key(pulled.readers[0]), authored.key(pulled.author)]
    for key in keys:
        client().expire(key, 5)

    read_page(pulled.readers[0], 0, 1)

    assert all(client().ttl(key) > 5 for key in keys)


# --- round trips -------------------------------------------------------------------------------------------


@pytest.fixture
def round_trips(app, redis_server_url):
    """Counts what is sent to one Redis and waited for: a pipeline is sent as one."""
    sent: list[bytes] = []

    class Counting(app.extensions["redis"].connection_pool.connection_class):
        def send_packed_command(self, command, check_health=True):
            sent.append(b"".join(command))
            super().send_packed_command(command, check_health)

    pool = app.extensions["redis"].connection_pool
    pool.connection_class = Counting
    pool.reset()  # connections are made anew
    app.extensions["own_connection"] = OwnConnection(pool)

    def count(work: Callable[[], object]) -> int:
        work()  # connections are made, and scripts known
        sent.clear()
        work()
        return len(sent)

    return count


@pytest.mark.parametrize("before", [None, 2**62])
@pytest.mark.parametrize("authors", [0, 1, 5])
def test_a_page_takes_three_round_trips_however_many_authors_are_pulled(world, round_trips, authors, before):
    reader, pushed, *others = world.people(2 + authors)
    world.follow(reader, pushed, *others)
    for author in (pushed, *others):
        world.posts(author, 3)
        run(POSTS, text("INSERT INTO pulled_authors (author_id, state) VALUES (:id, 'pulled')"), {"id": author})
    run(POSTS, text("DELETE FROM pulled_authors WHERE author_id = :id"), {"id": pushed})
    commit()

    trips = round_trips(lambda: read_page(reader, 0, 10, before))

    assert read_page(reader, 0, 10, before).source == CACHE
    assert trips == (3 if authors else 1)
    assert client().ping()
