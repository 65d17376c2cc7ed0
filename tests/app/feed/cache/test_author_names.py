"""`expand=author`: names beside the posts, from a cache, and never a query for each author."""

import pytest
from sqlalchemy import event, text

from app.db.engine import USERS, db, execute
from app.redis.client import client
from app.users import cached_names

AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def reader(world):
    """Create a reader of three authors with two posts each."""
    reader = world.person()
    for name in ("Ann", "Юлия", 'Bo"b'):
        author = world.person(first_name=name)
        world.posts(author, 2)
        world.follow(reader, author)
    return reader


@pytest.fixture
def queries(app):
    """Statements that the users database was sent."""
    statements = []

    def note(connection, cursor, statement, *_):
        statements.append(statement)

    engine = db.engines[USERS]
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def read(client, query="expand=author"):
    answer = client.get(f"/post/feed?{query}")
    assert answer.status_code == 200
    return answer.json


def test_each_post_has_its_author_beside_it(reader, client_of):
    posts = read(client_of(reader))

    assert [post["author"]["first_name"] for post in posts] == ['Bo"b', 'Bo"b', "Юлия", "Юлия", "Ann", "Ann"]
    assert all(post["author"]["id"] == post["author_user_id"] for post in posts)
    assert {tuple(post["author"]) for post in posts} == {("id", "first_name", "second_name")}


def test_the_posts_are_otherwise_what_they_are_without(reader, client_of):
    client = client_of(reader)

    bare = [{name: value for name, value in post.items() if name != "author"} for post in read(client)]

    assert bare == read(client, "")


def test_all_unknown_authors_of_a_page_are_one_query_and_then_none(reader, client_of, queries):
    client = client_of(reader)

    read(client)
    assert len(queries) == 1
    read(client)
    assert len(queries) == 1


def test_without_expand_nothing_is_asked(reader, client_of, queries, app):
    read(client_of(reader), "")

    assert queries == []
    assert list(app.extensions["redis"].scan_iter("author:*")) == []


def test_what_is_cached_expires(reader, client_of, app):
    read(client_of(reader))
    client = app.extensions["redis"]

    keys = list(client.scan_iter("author:*"))

    assert len(keys) == 3
    assert all(0 < client.ttl(key) <= cached_names.TTL_SECONDS for key in keys)


def ann_of(reader, client_of):
    """The author of the oldest post, as the feed shows them."""
    return read(client_of(reader))[-1]["author"]


def rename(client_of, user_id, name):
    answer = client_of(int(user_id)).put("/user/update", json={"first_name": name})
    assert answer.status_code == 200


def test_a_changed_name_is_beside_posts_at_once(reader, client_of):
    ann = ann_of(reader, client_of)

    rename(client_of, ann["id"], "Anna")

    assert ann_of(reader, client_of) == ann | {"first_name": "Anna"}


def test_a_name_that_was_read_before_a_change_does_not_replace_the_new_one(reader, client_of, monkeypatch):
    ann = ann_of(reader, client_of)
    client().delete(f"author:{ann['id']}")
    read_names = cached_names._read

    def overtaken(user_ids):
        names = read_names(user_ids)
        monkeypatch.setattr(cached_names, "_read", read_names)
        rename(client_of, ann["id"], "Anna")
        return names

    monkeypatch.setattr(cached_names, "_read", overtaken)

    assert ann_of(reader, client_of)["first_name"] == "Ann"
    assert ann_of(reader, client_of)["first_name"] == "Anna"


def test_of_two_changes_at_once_the_last_stays(reader, client_of, monkeypatch):
    ann = ann_of(reader, client_of)
    store = cached_names._store

    def overtaken(names, only_new):
        monkeypatch.setattr(cached_names, "_store", store)
        rename(client_of, ann["id"], "Last")
        store(names, only_new)

    monkeypatch.setattr(cached_names, "_store", overtaken)
    rename(client_of, ann["id"], "First")

    assert ann_of(reader, client_of)["first_name"] == "Last"


def test_without_redis_a_name_can_be_changed(reader, make_app, client_of):
    token = client_of(reader).environ_base["HTTP_X_AUTH"]
    away = make_app(redis_url=AWAY).test_client()

    assert away.put("/user/update", json={"first_name": "Ray"}, headers={"X-Auth": token}).status_code == 200
    assert client_of(reader).get("/user/me").json["first_name"] == "Ray"


def test_an_author_who_is_no_user_is_null(reader, client_of):
    execute(USERS, text("DELETE FROM users WHERE first_name = 'Ann'"))
    db.session.commit()

    assert [post["author"] for post in read(client_of(reader))[-2:]] == [None, None]


def test_an_empty_page_has_no_authors(world, client_of):
    assert read(client_of(world.person())) == []


def test_without_redis_names_come_from_sql(reader, make_app, client_of):
    token = client_of(reader).environ_base["HTTP_X_AUTH"]
    client = make_app(redis_url=AWAY).test_client()
    client.environ_base["HTTP_X_AUTH"] = token

    assert [post["author"]["first_name"] for post in read(client)][-1] == "Ann"


def test_the_next_page_is_asked_for_in_the_same_way(reader, client_of):
    link = client_of(reader).get("/post/feed?expand=author&limit=2").headers["Link"]

    assert "expand=author" in link


@pytest.mark.parametrize("expand", ["", "Author", "author,author", "everything"])
def test_anything_else_to_expand_is_400(reader, client_of, expand):
    answer = client_of(reader).get(f"/post/feed?expand={expand}")

    assert answer.status_code == 400
    assert list(answer.json["errors"]) == ["expand"]
