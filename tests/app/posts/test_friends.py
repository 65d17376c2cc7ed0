"""Whom one follows: as a client sees it."""

import pytest
from sqlalchemy import text

from app.db import POSTS, db


@pytest.fixture
def pair(world):
    """Two users who do not follow each other."""
    return world.people(2)


def follows():
    """All (follower, followee) that are committed."""
    with db.engines[POSTS].connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT follower_id, followee_id FROM follows"))]


def test_setting_a_friend_makes_the_caller_follow_them(pair, client_of):
    reader, author = pair

    answer = client_of(reader).put(f"/friend/set/{author}")

    assert (answer.status_code, answer.json) == (200, {})
    assert follows() == [(reader, author)]


def test_deleting_a_friend_ends_the_following(pair, client_of, world):
    reader, author = pair
    world.follow(reader, author)

    answer = client_of(reader).put(f"/friend/delete/{author}")

    assert (answer.status_code, answer.json) == (200, {})
    assert follows() == []


def test_setting_a_friend_again_is_no_error(pair, client_of, world):
    reader, author = pair
    world.follow(reader, author)

    answer = client_of(reader).put(f"/friend/set/{author}")

    assert answer.status_code == 200
    assert follows() == [(reader, author)]


def test_deleting_who_is_no_friend_is_no_error(pair, client_of):
    reader, author = pair

    answer = client_of(reader).put(f"/friend/delete/{author}")

    assert answer.status_code == 200


def test_following_has_one_direction(pair, client_of, world):
    reader, author = pair
    world.follow(reader, author)

    client_of(author).put(f"/friend/delete/{reader}")

    assert follows() == [(reader, author)]


def test_nobody_follows_themselves(pair, client_of):
    reader, _ = pair

    answer = client_of(reader).put(f"/friend/set/{reader}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["user_id"]
    assert follows() == []


@pytest.mark.parametrize("user_id", ["0", "1", "9223372036854775807"])
@pytest.mark.parametrize("call", ["set", "delete"])
def test_a_friend_who_is_no_user_is_404(pair, client_of, call, user_id):
    answer = client_of(pair[0]).put(f"/friend/{call}/{user_id}")

    assert answer.status_code == 404
    assert answer.json["code"] == 1005
    assert follows() == []


@pytest.mark.parametrize("user_id", ["abc", "-1", "1.5", "%00", "٣", "9223372036854775808", "1" * 20])
@pytest.mark.parametrize("call", ["set", "delete"])
def test_a_friend_whose_id_is_no_number_is_400(pair, client_of, call, user_id):
    answer = client_of(pair[0]).put(f"/friend/{call}/{user_id}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["user_id"]
