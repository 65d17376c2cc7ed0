"""Friends, over HTTP."""

from itertools import chain

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, db, execute
from tests.tools.links import pages
from tests.tools.plans import explained, rows_read


@pytest.fixture
def pair(world):
    """Create two users without follows."""
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


@pytest.mark.parametrize("user_id", ["0", "1", "9223372036854775807", "9223372036854775808", "9" * 19])
@pytest.mark.parametrize("call", ["set", "delete"])
def test_a_friend_who_is_no_user_is_404(pair, client_of, call, user_id):
    answer = client_of(pair[0]).put(f"/friend/{call}/{user_id}")

    assert answer.status_code == 404
    assert answer.json["code"] == 1005
    assert follows() == []


@pytest.mark.parametrize("user_id", ["abc", "-1", "1.5", "%00", "٣", "1" * 20])
@pytest.mark.parametrize("call", ["set", "delete"])
def test_a_friend_whose_id_is_no_number_is_400(pair, client_of, call, user_id):
    answer = client_of(pair[0]).put(f"/friend/{call}/{user_id}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["user_id"]


@pytest.mark.parametrize("is_followed", [True, False])
@pytest.mark.parametrize("follows_you", [True, False])
def test_a_profile_says_who_follows_the_other(pair, client_of, world, is_followed, follows_you):
    asker, user = pair
    if is_followed:
        world.follow(asker, user)
    if follows_you:
        world.follow(user, asker)

    profile = client_of(asker).get(f"/user/get/{user}").json

    assert (profile["is_followed"], profile["follows_you"]) == (is_followed, follows_you)


def test_one_does_not_follow_oneself(pair, client_of):
    profile = client_of(pair[0]).get(f"/user/get/{pair[0]}").json

    assert (profile["is_followed"], profile["follows_you"]) == (False, False)


# --- lists -------------------------------------------------------------------------------------------------

LISTS = {"list": ("follower_id", "followee_id"), "followers": ("followee_id", "follower_id")}
each_list = pytest.mark.parametrize("kind", LISTS)


def connect(world, kind, user_id, others):
    """Let `user_id` follow the others, or be followed by them, one after another."""
    for other in others:
        world.follow(*((user_id, other) if kind == "list" else (other, user_id)))


@each_list
def test_a_list_has_the_users_at_the_other_end_newest_first(world, client_of, kind):
    user_id, first, second, third = world.people(4)
    connect(world, kind, user_id, [second, third, first])
    connect(world, kind, first, [second])

    assert pages(client_of(third), f"/friend/{kind}/{user_id}") == [[first, third, second]]


@each_list
def test_a_list_has_names_and_the_time_of_the_follow(world, client_of, kind):
    ann = world.person()
    bob = world.person(first_name="Bob", second_name="Ross")
    connect(world, kind, ann, [bob])
    since = execute(POSTS, text("SELECT created_at FROM follows")).scalar_one()

    [follow] = client_of(ann).get(f"/friend/{kind}/{ann}").json

    assert follow == {"id": str(bob), "first_name": "Bob", "second_name": "Ross", "followed_at": since.isoformat()}


@each_list
def test_the_pages_of_a_list_have_everyone_once_and_the_last_has_no_link(world, client_of, kind):
    user_id, *others = world.people(7)
    connect(world, kind, user_id, others)
    newest = others[::-1]
    client = client_of(user_id)

    assert pages(client, f"/friend/{kind}/{user_id}?limit=2") == [newest[:2], newest[2:4], newest[4:]]
    assert pages(client, f"/friend/{kind}/{user_id}?limit=4") == [newest[:4], newest[4:]]
    assert pages(client, f"/friend/{kind}/{user_id}?limit=6") == [newest]


@each_list
def test_follows_of_the_same_moment_are_listed_once_each(world, client_of, kind):
    user_id, *others = world.people(6)
    connect(world, kind, user_id, others)
    execute(POSTS, text("UPDATE follows SET created_at = '2026-01-02 03:04:05.678901+00'"))
    commit()

    found = pages(client_of(user_id), f"/friend/{kind}/{user_id}?limit=2")

    assert [len(page) for page in found] == [2, 2, 1]
    assert list(chain(*found)) == sorted(others, reverse=True)


@each_list
def test_a_page_goes_on_where_the_last_ended_though_that_follow_is_gone_and_another_is_new(world, client_of, kind):
    user_id, new, *others = world.people(6)
    connect(world, kind, user_id, others)
    newest = others[::-1]
    client = client_of(user_id)
    link = client.get(f"/friend/{kind}/{user_id}?limit=2").headers["Link"]
    one, other = LISTS[kind]
    execute(POSTS, text(f"DELETE FROM follows WHERE {one} = :user_id AND {other} = {newest[1]}"), {"user_id": user_id})
    connect(world, kind, user_id, [new])

    assert pages(client, link[1:].partition(">")[0]) == [newest[2:]]


@each_list
def test_the_list_of_a_user_without_follows_is_empty(world, client_of, kind):
    user_id = world.person()

    assert pages(client_of(user_id), f"/friend/{kind}/{user_id}") == [[]]


@each_list
def test_a_follow_of_no_user_is_left_out_and_the_next_page_goes_on_behind_it(world, client_of, kind):
    user_id, *others = world.people(3)
    one, other = LISTS[kind]
    for each in (others[0], 7, others[1]):
        execute(
            POSTS, text(f"INSERT INTO follows ({one}, {other}) VALUES (:one, :other)"), {"one": user_id, "other": each}
        )
        commit()

    assert pages(client_of(user_id), f"/friend/{kind}/{user_id}?limit=2") == [[others[1]], [others[0]]]


@each_list
@pytest.mark.parametrize("user_id", ["1", "9" * 19])
def test_the_list_of_an_unknown_user_is_404(world, client_of, kind, user_id):
    answer = client_of(world.person()).get(f"/friend/{kind}/{user_id}")

    assert (answer.status_code, answer.json["code"]) == (404, 1005)


CURSORS = ["x", "", "1", "1-", "-1", "1-x", "1-1-1", "1 -1", "٣-1", "1" * 19 + "-1", "9" * 18 + "-1", "1-" + "1" * 20]


@each_list
@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", *(f"cursor={cursor}" for cursor in CURSORS)])
def test_a_list_names_the_parameter_that_it_cannot_use(world, client_of, kind, query):
    user_id = world.person()

    answer = client_of(user_id).get(f"/friend/{kind}/{user_id}?{query}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == [query.partition("=")[0]]


@each_list
@pytest.mark.parametrize("cursor", ["0-0", "253402300799999999-9999999999999999999"])
def test_the_first_and_the_last_cursor_are_taken(world, client_of, kind, cursor):
    user_id, other = world.people(2)
    connect(world, kind, user_id, [other])

    assert pages(client_of(user_id), f"/friend/{kind}/{user_id}?cursor={cursor}") == [
        [other] if cursor[0] != "0" else []
    ]


MANY = """
    SET LOCAL session_replication_role = replica;  -- counts are not looked at
    INSERT INTO follows ({one}, {other}, created_at)
    SELECT {user_id}, n, now() - n % 50000 * interval '1 second' FROM generate_series(1, 120000) n
    UNION ALL SELECT 1000000 + n % 1000, n, now() FROM generate_series(1, 20000) n
"""


@each_list
@pytest.mark.parametrize("statistics", ["without statistics", "with statistics"])
def test_the_ten_thousandth_page_reads_as_little_of_the_index_as_the_first(world, client_of, kind, statistics):
    user_id, one, other = world.person(), *LISTS[kind]
    execute(POSTS, text(MANY.format(user_id=user_id, one=one, other=other)))
    if statistics == "with statistics":
        execute(POSTS, text("ANALYZE follows"))
    far = f"SELECT (extract(epoch FROM created_at) * 1000000)::bigint || '-' || {other} FROM follows WHERE {one} = "
    far += f"{user_id} ORDER BY created_at DESC, {other} DESC OFFSET 100000 LIMIT 1"
    cursor = execute(POSTS, text(far)).scalar_one()
    commit()

    with explained() as plans:
        client_of(user_id).get(f"/friend/{kind}/{user_id}")
        client_of(user_id).get(f"/friend/{kind}/{user_id}?cursor={cursor}")

    assert [rows_read(plan) for plan in plans] == [{f"ix_follows_{one}_created_at": 11}] * 2
    assert [plan["Plans"][0]["Node Type"] for plan in plans] == ["Index Only Scan"] * 2
