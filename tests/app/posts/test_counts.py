"""Counts of followers, followees and posts."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from random import Random

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, db, execute
from app.posts import counts, service
from app.posts.counts import Counts


@pytest.fixture
def pair(world):
    return world.people(2)


@contextmanager
def transaction():
    """A connection that waits for no lock."""
    with db.engines[POSTS].begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
        yield connection


def insert_follow(connection, follower, followee):
    query = text("INSERT INTO follows (follower_id, followee_id) VALUES (:follower, :followee)")
    connection.execute(query, {"follower": follower, "followee": followee})


def differences():
    commit()
    return {user_id: missing for part in counts.compare() for user_id, missing in part.missing.items()}


# --- what is counted ---------------------------------------------------------------------------------------


def test_a_profile_and_oneself_have_the_counts(pair, client_of, world):
    ann, bob = pair
    world.follow(bob, ann)
    world.posts(ann, 3)

    expected = {"followers": 1, "following": 0, "posts": 3}

    assert client_of(ann).get("/user/me").json.items() >= expected.items()
    assert client_of(bob).get(f"/user/get/{ann}").json.items() >= expected.items()
    assert counts.of_user(bob) == Counts(0, 1, 0)


def test_a_user_without_any_has_counts_of_0(world):
    assert counts.of_user(world.person()) == Counts(0, 0, 0)


def test_each_write_counts_once_and_its_repetition_not_at_all(pair, world):
    ann, bob = pair
    seen = []
    for write in (service.follow, service.follow, service.unfollow, service.unfollow, service.follow, service.block):
        write(ann, bob)
        seen.append(counts.of_user(bob).followers)

    assert seen == [1, 1, 0, 0, 1, 0]


def test_a_post_counts_until_it_is_deleted(pair, world):
    first, second = world.post(pair[0]), world.post(pair[0])
    service.edit(second, pair[0], "edited")
    service.delete(first, pair[0])

    assert counts.of_user(pair[0]) == Counts(0, 0, 1)


def test_a_write_that_is_rolled_back_does_not_count(pair):
    ann, bob = pair
    with db.engines[POSTS].connect() as connection:
        insert_follow(connection, ann, bob)
        connection.rollback()

    assert counts.of_user(bob) == Counts(0, 0, 0)


def test_rows_that_are_copied_and_deleted_in_batches_count(app):
    with db.engines[POSTS].begin() as connection:
        cursor = connection.connection.cursor()
        lines = "".join(f"{follower}\t{followee}\n" for follower in range(1, 101) for followee in range(101, 104))
        cursor.copy_expert("COPY follows (follower_id, followee_id) FROM STDIN", StringIO(lines))
        cursor.execute("DELETE FROM follows WHERE follower_id <= 40 AND followee_id = 101")

    assert [counts.of_user(user_id) for user_id in (1, 41, 101, 102)] == [
        Counts(0, 2, 0),
        Counts(0, 3, 0),
        Counts(60, 0, 0),
        Counts(100, 0, 0),
    ]
    assert differences() == {}


@pytest.mark.parametrize(("table", "left"), [("follows", Counts(0, 0, 1)), ("posts", Counts(1, 0, 0))])
def test_a_table_that_is_truncated_counts_nothing(pair, world, table, left):
    ann, bob = pair
    world.follow(ann, bob)
    world.post(bob)

    execute(POSTS, text(f"TRUNCATE {table}"))
    commit()

    assert counts.of_user(bob) == left
    assert differences() == {}


# --- at the same time --------------------------------------------------------------------------------------


def test_follows_of_one_author_wait_for_no_other(world):
    author, *followers = world.people(5)
    with transaction() as one, transaction() as two, transaction() as three:
        for connection, follower in zip((one, two, three), followers, strict=False):
            insert_follow(connection, follower, author)
        insert_follow(one, followers[3], author)

    assert counts.of_user(author) == Counts(4, 0, 0)
    assert differences() == {}


def test_users_who_follow_each_other_at_the_same_time_do_not_wait(pair):
    ann, bob = pair
    with transaction() as one, transaction() as two:
        insert_follow(one, ann, bob)
        insert_follow(two, bob, ann)

    assert counts.of_user(ann) == counts.of_user(bob) == Counts(1, 1, 0)


def test_one_writer_at_a_time_leaves_one_row_for_each_user(world):
    author, *followers = world.people(4)
    for follower in followers:
        world.follow(follower, author)

    assert execute(POSTS, text("SELECT count(*), count(DISTINCT user_id) FROM user_counts")).one() == (4, 4)


def test_counts_are_exact_after_many_writers_at_once(app, world):
    users = world.people(4)

    def write(seed):
        random = Random(seed)
        with app.app_context():
            for _ in range(30):
                random.choice((service.follow, service.unfollow))(*random.sample(users, 2))
                service.publish(random.choice(users), "hello")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(6)))

    assert differences() == {}
    assert sum(counts.of_user(user_id).posts for user_id in users) == 180


# --- check-counts ------------------------------------------------------------------------------------------


def damage(user_id):
    query = "INSERT INTO user_counts (user_id, followers, following, posts) VALUES (:user_id, 2, -1, 0)"
    execute(POSTS, text(query), {"user_id": user_id})
    commit()


def test_exact_counts_are_reported_as_such(pair, runner, world):
    world.follow(*pair)

    result = runner.invoke(args=["check-counts"])

    assert (result.exit_code, result.output) == (0, "2 checked, 2 exact, 0 wrong, 0 repaired\n")


def test_a_wrong_count_is_reported_with_what_it_lacks(pair, runner, world):
    world.follow(*pair)
    damage(pair[1])

    result = runner.invoke(args=["check-counts"])

    assert result.exit_code == 1
    assert result.output == (
        f"2 checked, 1 exact, 1 wrong, 0 repaired\n  user {pair[1]} lacks -2 followers, +1 following\n"
    )


def test_repair_corrects_a_wrong_count(pair, runner, world):
    world.follow(*pair)
    damage(pair[1])

    result = runner.invoke(args=["check-counts", "--repair", "--json"])

    assert result.exit_code == 0
    assert json.loads(result.output) == {
        "checked": 2,
        "exact": 1,
        "wrong": 1,
        "repaired": 1,
        "missing": {str(pair[1]): {"followers": -2, "following": 1, "posts": 0}},
    }
    assert counts.of_user(pair[1]) == Counts(1, 0, 0)
    assert runner.invoke(args=["check-counts"]).exit_code == 0


def test_more_users_than_a_batch_are_all_checked(pair, runner, world, monkeypatch):
    for follower in world.people(5):
        world.follow(follower, pair[0])
    damage(pair[0])
    monkeypatch.setattr(
        counts, "_NEXT_USERS", text(str(counts._NEXT_USERS).replace(f"LIMIT {counts.BATCH}", "LIMIT 2"))
    )

    assert runner.invoke(args=["check-counts", "--repair"]).output.startswith("6 checked, 5 exact, 1 wrong, 1 repaired")
    assert differences() == {}


def test_a_write_in_flight_is_no_difference_and_a_repair_beside_it_is_exact(pair, runner):
    ann, bob = pair
    damage(bob)
    with db.engines[POSTS].connect() as connection:
        insert_follow(connection, ann, bob)
        result = runner.invoke(args=["check-counts", "--repair"])
        connection.commit()

    assert result.output.startswith("1 checked, 0 exact, 1 wrong, 1 repaired")
    assert counts.of_user(bob) == Counts(1, 0, 0)
    assert differences() == {}


def test_counts_cannot_be_checked_before_everything_is_counted(runner):
    execute(POSTS, text("UPDATE counted_users SET up_to = 7"))
    commit()
    try:
        result = runner.invoke(args=["check-counts", "--repair"])
    finally:
        execute(POSTS, text("UPDATE counted_users SET up_to = :all"), {"all": counts.MAX_ID})
        commit()

    assert result.exit_code == 2
    assert "db upgrade" in result.output
