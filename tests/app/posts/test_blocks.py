"""Blocks: over HTTP, their events, and a follow at the same time."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import text

from app.db.engine import POSTS, db
from app.errors import Blocked
from app.posts import service
from tests.factories import eventually
from tests.tools.links import pages


@pytest.fixture
def pair(world):
    """Create two users who follow each other; the outbox is empty."""
    ann, bob = world.people(2)
    world.follow(ann, bob)
    world.follow(bob, ann)
    world.events()
    return ann, bob


def committed(query):
    """Read on another connection."""
    with db.engines[POSTS].connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def follows():
    return committed("SELECT follower_id, followee_id FROM follows")


def blocks():
    return committed("SELECT blocker_id, blocked_id FROM blocks")


# --- setting and taking back -------------------------------------------------------------------------------


def test_a_block_ends_both_follows_and_no_other(pair, client_of, world):
    ann, bob = pair
    third = world.person()
    world.follow(bob, third)

    answer = client_of(ann).put(f"/block/set/{bob}")

    assert (answer.status_code, answer.json) == (200, {})
    assert blocks() == [(ann, bob)]
    assert follows() == [(bob, third)]


def test_each_follow_that_a_block_ends_has_its_event(pair, world):
    ann, bob = pair
    service.unfollow(bob, ann)
    world.events()

    service.block(bob, ann)
    service.block(bob, ann)

    assert world.events() == [("follows_changed", {"follower_id": ann})]


def test_the_posts_of_both_leave_the_feeds_of_both(pair, world):
    ann, bob = pair

    service.block(ann, bob)

    assert world.events() == [("follows_changed", {"follower_id": user_id}) for user_id in (ann, bob)]


@pytest.mark.parametrize("by_blocker", [True, False])
def test_a_follow_in_either_direction_is_403_while_a_block_stands(pair, client_of, world, by_blocker):
    ann, bob = pair
    service.block(ann, bob)
    world.events()
    follower, followee = (ann, bob) if by_blocker else (bob, ann)

    answer = client_of(follower).put(f"/friend/set/{followee}")

    assert (answer.status_code, answer.json["code"]) == (403, 1017)
    assert follows() == []
    assert world.events() == []


def test_a_block_that_is_taken_back_lets_follow_again_and_restores_none(pair, client_of):
    ann, bob = pair
    service.block(ann, bob)

    answers = [client_of(ann).put(f"/block/delete/{bob}").status_code for _ in range(2)]

    assert answers == [200, 200]
    assert (blocks(), follows()) == ([], [])
    assert client_of(bob).put(f"/friend/set/{ann}").status_code == 200


def test_only_the_one_who_blocked_takes_it_back(pair, client_of):
    ann, bob = pair
    service.block(ann, bob)

    client_of(bob).put(f"/block/delete/{ann}")

    assert blocks() == [(ann, bob)]


def test_both_may_block_each_other(pair, client_of):
    ann, bob = pair
    service.block(ann, bob)

    assert client_of(bob).put(f"/block/set/{ann}").status_code == 200
    assert sorted(blocks()) == sorted([(ann, bob), (bob, ann)])


def test_nobody_blocks_themselves(pair, client_of):
    answer = client_of(pair[0]).put(f"/block/set/{pair[0]}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["user_id"]


@pytest.mark.parametrize("call", ["set", "delete"])
@pytest.mark.parametrize(("user_id", "status"), [("1", 404), ("9" * 19, 404), ("abc", 400), ("-1", 400)])
def test_a_block_names_a_user(pair, client_of, call, user_id, status):
    answer = client_of(pair[0]).put(f"/block/{call}/{user_id}")

    assert answer.status_code == status
    assert blocks() == []


# --- profile and list --------------------------------------------------------------------------------------


def test_a_profile_says_whether_the_asker_has_blocked_the_user(pair, client_of):
    ann, bob = pair
    service.block(ann, bob)

    assert client_of(ann).get(f"/user/get/{bob}").json["is_blocked"] is True
    assert client_of(bob).get(f"/user/get/{ann}").json["is_blocked"] is False


def test_the_list_has_whom_the_caller_has_blocked_newest_first(world, client_of):
    ann, *others = world.people(4)
    for other in others:
        service.block(ann, other)
    service.block(others[0], others[1])

    assert pages(client_of(ann), "/block/list?limit=2") == [[others[2], others[1]], [others[0]]]
    assert pages(client_of(others[1]), "/block/list") == [[]]


def test_the_list_has_names_and_the_time_of_the_block(world, client_of):
    ann, bob = world.person(), world.person(first_name="Bob", second_name="Ross")
    service.block(ann, bob)
    [(since,)] = committed("SELECT created_at FROM blocks")

    [block] = client_of(ann).get("/block/list").json

    assert block == {"id": str(bob), "first_name": "Bob", "second_name": "Ross", "blocked_at": since.isoformat()}


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x"])
def test_the_list_names_the_parameter_that_it_cannot_use(world, client_of, query):
    answer = client_of(world.person()).get(f"/block/list?{query}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [query.partition("=")[0]]


# --- a follow in flight ------------------------------------------------------------------------------------

WAITING = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


@pytest.fixture
def at_once(app: Flask, monkeypatch):
    """Call `first`, and start `second` before it commits. It goes on when `second` waits or is done."""

    def interleave(first: Callable[[], None], second: Callable[[], None]) -> "Future[None]":
        commit, threads = service.commit, ThreadPoolExecutor(1)

        def in_a_context() -> None:
            with app.app_context():
                second()

        def commit_later() -> None:
            monkeypatch.setattr(service, "commit", commit)
            started.append(threads.submit(in_a_context))
            eventually(lambda: started[0].done() or committed(WAITING) == [(1,)], "the second one waits")
            commit()

        started: list[Future[None]] = []
        monkeypatch.setattr(service, "commit", commit_later)
        first()
        threads.shutdown()
        return started[0]

    return interleave


def test_a_follow_that_is_not_committed_yet_is_ended_by_a_block(world, at_once):
    ann, bob = world.people(2)

    at_once(lambda: service.follow(bob, ann), lambda: service.block(ann, bob)).result()

    assert (blocks(), follows()) == ([(ann, bob)], [])
    assert world.events() == [("follows_changed", {"follower_id": bob})] * 2


@pytest.mark.parametrize("by_blocker", [True, False])
def test_a_block_that_is_not_committed_yet_refuses_a_follow(world, at_once, by_blocker):
    ann, bob = world.people(2)
    follower, followee = (ann, bob) if by_blocker else (bob, ann)

    result = at_once(lambda: service.block(ann, bob), lambda: service.follow(follower, followee))

    with pytest.raises(Blocked):
        result.result()
    assert (blocks(), follows()) == ([(ann, bob)], [])


def test_followers_of_one_author_do_not_wait_for_each_other(world, at_once):
    author, *followers = world.people(3)

    first, second = (lambda follower=follower: service.follow(follower, author) for follower in followers)

    at_once(first, second).result()
    assert sorted(follows()) == sorted((follower, author) for follower in followers)
