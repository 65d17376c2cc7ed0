"""How far a user has read: a mark that never goes back, and never lies ahead of all posts."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.errors import InvalidInput
from app.ids import MAX_ID
from app.posts import seen
from app.posts import service as posts


def mark_of(user_id):
    found = seen.of_user(user_id)
    commit()
    return found


def test_without_a_mark_there_is_none(world):
    assert mark_of(world.person()) is None


def test_the_greatest_mark_wins(world):
    reader, author = world.people(2)
    made = world.posts(author, 3)

    for post_id in (made[1], made[0], made[2], made[1], made[2]):
        posts.mark_seen(reader, post_id)

    assert mark_of(reader) == made[2]


def test_of_many_devices_at_once_the_greatest_wins(app, world):
    reader, author = world.people(2)
    made = world.posts(author, 20)

    def mark(post_id):
        with app.app_context():
            posts.mark_seen(reader, post_id)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(mark, made[::-1]))

    assert mark_of(reader) == made[-1]


def test_marks_of_others_stay(world):
    ann, bob = world.people(2)
    first, second = world.posts(ann, 2)
    posts.mark_seen(ann, first)

    posts.mark_seen(bob, second)

    assert (mark_of(ann), mark_of(bob)) == (first, second)


def test_a_deleted_post_can_be_the_mark(world):
    reader, author = world.people(2)
    post_id = world.post(author)
    posts.delete(post_id, author)

    posts.mark_seen(reader, post_id)

    assert mark_of(reader) == post_id


@pytest.mark.parametrize("ahead", [1, 1 << 22, 365 * 86_400_000 << 22, None], ids=["id", "ms", "year", "all"])
def test_an_id_that_no_post_has_had_yet_is_refused(world, ahead):
    reader, author = world.people(2)
    last = seen.last_id() if world.post(author) else 0

    with pytest.raises(InvalidInput):
        posts.mark_seen(reader, MAX_ID if ahead is None else last + ahead)

    assert mark_of(reader) is None


def test_no_id_is_higher_than_the_last_one_also_while_others_are_made(app, world):
    author = world.person()

    def write(_):
        with app.app_context():
            post_id = posts.publish(author, "hello")
            return post_id <= seen.last_id()

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(write, range(200)))


def test_the_last_id_is_that_of_the_newest_post(world):
    post_id = world.post(world.person())

    assert seen.last_id() == post_id


def test_a_clock_that_is_set_back_refuses_no_post(world):
    """Ids count on ahead of the clock then, and so does the last one."""
    execute(POSTS, text("SELECT setval('id_offset', last_value + (3600000::bigint << 12)) FROM id_offset"))
    commit()
    reader, author = world.people(2)
    post_id = world.post(author)

    posts.mark_seen(reader, post_id)

    assert mark_of(reader) == post_id
