"""Exports have all data of a user, and hold nothing while a client is slow."""

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from urllib.parse import urlsplit

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.auth.tokens import issue_token
from app.db.engine import POSTS, READS, USERS, commit, db, execute
from app.posts import export, gone, store
from app.posts import service as posts
from app.users import store as users
from local.ports import free_port
from tests.app.http.test_server import connect, peak_memory
from tests.conftest import RUN
from tests.factories import eventually
from tests.tools.processes import Web
from tests.tools.proxy import Proxy

END = {"type": "end"}
MANY = 50_000
MEGABYTE = 2**20


@pytest.fixture
def make_web(settings, app, folder) -> Iterator[type[Web]]:
    """Starts gunicorn; keyword arguments replace settings."""
    with ExitStack() as at_end:

        def make(**changes: object) -> Web:
            changed = replace(settings, **{"port": free_port(), "web_workers": 1} | changes)
            web = Web(changed, folder / f"export-{RUN}.log")
            at_end.callback(web.stop)
            return web.wait()

        yield make


@pytest.fixture
def ann(world):
    return world.person(username="ann_lee")


def lines_of(body):
    return [json.loads(line) for line in body.splitlines()]


def exported(client):
    response = client.get("/user/export")
    assert response.status_code == 200
    return lines_of(response.get_data())


def of_type(lines, type_):
    return [line for line in lines if line["type"] == type_]


def ids(lines, type_):
    return [int(line["id"]) for line in of_type(lines, type_)]


def stream(app, user_id):
    return export.stream(app, user_id, {"id": str(user_id)}, "a")


def write_many(author: int) -> None:
    """Insert many posts at once."""
    query = text("INSERT INTO posts (author_id, text) SELECT :author, repeat('x', 400) FROM generate_series(1, :many)")
    execute(POSTS, query, {"author": author, "many": MANY})
    commit()


def test_it_has_the_profile_all_posts_follows_both_ways_blocks_and_the_mark(world, ann, client_of):
    bob, eve = world.people(2)
    world.follow(ann, bob)
    world.follow(bob, ann)
    posts.block(ann, eve)
    posts.block(eve, ann)
    made = [world.post(ann, "two\nlines\u2028"), world.post(ann, "новый")]
    posts.mark_seen(ann, world.post(bob))
    me = client_of(ann).get("/user/me").json

    lines = exported(client_of(ann))

    types = [line["type"] for line in lines]
    assert types == ["profile", "post", "post", "following", "follower", "block", "seen", "end"]
    assert lines[0] == {"type": "profile"} | me
    assert [line["text"] for line in of_type(lines, "post")] == ["новый", "two\nlines\u2028"]
    assert ids(lines, "post") == made[::-1]
    assert [ids(lines, type_) for type_ in ("following", "follower", "block")] == [[bob], [bob], [eve]]
    assert all(line["followed_at"] for line in (*of_type(lines, "following"), *of_type(lines, "follower")))
    assert lines[-1] == END


