"""Every route is guarded or listed here as public; and every token that is not ours is refused by every guarded one."""

import re
from base64 import urlsafe_b64encode
from time import time

import jwt
import pytest
from flask import Flask

from app.auth import issue_token

PUBLIC = {
    ("POST", "/user/register"),
    ("POST", "/login"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/<name>"),
    ("GET", "/metrics"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
}

KEY = "a key of more than 64 bytes, so that it would do for HS512 as well as for HS256"
NOW = int(time())
DAY = 86_400
CLAIMS = {"sub": "1", "iat": NOW, "nbf": NOW, "exp": NOW + DAY, "jti": "1", "type": "access", "fresh": False}


def signed(key=KEY, algorithm="HS256", without="", **changes):
    claims = {name: value for name, value in (CLAIMS | changes).items() if name != without}
    return jwt.encode(claims, key, algorithm=algorithm)


def with_header(header):
    return urlsafe_b64encode(header).rstrip(b"=").decode() + "." + signed().split(".", 1)[1]


def tampered():
    header, claims, signature = signed().split(".")
    _, other_claims, _ = signed(sub="2").split(".")
    assert claims != other_claims
    return f"{header}.{other_claims}.{signature}"


REFUSED = {
    "none": None,
    "an empty one": "",
    "a blank one": "   ",
    "a word": "token",
    "three words": "a.b.c",
    "only dots": "..",
    "not ASCII": "é.é.é",
    "two tokens": f"{signed()} {signed()}",
    "one behind the word Bearer": f"Bearer {signed()}",
    "one whose header nests too deep": with_header(b"[" * 5000),
    "one whose header is no object": with_header(b"5"),
    "one whose algorithm is no text": with_header(b'{"alg":["HS256"],"typ":"JWT"}'),
    "expired": signed(exp=NOW - 1),
    "not valid yet": signed(nbf=NOW + DAY),
    "signed with another key": signed(key=KEY.replace("a", "b")),
    "signed with an empty key": with_header(b'{"alg":"HS256","typ":"JWT"}').rsplit(".", 1)[0] + ".",
    "not signed": signed(key=None, algorithm="none"),
    "signed by another algorithm": signed(algorithm="HS512"),
    "changed after it was signed": tampered(),
    "of another type": signed(type="refresh"),
    "without an id, so that it could not be revoked": signed(without="jti"),
    "of an id that is no text": signed(jti=["1"]),
    "one whose key's name is no text": with_header(b'{"alg":"HS256","typ":"JWT","kid":["1"]}'),
    "of nobody": signed(without="sub"),
    "of a user that is no number": signed(sub="ann"),
    "of a user below zero": signed(sub="-1"),
    "of a user beyond 64 bits": signed(sub="9223372036854775808"),
    "of an empty user": signed(sub=""),
}


@pytest.fixture
def app(make_app):
    return make_app(jwt_secret_key=KEY)


def routes(app: Flask) -> set[tuple[str, str]]:
    """Each method and address."""
    return {(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}}


def call(app, method, rule, headers=None):
    return app.test_client().open(re.sub(r"<[^>]+>", "1", rule), method=method, headers=headers)


def answers(app, headers):
    """(status, code) of each guarded route."""
    guarded = routes(app) - PUBLIC
    assert guarded
    in_order = sorted(guarded, key=lambda route: route[1] == "/logout")  # which must come last
    replies = {route: call(app, *route, headers) for route in in_order}
    return {
        route: (reply.status_code, reply.json["code"] if reply.status_code >= 400 else None)
        for route, reply in replies.items()
    }


def test_the_public_routes_are_exactly_those_listed_here(app):
    open_to_all = {route for route in routes(app) if (call(app, *route).json or {}).get("code") != 1002}

    assert open_to_all == PUBLIC


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_every_guarded_route_refuses_a_token_that_is(app, token):
    refused = answers(app, {} if token is None else {"X-Auth": token})

    assert refused == dict.fromkeys(refused, (401, 1002))


def test_a_refusal_has_the_one_error_shape(app):
    answer = app.test_client().get("/post/feed", headers={"X-Auth": REFUSED["expired"]})

    assert set(answer.json) == {"message", "code", "request_id"}
    assert "X-Auth" in answer.json["message"]


def test_every_guarded_route_takes_a_token_signed_with_our_key(app):
    taken = answers(app, {"X-Auth": signed()})

    assert 401 not in {status for status, _ in taken.values()}


@pytest.mark.parametrize("header", ["Authorization", "X-Token", "Cookie"])
def test_a_token_counts_in_no_other_header(app, header):
    value = {"Authorization": f"Bearer {signed()}", "Cookie": f"access_token_cookie={signed()}"}.get(header, signed())

    refused = answers(app, {header: value})

    assert refused == dict.fromkeys(refused, (401, 1002))


def test_a_token_does_not_count_in_the_query(app):
    answer = app.test_client().get(f"/post/feed?jwt={signed()}")

    assert answer.status_code == 401


def test_an_issued_token_names_its_user_and_lives_as_long_as_the_settings_say(make_app):
    app = make_app(jwt_secret_key=KEY, jwt_ttl=77)

    with app.app_context():
        claims = jwt.decode(issue_token(5), KEY, algorithms=["HS256"])

    assert claims["sub"] == "5"
    assert claims["exp"] - claims["iat"] == 77


def test_a_token_of_another_deployment_is_refused(app, make_app):
    with make_app(jwt_secret_key=KEY[::-1]).app_context():
        token = issue_token(1)

    answer = app.test_client().get("/post/feed", headers={"X-Auth": token})

    assert answer.status_code == 401


def test_head_is_guarded_like_get(app):
    answer = app.test_client().head("/post/feed")

    assert answer.status_code == 401


@pytest.mark.parametrize("headers", [{}, {"X-Auth": "token"}, {"X-Auth": signed()}], ids=["none", "bad", "good"])
def test_options_needs_no_token_for_a_browser_sends_none_with_it(app, headers):
    answer = app.test_client().options("/post/feed", headers=headers)

    assert answer.status_code == 200
    assert "GET" in answer.headers["Allow"]


def test_an_address_that_leads_nowhere_is_404_without_a_token(app):
    answer = app.test_client().get("/nowhere")

    assert answer.status_code == 404
