"""Feed queries, compared with a plain join."""

from itertools import combinations
from random import Random
from threading import Thread

import pytest

from app.db.engine import POSTS, commit, db
from app.feed import store
from app.posts import service as posts


def insert_post(post_id, author_id):
    db.session.connection(bind_arguments={"bind": db.engines[POSTS]}).exec_driver_sql(
        "INSERT INTO posts (id, author_id, text) VALUES (%s, %s, 'hello')", (post_id, author_id)
    )
    commit()


@pytest.fixture
def readers(world):
    """Create readers of 0 to 12 authors with very different numbers of posts."""
    random = Random(7)
    authors = world.people(12)
    readers = world.people(13)
    for number, reader in enumerate(readers):
        world.follow(reader, *random.sample(authors, number))
    for author in (*authors[:6], *random.choices(authors[:10], weights=[2**n for n in range(10)], k=120)):
        world.posts(author, random.choice((1, 1, 4)))
    return readers


@pytest.mark.parametrize("limit", [1, 3, 10, 40, 10_000])
def test_the_newest_ids_are_those_of_the_join(world, readers, limit):
    together = dict(store.select_newest_ids(readers, limit))

    for reader in readers:
        expected = [str(post) for post in world.truth(reader)[:limit]]
        assert store.select_feed(reader, limit)[0] == expected
        assert together[reader] == expected


@pytest.mark.parametrize("limit", [1, 3, 10, 40, 10_000])
def test_an_estimate_from_a_sample_of_authors_changes_no_feed(world, readers, limit, monkeypatch):
    monkeypatch.setattr(store, "SAMPLE", 2)

    for reader in readers:
        assert store.select_feed(reader, limit)[0] == [str(post) for post in world.truth(reader)[:limit]]


def test_an_estimate_that_is_too_high_leaves_no_gap(world, monkeypatch):
    """Two of eight authors are sampled. The others' posts are older whenever these two were the last to post."""
    monkeypatch.setattr(store, "SAMPLE", 2)
    reader, *authors = world.people(9)
    world.follow(reader, *authors)

    for pair in combinations(authors, 2):
        for author in pair:
            world.post(author)
        assert store.select_feed(reader, 4)[0] == [str(post) for post in world.truth(reader)[:4]]


def test_pages_of_posts_are_those_of_the_join(world, readers):
    for reader in readers:
        whole = world.truth(reader)
        for offset, limit in ((0, 5), (7, 20), (60, 1000)):
            page, _ = store.select_newest_posts(reader, limit, 10**6, offset=offset)
            assert [post.id for post in page] == whole[offset : offset + limit]
        for before in whole[::17]:
            page, _ = store.select_newest_posts(reader, 6, 10**6, before=before)
            assert [post.id for post in page] == [post for post in whole if post < before][:6]


def test_ids_of_few_and_of_many_digits_are_in_the_order_of_their_numbers(world):
    reader, author, other = world.people(3)
    world.follow(reader, author, other)
    for post_id, writer in ((7, author), (11, other), (100, author), (99, author), (1 << 62, other)):
        insert_post(post_id, writer)

    assert (
        store.select_feed(reader, 4)[0]
        == dict(store.select_newest_ids([reader], 4))[reader]
        == [str(1 << 62), "100", "99", "11"]
    )
    assert dict(store.select_newest_ids([reader], 9))[reader][-1] == "7"


def test_an_author_is_read_down_to_the_lowest_bound_of_the_readers(world):
    author, early, late = world.people(3)
    readers = world.people(8)
    for writer, number in ((early, 3), (author, 13), (late, 3), (author, 7)):
        world.posts(writer, number)
    for number, reader in enumerate(readers):
        world.follow(reader, author, (early, late)[number % 2])

    newest = dict(store.select_newest_ids(readers, 10))

    for reader in readers:
        assert newest[reader] == [str(post) for post in world.truth(reader)[:10]]


def test_a_post_deleted_between_two_readings_leaves_no_gap(world, app, monkeypatch):
    """The lower bound was computed from it: without it the feed would end too early, and as if it were complete."""
    reader, author, *others = world.people(4)
    world.follow(reader, author, *others)
    for writer, number in ((author, 3), (others[0], 1), (others[1], 1), (author, 2)):
        world.posts(writer, number)
    doomed = world.truth(reader)[1]
    read = store.select_newest_by_author

    def delete():
        with app.app_context():
            posts.delete(doomed, author)

    def delete_before_the_second(limits, lower_bounds=None):
        if lower_bounds:
            thread = Thread(target=delete)
            thread.start()
            thread.join()
        return read(limits, lower_bounds)

    monkeypatch.setattr(store, "select_newest_by_author", delete_before_the_second)
    ids = dict(store.select_newest_ids([reader], 4))[reader]

    assert doomed not in world.truth(reader)
    assert ids == [str(post) for post in world.truth(reader)[:4]]
