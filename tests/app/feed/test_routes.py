"""The feed as a client sees it."""

import pytest

from app.auth.tokens import issue_token


@pytest.fixture
def feed(world, client_of):
    """Provide a reader's client with three posts in the feed, and their ids, newest first."""
    reader, author = world.people(2)
    world.follow(reader, author)
    ids = [str(post_id) for post_id in reversed(world.posts(author, 3))]
    return client_of(reader), ids


def ids_of(response):
    return [post["id"] for post in response.json]


@pytest.mark.parametrize("before", ["9223372036854775807", "9223372036854775808", "9" * 19])
def test_everything_is_older_than_a_cursor_above_all_ids(feed, before):
    reader, ids = feed

    assert ids_of(reader.get(f"/post/feed?before={before}")) == ids


def test_after_the_newest_post_there_is_nothing_and_after_an_older_one_all_that_came_since(feed):
    reader, ids = feed

    found = {i: ids_of(reader.get(f"/post/feed?after={after}")) for i, after in enumerate([*ids, "0"])}

    assert found == {0: [], 1: ids[:1], 2: ids[:2], 3: ids}


def test_an_offset_does_not_count_where_after_is_given(feed):
    reader, ids = feed

    assert ids_of(reader.get(f"/post/feed?after={ids[2]}&offset=1")) == ids[:2]


def test_more_posts_than_fit_go_on_down_to_the_known_one(feed):
    reader, ids = feed

    first = reader.get(f"/post/feed?after={ids[2]}&limit=1&expand=author")
    second = reader.get(first.headers["Link"][1:].partition(">")[0])

    assert (ids_of(first), ids_of(second)) == (ids[:1], ids[1:2])
    assert all("author" in post for post in second.json)
    assert ids_of(reader.get(second.headers["Link"][1:].partition(">")[0])) == []


def test_a_cold_feed_is_rebuilt_before_it_says_that_nothing_is_newer(feed):
    reader, ids = feed

    cold, warm = (reader.get(f"/post/feed?after={ids[0]}") for _ in range(2))

    assert (cold.json, cold.headers["X-Feed-Source"]) == ([], "rebuilt")
    assert (warm.json, warm.headers["X-Feed-Source"]) == ([], "cache")


def test_newer_posts_come_from_sql_while_redis_is_away(make_app, feed):
    reader, ids = feed
    token = reader.environ_base["HTTP_X_AUTH"]
    client = make_app(redis_url="redis://127.0.0.1:1/0").test_client()

    answers = {
        query: client.get(f"/post/feed?{query}", headers={"X-Auth": token})
        for query in (f"after={ids[0]}", f"after={ids[1]}", f"after={ids[2]}&before={ids[0]}", "after=" + "9" * 19)
    }

    assert [ids_of(answer) for answer in answers.values()] == [[], ids[:1], ids[1:2], []]
    assert {answer.headers["X-Feed-Source"] for answer in answers.values()} == {"database"}


def test_beyond_the_cached_part_newer_posts_come_from_sql(make_app, world, client_of):
    reader, author = world.people(2)
    world.follow(reader, author)
    ids = [str(post_id) for post_id in reversed(world.posts(author, 6))]
    token = client_of(reader).environ_base["HTTP_X_AUTH"]
    client = make_app(feed_cap=3).test_client()

    def read(query):
        answer = client.get(f"/post/feed?{query}", headers={"X-Auth": token})
        return ids_of(answer), answer.headers["X-Feed-Source"]

    assert read(f"after={ids[1]}") == (ids[:1], "rebuilt")
    assert read(f"after={ids[1]}") == (ids[:1], "cache")
    assert read(f"after={ids[5]}&limit=3") == (ids[:3], "cache")
    assert read(f"after={ids[5]}&before={ids[1]}&limit=3") == (ids[2:5], "database")


@pytest.mark.parametrize(("limit", "status"), [(0, 400), (1, 200), (77, 200), (78, 400)])
def test_a_page_holds_1_to_feed_cap_posts(make_app, limit, status):
    app = make_app(feed_cap=77)
    with app.app_context():
        headers = {"X-Auth": issue_token(1)}

    assert app.test_client().get(f"/post/feed?limit={limit}", headers=headers).status_code == status


# --- how far the user has read -----------------------------------------------------------------------------


def unread_of(reader):
    answer = reader.get("/post/feed/unread")
    assert answer.status_code == 200
    return answer.json, answer.headers["X-Feed-Source"]


def test_without_a_mark_everything_is_unread(feed):
    reader, _ = feed

    assert unread_of(reader) == ({"unread": 3, "seen": None, "is_capped": False}, "rebuilt")
    assert unread_of(reader) == ({"unread": 3, "seen": None, "is_capped": False}, "cache")


def test_a_mark_moves_forward_only(feed):
    reader, ids = feed

    answers = [reader.put("/post/feed/seen", json={"id": post_id}) for post_id in (ids[1], ids[2])]

    assert [(answer.status_code, answer.json) for answer in answers] == [(200, {})] * 2
    assert unread_of(reader)[0] == {"unread": 1, "seen": ids[1], "is_capped": False}


def test_the_number_is_that_of_the_posts_after_the_mark(feed):
    reader, ids = feed

    for place in (2, 1, 0):
        reader.put("/post/feed/seen", json={"id": ids[place]})
        counted, _ = unread_of(reader)
        assert counted["unread"] == len(reader.get(f"/post/feed?after={counted['seen']}&limit=1000").json) == place


@pytest.mark.parametrize("seen", ["9" * 19, "9223372036854775807", "", "x", 5, None])
def test_an_id_that_is_none_or_lies_ahead_is_400(feed, seen):
    reader, _ = feed

    answer = reader.put("/post/feed/seen", json={"id": seen})

    assert answer.status_code == 400
    assert answer.json["errors"].keys() == {"id"}
    assert unread_of(reader)[0]["unread"] == 3


def test_a_mark_at_0_hides_nothing(feed):
    reader, _ = feed

    reader.put("/post/feed/seen", json={"id": "0"})

    assert unread_of(reader)[0] == {"unread": 3, "seen": "0", "is_capped": False}


def test_unread_posts_are_counted_by_sql_while_redis_is_away(make_app, feed):
    reader, ids = feed
    reader.put("/post/feed/seen", json={"id": ids[1]})
    client = make_app(redis_url="redis://127.0.0.1:1/0", feed_cap=1).test_client()

    answer = client.get("/post/feed/unread", headers={"X-Auth": reader.environ_base["HTTP_X_AUTH"]})

    assert answer.json == {"unread": 1, "seen": ids[1], "is_capped": True}
    assert answer.headers["X-Feed-Source"] == "database"
