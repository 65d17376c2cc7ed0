"""`expand=author`: names beside the posts, from a cache, and never a query for each author."""

import pytest
from sqlalchemy import event, text

from app.db import USERS, db, run

AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def reader(world):
    """Somebody who follows three authors with two posts each."""
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
    assert all(0 < client.ttl(key) <= app.extensions["settings"].post_ttl for key in keys)


def test_an_author_who_is_no_user_is_null(reader, client_of):
    run(USERS, text("DELETE FROM users WHERE first_name = 'Ann'"))
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
