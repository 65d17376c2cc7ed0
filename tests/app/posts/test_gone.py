"""Users who are gone: no write by or about them gets past the tombstone, however late it commits."""

import threading
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, db, execute
from app.errors import NotFound, Unauthorized
from app.feed.hybrid import policy
from app.posts import gone, store
from app.posts import service as posts
from tests.app.feed.celebrity import change_settings
from tests.factories import eventually


@contextmanager
def elsewhere(app):
    """Run statements in another transaction: `run(function)` there; it commits at the end."""
    work, done = [], threading.Event()
    asked, answered = threading.Semaphore(0), threading.Semaphore(0)

    def main():
        with app.app_context():
            while asked.acquire() and not done.is_set():
                work.append(work.pop()())
                answered.release()
            commit()

    thread = threading.Thread(target=main)
    thread.start()

    def run(function):
        work.append(function)
        asked.release()
        assert answered.acquire(timeout=30)
        return work.pop()

    yield run
    done.set()
    asked.release()
    thread.join()


def count(table):
    number = execute(POSTS, text(f"SELECT count(*) FROM {table}")).scalar_one()
    commit()
    return number


def bury(user_id):
    is_buried = gone.bury(user_id)
    commit()
    return is_buried


def wait_for_a_waiter():
    """Wait until another transaction waits for a lock that this one holds."""
    waiting = text("""
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    """)

    def number():
        with db.engines[POSTS].connect() as observer:  # a transaction sees one state of the server's activity
            return observer.execute(waiting).scalar_one()

    eventually(lambda: number() == 1, "the other transaction waits")


WRITES = {
    "a post": lambda ann, bea: store.insert_post(ann, "late"),
    "a follow by the user": lambda ann, bea: store.insert_follow(ann, bea),
    "a follow of the user": lambda ann, bea: store.insert_follow(bea, ann),
    "a block by the user": lambda ann, bea: store.insert_block(ann, bea),
    "a block of the user": lambda ann, bea: store.insert_block(bea, ann),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_under_way_keeps_its_user_from_being_buried(app, world, write):
    ann, bea = world.people(2)

    with elsewhere(app) as run:
        run(lambda: write(ann, bea))
        during = bury(ann)

    assert (during, bury(ann), bury(ann)) == (False, True, True)
    assert sum(map(count, ("posts", "follows", "blocks"))) == 1  # committed before, so the erasure finds it


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_that_waits_for_the_burial_changes_nothing(app, world, write):
    """Its snapshot is older than the commit that it waits for."""
    ann, bea = world.people(2)
    done = []

    def late():
        with app.app_context():
            done.append(write(ann, bea))
            commit()

    assert gone.bury(ann)
    thread = threading.Thread(target=late)
    thread.start()
    wait_for_a_waiter()
    commit()
    thread.join()

    assert done in ([None], [False])
    assert sum(map(count, ("posts", "follows", "blocks"))) == 0


def test_a_post_whose_author_is_being_buried_keeps_no_other_waiting(app, world):
    ann, bea = world.people(2)
    refused = []

    def late():
        with app.app_context():
            with pytest.raises(Unauthorized):
                posts.publish(ann, "late")
            refused.append(True)

    assert gone.bury(ann)
    thread = threading.Thread(target=late)
    thread.start()
    wait_for_a_waiter()
    with elsewhere(app) as run:
        assert run(lambda: posts.publish(bea, "hello"))
    commit()
    thread.join()

    assert refused == [True]
    assert [event for event, _ in world.events()] == ["post_created"]


def test_a_user_who_is_gone_cannot_write_and_is_not_found(world):
    ann, bea = world.people(2)
    bury(ann)

    with pytest.raises(Unauthorized):
        posts.publish(ann, "late")
    with pytest.raises(Unauthorized):
        posts.follow(ann, bea)
    with pytest.raises(NotFound):
        posts.follow(bea, ann)

    assert world.events() == []


def test_following_again_is_no_error(world):
    ann, bea = world.people(2)

    posts.follow(ann, bea)
    posts.follow(ann, bea)

    assert [event for event, _ in world.events()] == ["follows_changed"]


def test_an_author_who_is_gone_is_not_pulled(app, world):
    ann, *readers = world.people(4)
    for reader in readers:
        world.follow(reader, ann)
    bury(ann)
    world.events()
    change_settings(app, feed_pull_followers=1)

    policy.update_pull_state(ann)

    assert (policy.state_of(ann), world.events()) == (None, [])


def test_posts_are_taken_until_none_is_left_though_another_deletes_one(app, world):
    """The deletion holds the newest post; the batch waits, and then takes the one below."""
    ann = world.person()
    below, newest = world.posts(ann, 2)
    taken = []

    def take():
        with app.app_context():
            gone.take_posts(ann, 1)
            taken.extend(gone.deleted_posts(ann, 10))
            commit()

    store.lock_author(newest)
    store.delete_post(newest)
    thread = threading.Thread(target=take)
    thread.start()
    wait_for_a_waiter()
    commit()
    thread.join()

    assert taken == [newest, below]


def test_tombstones_are_kept_for_as_long_as_they_are_told(world):
    ann = world.person()
    bury(ann)
    execute(POSTS, text("UPDATE gone_users SET gone_at = now() - interval '100 seconds'"))

    forgotten = gone.forget_old(110), gone.forget_old(90)

    assert (forgotten, gone.gone_among([ann])) == ((0, 1), set())
