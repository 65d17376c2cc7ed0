"""Pages of a feed: their bound in bytes."""

from itertools import chain

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.feed.cache import post_bodies
from app.feed.read import DATABASE, read_page
from tests.factories import ids_of

PAGE_BYTES = 100_000
LONG_TEXT = "ж" * 10_000  # 20,000 bytes: four to a page


@pytest.fixture
def app(make_app):
    app = make_app(feed_page_bytes=PAGE_BYTES)
    with app.app_context():
        yield app


@pytest.fixture
def reader(world):
    """A reader of eleven long posts and their author."""
    reader, author = world.people(2)
    world.follow(reader, author)
    for _ in range(11):
        world.post(author, LONG_TEXT)
    return reader


def pages(reader, first=None):
    """All pages, each as the ids of its posts, by their cursors."""
    found, before = [], first
    while True:
        page = read_page(reader, 0, 1000, before)
        assert sum(map(len, page.posts)) <= PAGE_BYTES
        found.append(ids_of(page))
        if page.last_id is None:
            return found
        assert page.last_id == found[-1][-1]
        before = page.last_id


@pytest.mark.parametrize("bodies", ["cached", "not cached"])
def test_a_page_ends_at_its_bound_in_bytes_and_the_next_goes_on_behind_it(world, reader, bodies):
    if bodies == "cached":
        read_page(reader, 0, 1)
        post_bodies.refresh(world.truth(reader))

    found = pages(reader)

    assert [len(page) for page in found] == [4, 4, 3]
    assert list(chain(*found)) == world.truth(reader)


def test_a_page_from_sql_while_redis_is_away_has_the_same_bound(make_app, world, reader):
    with make_app(feed_page_bytes=PAGE_BYTES, redis_url="redis://127.0.0.1:1/0").app_context():
        found = pages(reader)

        assert read_page(reader, 0, 1000).source == DATABASE

    assert [len(page) for page in found] == [4, 4, 3]
    assert list(chain(*found)) == world.truth(reader)


def test_a_page_that_is_merged_from_pulled_authors_has_the_same_bound(world, reader):
    execute(POSTS, text("INSERT INTO pulled_authors (author_id, state) SELECT DISTINCT author_id, 'pulled' FROM posts"))
    commit()

    found = pages(reader)

    assert [len(page) for page in found] == [4, 4, 3]
    assert list(chain(*found)) == world.truth(reader)


def test_a_post_that_is_longer_than_a_page_is_a_page(make_app, world, reader):
    with make_app(feed_page_bytes=1024).app_context():
        page = read_page(reader, 0, 10)

    assert len(page.posts) == 1
    assert page.last_id is not None


def test_a_page_within_the_bound_ends_at_its_limit(world, reader):
    page = read_page(reader, 0, 3)

    assert len(page.posts) == 3
    assert page.last_id == world.truth(reader)[2]
