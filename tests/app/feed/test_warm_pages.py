"""Pages that are served below Flask's dispatch: the same as through it, and nothing that only the view may do."""

import pytest
from prometheus_client import generate_latest

from app.auth import tokens
from app.feed.cache import post_bodies, timeline
from app.feed.maintenance import trust
from app.feed.warm_pages import WarmPages
from app.observability import service
from app.posts import service as posts
from app.redis.client import client
from app.redis.pool import CONNECTIONS

OF_A_REQUEST = {"X-Request-ID"}
ORIGIN = "https://web.example"


@pytest.fixture
def dispatched(monkeypatch):
    """Record the paths that go on to Flask."""
    paths = []
    init = WarmPages.__init__

    def record(self, app):
        init(self, app)
        dispatch = self._dispatch

        def on_to_flask(environ, start_response):
            paths.append(environ["PATH_INFO"])
            return dispatch(environ, start_response)

        self._dispatch = on_to_flask

    monkeypatch.setattr(WarmPages, "__init__", record)
    return paths


@pytest.fixture
def reader(dispatched, make_app, world, client_of):
    """Provide a client of a reader with five posts, whose pages the fixture `dispatched` watches."""
    follower, author = world.people(2)
    world.follow(follower, author)
    ids = world.posts(author, 5)
    made = make_app(cors_origins=ORIGIN).test_client()
    made.environ_base["HTTP_X_AUTH"] = client_of(follower).environ_base["HTTP_X_AUTH"]
    made.follower, made.author, made.ids = follower, author, ids
    return made


def of(response):
    headers = [(name, value) for name, value in response.headers if name not in OF_A_REQUEST]
    return response.status_code, sorted(headers), response.data


def queries(ids):
    return [
        "",
        "?limit=2",
        "?limit=2&offset=1",
        "?offset=4",
        "?offset=5",
        "?offset=2000",
        "?limit=1000",
        f"?before={ids[3]}",
        f"?before={ids[0]}",
        f"?after={ids[1]}&limit=2",
        f"?after={ids[4]}",
        f"?after={ids[0]}&before={ids[3]}",
        "?unknown=1",
        "?limit=3&expand=author",
    ]


def test_a_page_is_the_same_through_flask_and_below_it(reader, dispatched, monkeypatch):
    for headers in ({}, {"Origin": ORIGIN}, {"Origin": "https://other.example"}):
        for query in queries(reader.ids):
            for _ in range(2):
                reader.get(f"/post/feed{query}", headers=headers)  # the token and the query are known from then on
            dispatched.clear()
            below = of(reader.get(f"/post/feed{query}", headers=headers))
            was_below = not dispatched
            with monkeypatch.context() as patch:
                patch.setattr(WarmPages, "__call__", lambda self, *arguments: self._dispatch(*arguments))
                through = of(reader.get(f"/post/feed{query}", headers=headers))

            assert below == through, query
            assert was_below == ("expand" not in query and "offset=2000" not in query), query


def test_a_request_id_is_taken_or_made(reader):
    reader.get("/post/feed")

    answers = [reader.get("/post/feed", headers={"X-Request-ID": given}) for given in ("mine", "not mine")]

    assert answers[0].headers["X-Request-ID"] == "mine"
    assert len(answers[1].headers["X-Request-ID"]) == 16


def test_a_prefix_of_the_service_stands_in_the_link(reader, dispatched):
    reader.get("/post/feed?limit=1")
    dispatched.clear()

    answer = reader.get("/post/feed?limit=1", environ_overrides={"SCRIPT_NAME": "/api"})

    assert answer.headers["Link"].startswith("</api/post/feed?")
    assert not dispatched


def test_pages_are_counted_by_route_and_source(reader):
    def counts():
        lines = generate_latest(service.registry()).decode().splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        request = 'lenta_http_requests_total{method="GET",route="/post/feed",status="200"}'
        return [float(found.get(name, 0)) for name in (request, 'lenta_feed_reads_total{source="cache"}')]

    reader.get("/post/feed")
    reader.get("/post/feed")
    before = counts()
    reader.get("/post/feed")

    assert [after - number for after, number in zip(counts(), before, strict=True)] == [1, 1]


@pytest.mark.parametrize("method", ["head", "post", "put", "delete", "options"])
def test_other_methods_go_to_flask(reader, dispatched, method):
    reader.get("/post/feed")
    reader.get("/post/feed")
    dispatched.clear()

    getattr(reader, method)("/post/feed")

    assert dispatched == ["/post/feed"]


# --- what is not warm --------------------------------------------------------------------------------------


def test_a_cold_feed_is_rebuilt_by_the_view(reader):
    reader.get("/post/feed")
    timeline.HOME.evict([reader.follower])

    answer = reader.get("/post/feed")

    assert answer.headers["X-Feed-Source"] == "rebuilt"
    assert len(answer.json) == 5


def test_a_body_that_is_not_cached_comes_from_sql(reader):
    before = reader.get("/post/feed").json
    post_bodies.drop(reader.ids[2])

    assert reader.get("/post/feed").json == before


def test_a_post_that_is_gone_is_not_shown(reader):
    reader.get("/post/feed")
    posts.delete(reader.ids[2], reader.author)
    post_bodies.refresh([reader.ids[2]])

    assert [post["id"] for post in reader.get("/post/feed").json] == [str(reader.ids[i]) for i in (4, 3, 1, 0)]


def test_a_server_that_lost_writes_is_not_believed(reader):
    reader.get("/post/feed")
    client().set(trust.TRUSTED_KEY, "another:-1")
    CONNECTIONS.add()  # a new connection may lead to another server

    assert reader.get("/post/feed").headers["X-Feed-Source"] == "database"


def test_an_unexpected_error_is_answered_by_flask(reader):
    reader.get("/post/feed")
    client().lset(timeline.HOME.key(reader.follower), 0, "no id")

    answer = reader.get("/post/feed", headers={"X-Request-ID": "mine", "Origin": ORIGIN})

    assert (answer.status_code, answer.json["request_id"]) == (500, "mine")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


# --- who may not read --------------------------------------------------------------------------------------


def test_a_token_that_was_revoked_is_refused(reader):
    assert [reader.get("/post/feed").status_code for _ in range(2)] == [200, 200]

    assert reader.post("/logout").status_code == 200
    assert reader.get("/post/feed").status_code == 401


def test_a_token_that_has_expired_since_is_refused(reader, monkeypatch):
    reader.get("/post/feed")
    known = reader.application.extensions["verified_tokens"]
    [(token, verified)] = known.items()
    known[token] = verified._replace(expires=0)
    monkeypatch.setattr(tokens, "decode_token", lambda _: {"type": "access", "iat": 0, "exp": 0})

    assert reader.get("/post/feed").status_code == 401


@pytest.mark.parametrize("given", ["", "x", None])
def test_another_token_is_refused(reader, given):
    reader.get("/post/feed")
    reader.environ_base = {} if given is None else {"HTTP_X_AUTH": given}

    assert reader.get("/post/feed").status_code == 401


def test_a_bearer_token_reads_the_same_pages(reader, dispatched):
    token = reader.environ_base.pop("HTTP_X_AUTH")
    bearer = {"Authorization": f"Bearer {token}"}
    reader.get("/post/feed", headers=bearer)
    reader.get("/post/feed", headers=bearer)
    dispatched.clear()

    assert len(reader.get("/post/feed", headers=bearer).json) == 5
    assert not dispatched


def test_a_wrong_query_is_refused_each_time(reader):
    assert [reader.get("/post/feed?limit=0").status_code for _ in range(3)] == [400] * 3
