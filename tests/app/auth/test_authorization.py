"""Authorization table: every route, by the content of X-Auth, with the status of the response.

A route that the table does not list fails the first test.
"""

from time import time
from typing import NamedTuple

import jwt
import pytest
from argon2 import PasswordHasher

from app.auth.tokens import issue_token
from app.db.engine import commit
from app.posts import service as posts
from app.users import store as users
from tests.app.users.test_routes import REGISTRATION
from tests.factories import PROFILE

KEY = "a key of more than 32 bytes, with which this table is tested"
PASSWORD = REGISTRATION["password"]
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
TOKENS = ("none", "malformed", "expired", "of another key", "alg: none", "revoked", "another user's", "right")


class Row(NamedTuple):
    """The expected statuses of a route; a `public` one ignores tokens."""

    right: int = 200
    another_users: int = 200  # of a user that is not the author of the post, and is blocked by the friend
    public: bool = False

    def expected(self, token: str) -> int:
        if self.public or token == "right":
            return self.right
        return self.another_users if token == "another user's" else 401


TABLE = {
    ("POST", "/user/register"): Row(public=True),
    ("POST", "/login"): Row(public=True),
    ("POST", "/logout"): Row(),
    ("GET", "/user/me"): Row(),
    ("GET", "/user/export"): Row(),
    ("GET", "/user/get/<user_id>"): Row(),
    ("PUT", "/user/update"): Row(),
    ("PUT", "/user/password"): Row(),
    ("PUT", "/user/delete"): Row(),
    ("GET", "/user/list"): Row(),
    ("GET", "/user/search"): Row(),
    ("PUT", "/friend/set/<user_id>"): Row(another_users=403),
    ("PUT", "/friend/delete/<user_id>"): Row(),
    ("GET", "/friend/list/<user_id>"): Row(),
    ("GET", "/friend/followers/<user_id>"): Row(),
    ("PUT", "/block/set/<user_id>"): Row(),
    ("PUT", "/block/delete/<user_id>"): Row(),
    ("GET", "/block/list"): Row(),
    ("POST", "/post/create"): Row(),
    ("PUT", "/post/update"): Row(another_users=403),
    ("PUT", "/post/delete/<post_id>"): Row(another_users=403),
    ("GET", "/post/get/<post_id>"): Row(),
    ("GET", "/post/list/<user_id>"): Row(),
    ("GET", "/post/feed"): Row(),
    ("PUT", "/post/feed/seen"): Row(),
    ("GET", "/post/feed/unread"): Row(),
    ("GET", "/post/feed/live"): Row(right=400, another_users=400),  # asked for a place that is none: it would not end
    ("GET", "/post/feed/posted"): Row(right=426, another_users=426),  # asked for without an upgrade
    ("GET", "/"): Row(public=True),
    ("GET", "/web/<version>/<folder>/<name>"): Row(public=True),
    ("GET", "/openapi.json"): Row(public=True),
    ("GET", "/asyncapi.json"): Row(public=True),
    ("GET", "/docs"): Row(public=True),
    ("GET", "/docs/<name>"): Row(public=True),
    ("GET", "/metrics"): Row(public=True),
    ("GET", "/health/live"): Row(public=True),
    ("GET", "/health/ready"): Row(public=True),
}
CELLS = [(*route, token) for route in TABLE for token in TOKENS]


@pytest.fixture
def app(make_app):
    app = make_app(jwt_secret_key=KEY)
    with app.app_context():
        yield app


@pytest.fixture
def people(app):
    """Create the author, another user and a third one; all have PASSWORD. The third has blocked the second."""
    ids = [users.insert_user(PROFILE, HASH) for _ in range(3)]
    commit()
    posts.block(ids[2], ids[1])
    return [str(user_id) for user_id in ids]


@pytest.fixture
def post_id(people):
    return str(posts.publish(int(people[0]), "by the author"))


def header(token, people):
    """The value of X-Auth, None to leave it out."""
    author, other, _ = people
    claims = jwt.decode(issue_token(int(author)), KEY, algorithms=["HS256"])
    return {
        "none": None,
        "malformed": "not.a.token",
        "expired": jwt.encode(claims | {"exp": int(time()) - 60}, KEY, algorithm="HS256"),
        "of another key": jwt.encode(claims, KEY[::-1], algorithm="HS256"),
        "alg: none": jwt.encode(claims, None, algorithm="none"),
        "revoked": issue_token(int(author)),
        "another user's": issue_token(int(other)),
        "right": issue_token(int(author)),
    }[token]


def request_of(rule, people, post_id):
    """(address, body) of a request that succeeds for the author."""
    author, _, friend = people
    address = rule.replace("<user_id>", friend).replace("<post_id>", post_id)
    address = address.replace("/docs/<name>", "/docs/start.js")
    address = address.replace("/web/<version>/<folder>/<name>", "/web/1/client/main.js")
    bodies = {
        "/user/register": REGISTRATION,
        "/login": {"id": author, "password": PASSWORD},
        "/user/update": {"city": "Bergen"},
        "/user/delete": {"password": PASSWORD},
        "/user/password": {"old_password": PASSWORD, "new_password": "battery staple"},
        "/post/create": {"text": "hello"},
        "/post/update": {"id": post_id, "text": "edited"},
        "/post/feed/seen": {"id": post_id},
    }
    queries = {
        "/user/search": "?first_name=A&last_name=L",
        "/user/list": f"?ids={friend}",
        "/post/feed/live": "?after=none",
    }
    return address + queries.get(rule, ""), bodies.get(rule)


def test_the_table_lists_every_route_and_no_other(app):
    routes = {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}}

    assert routes == TABLE.keys()


@pytest.mark.parametrize(("method", "rule", "token"), CELLS, ids=[f"{m} {r} {t}" for m, r, t in CELLS])
def test_an_answer_is_what_the_table_says(app, people, post_id, method, rule, token):
    address, body = request_of(rule, people, post_id)
    value = header(token, people)
    if token == "revoked":
        app.test_client().post("/logout", headers={"X-Auth": value})

    answer = app.test_client().open(
        address, method=method, json=body, headers={} if value is None else {"X-Auth": value}
    )

    assert answer.status_code == TABLE[method, rule].expected(token), answer.text