def test_of_a_new_account_it_has_the_profile(ann, client_of):
    assert [line["type"] for line in exported(client_of(ann))] == ["profile", "end"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_it_is_a_file_to_save(ann, client_of, method):
    response = client_of(ann).open("/user/export", method=method)

    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert response.headers["Content-Disposition"] == f'attachment; filename="lenta-{ann}.ndjson"'


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_each_line_comes_once_whatever_the_batches_are(world, ann, client_of, monkeypatch, size):
    monkeypatch.setattr(export, "POSTS_BATCH", size)
    monkeypatch.setattr(export, "RELATIONS_BATCH", size)
    monkeypatch.setattr(export, "CHUNK_BYTES", size * 100)
    others = world.people(6)
    made = world.posts(ann, 6)
    for other in others:
        world.follow(ann, other)
        world.follow(other, ann)
        posts.block(other, world.person())

    lines = exported(client_of(ann))

    assert ids(lines, "post") == made[::-1]
    assert ids(lines, "following") == ids(lines, "follower") == others[::-1]
    assert (len(lines), lines[-1]) == (20, END)


def test_a_batch_of_long_posts_is_short(world, ann, app, monkeypatch):
    monkeypatch.setattr(export, "BATCH_BYTES", 25_000)
    for _ in range(6):
        world.post(ann, "x" * 10_000)
    batches = export._batches(ann)

    assert [len(batch) for batch in batches] == [3, 3, 1]


def test_between_chunks_no_connection_and_no_transaction_is_held(world, ann, app, monkeypatch):
    monkeypatch.setattr(export, "POSTS_BATCH", 1)
    world.posts(ann, 3)
    pools = [db.engines[bind].pool for bind in (USERS, POSTS, READS)]

    held = [[pool.checkedout() for pool in pools] for _ in stream(app, ann)]

    assert held == [[0, 0, 0]] * 5


def test_posts_that_are_written_and_deleted_during_an_export_break_nothing(world, ann, app, monkeypatch):
    monkeypatch.setattr(export, "POSTS_BATCH", 1)
    made = world.posts(ann, 4)
    chunks = stream(app, ann)
    head = [next(chunks), next(chunks)]

    world.post(ann)
    posts.delete(made[3], ann)
    posts.delete(made[2], ann)
    lines = lines_of(b"".join([*head, *chunks]))

    assert ids(lines, "post") == [made[3], made[1], made[0]]
    assert lines[-1] == END


def test_where_a_database_fails_the_last_line_is_missing(world, ann, app, monkeypatch):
    monkeypatch.setattr(export, "POSTS_BATCH", 1)
    world.posts(ann, 2)
    chunks = stream(app, ann)
    lines = lines_of(next(chunks) + next(chunks))
    failure = OperationalError("SELECT", {}, psycopg2.OperationalError("gone"))

    def fail(*_):
        raise failure

    monkeypatch.setattr(store, "select_posts_by", fail)
    with pytest.raises(OperationalError):
        next(chunks)

    assert [line["type"] for line in lines] == ["profile", "post"]
    assert list(chunks) == []


def test_where_the_account_is_deleted_the_last_line_is_missing(world, ann, app):
    chunks = stream(app, ann)
    next(chunks)
    users.delete_user(ann)
    gone.bury(ann)
    commit()

    with pytest.raises(Exception, match="no such user"):
        list(chunks)


def test_a_database_that_is_away_is_503_and_no_stream(make_app, ann, client_of):
    token = client_of(ann).environ_base["HTTP_X_AUTH"]
    client = make_app(posts_database_url="postgresql://127.0.0.1:1/nowhere").test_client()

    assert client.get("/user/export", headers={"X-Auth": token}).status_code == 503


def test_more_exports_than_the_rate_are_refused(make_app, ann, world):
    app = make_app(export_rate_per_account="2 per hour")
    with app.app_context():
        headers = {"X-Auth": issue_token(ann)}, {"X-Auth": issue_token(world.person())}

    answers = [app.test_client().get("/user/export", headers=headers[0]) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert app.test_client().get("/user/export", headers=headers[1]).status_code == 200


# --- a real server -----------------------------------------------------------------------------------------


def test_a_slow_client_of_many_posts_holds_no_connection_and_little_memory(make_web, ann, settings):
    write_many(ann)
    web = make_web(database_pool_size=1)
    web.get("/user/me", issue_token(ann))
    before = peak_memory(web)
    request = f"GET /user/export HTTP/1.1\r\nHost: lenta\r\nX-Auth: {issue_token(ann)}\r\nConnection: close\r\n\r\n"
    with (
        closing(connect(web, request.encode())) as client,
        closing(psycopg2.connect(settings.posts_database_url)) as own,
    ):
        own.autocommit = True
        head = client.recv(4096)
        eventually(lambda: are_all_at_rest(own), "the stream waits for its client, without a transaction")
        status = web.get("/user/me", issue_token(ann))[0]  # by the only connection of each pool

        size, tail = len(head), b""
        while part := client.recv(65536):
            size, tail = size + len(part), (tail + part)[-100:]

    assert (status, head[:15]) == (200, b"HTTP/1.1 200 OK")
    assert tail.endswith(b'{"type":"end"}\n\r\n0\r\n\r\n')
    assert size > MANY * 400
    assert peak_memory(web) - before < 8 * MEGABYTE


def are_all_at_rest(connection) -> bool:
    """Whether all other sessions have been idle for a second, and hold no snapshot."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT bool_and(state = 'idle' AND backend_xmin IS NULL AND state_change < now() - interval '1 s')
            FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND backend_type = 'client backend'
        """)
        return bool(cursor.fetchone()[0])


def read_to_the_end(response) -> bytes:
    """Read the rest of a response that ends as it should. Raises IncompleteRead."""
    return b"".join(iter(lambda: response.read(MEGABYTE), b""))


def test_a_client_sees_that_a_database_failed_midway(make_web, ann, settings):
    write_many(ann)
    parts = urlsplit(settings.posts_database_url)
    with closing(Proxy(parts.hostname, parts.port or 5432)) as proxy:
        behind = parts._replace(netloc=f"{parts.username}@127.0.0.1:{proxy.port}").geturl()
        web = make_web(posts_database_url=behind)
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
        connection.request("GET", "/user/export", headers={"X-Auth": issue_token(ann)})
        with closing(connection), closing(connection.getresponse()) as response:
            received = response.read(10_000)
            proxy.refuse()

            with pytest.raises(http.client.IncompleteRead):
                read_to_the_end(response)

    assert received.startswith(b'{"type":"profile"')
