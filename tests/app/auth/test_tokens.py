"""Every route is guarded or listed here, and guarded ones refuse invalid tokens."""

import json
import re
from base64 import urlsafe_b64encode
from math import inf, nan
from time import time

import jwt
import pytest
from flask import Flask

from app.auth import tokens
from app.auth.tokens import LEEWAY_SECONDS, current_user_id, issue_token
from tests.factories import eventually

PUBLIC = {
    ("POST", "/user/register"),
    ("POST", "/login"),
    ("GET", "/"),
    ("GET", "/web/<version>/<folder>/<name>"),
    ("GET", "/openapi.json"),
    ("GET", "/asyncapi.json"),
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
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key, algorithm=algorithm, headers={"typ": "JWT"})


def with_header(header):
    return urlsafe_b64encode(header).rstrip(b"=").decode() + "." + signed().split(".", 1)[1]


def with_claims(claims):
    """Any bytes as the claims, signed."""
    return jwt.PyJWS().encode(claims, KEY, algorithm="HS256", headers={"typ": "JWT"})


def tampered():
    header, claims, signature = signed().split(".")
    _, other_claims, _ = signed(sub="2").split(".")
    assert claims != other_claims
    return f"{header}.{other_claims}.{signature}"


# Times accepted by RFC 7519 or its libraries, and invalid ones.
NO_TIMES = [str(NOW + DAY), float(NOW + DAY), NOW + DAY + 0.5, -1, 10**30, 1e300, inf, nan, True, None, [], {}, "", "x"]
NO_USERS = [1, 1.0, True, None, ["1"], {}, "1" * 5000, "٣", "\ud800", "1\0"]
NO_TOKEN_IDS = [["1"], 1, 1.5, True, None, {}, "", "a b", "é", "\0", "\ud800", "x" * 65]

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
    "expired": signed(exp=NOW - 60),
    "not valid yet": signed(nbf=NOW + DAY),
    "issued tomorrow": signed(iat=NOW + DAY),
    "signed with another key": signed(key=KEY.replace("a", "b")),
    "signed with an empty key": with_header(b'{"alg":"HS256","typ":"JWT"}').rsplit(".", 1)[0] + ".",
    "not signed": signed(key=None, algorithm="none"),
    "signed by another algorithm": signed(algorithm="HS512"),
    "changed after it was signed": tampered(),
    "of another type": signed(type="refresh"),
    "whose claims nest too deep": with_claims(b'{"exp":' + b"[" * 5000),
    "one whose key's name is no text": with_header(b'{"alg":"HS256","typ":"JWT","kid":["1"]}'),
    "of a user that is no number": signed(sub="ann"),
    "of a user below zero": signed(sub="-1"),
    "of a user beyond 64 bits": signed(sub="9223372036854775808"),
    "of a user with a zero in front": signed(sub="01"),
    "of an empty user": signed(sub=""),
}

# Signed with our key, but not made here.
WRONG_CLAIMS = {
    **{f"without {name}": signed(without=name) for name in ("sub", "jti", "iat", "exp")},
    **{f"of {name} {value!r:.40}": signed(**{name: value}) for name in ("iat", "exp", "nbf") for value in NO_TIMES},
    **{f"of jti {value!r:.40}": signed(jti=value) for value in NO_TOKEN_IDS},
    **{f"of user {value!r:.40}": signed(sub=value) for value in NO_USERS},
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


def test_every_claim_is_checked_before_a_token_is_taken(app):
    client = app.test_client()

    statuses = {
        name: client.post("/logout", headers={"X-Auth": token}).status_code for name, token in WRONG_CLAIMS.items()
    }

    assert len(statuses) > 60
    assert {name: status for name, status in statuses.items() if status != 401} == {}


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("seconds", [0.2, 2, 4])
def test_a_token_of_a_host_whose_clock_is_ahead_is_taken(app, claim, seconds):
    token = signed(**{claim: int(time() + seconds)})

    assert app.test_client().get("/post/feed", headers={"X-Auth": token}).status_code == 200


def test_a_cached_token_expires_at_the_same_moment_as_a_new_one(app, make_app):
    other = make_app(jwt_secret_key=KEY)
    token = signed(exp=int(time()) - LEEWAY_SECONDS + 8)

    def status(app_):
        return app_.test_client().get("/post/feed", headers={"X-Auth": token}).status_code

    assert (status(app), status(app)) == (200, 200)
    eventually(lambda: status(app) == 401, "the token has expired")
    assert status(other) == 401


def test_a_token_in_its_leeway_can_be_revoked(make_app, monkeypatch):
    monkeypatch.setattr(tokens, "LEEWAY_SECONDS", 60)
    app, other = make_app(jwt_secret_key=KEY), make_app(jwt_secret_key=KEY)
    headers = {"X-Auth": signed(exp=int(time()) - 2)}

    assert app.test_client().post("/logout", headers=headers).status_code == 200
    assert other.test_client().get("/post/feed", headers=headers).status_code == 401


def test_a_refusal_has_the_one_error_shape(app):
    answer = app.test_client().get("/post/feed", headers={"X-Auth": REFUSED["expired"]})

    assert set(answer.json) == {"message", "code", "request_id"}
    assert "X-Auth" in answer.json["message"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_guarded_route_takes_a_token_signed_with_our_key(app):
    taken = answers(app, {"X-Auth": signed()})

    assert 401 not in {status for status, _ in taken.values()}


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_every_guarded_route_takes_a_bearer_token_where_x_auth_is_missing(app, scheme):
    taken = answers(app, {"Authorization": scheme + signed()})

    assert 401 not in {status for status, _ in taken.values()}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_every_guarded_route_refuses_a_bearer_token_that_is(app, token):
    refused = answers(app, {"Authorization": f"Bearer {token}"})

    assert refused == dict.fromkeys(refused, (401, 1002))


OTHER_SCHEMES = ["", "Basic ", "Token ", "Bearer", "Bearer,", "Bearer\t", "X Bearer ", "Bearer Bearer "]


@pytest.mark.parametrize("scheme", OTHER_SCHEMES)
def test_authorization_counts_with_no_other_scheme(app, scheme):
    answer = app.test_client().get("/post/feed", headers={"Authorization": scheme + signed()})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_x_auth_wins_over_authorization(app):
    ann, bob = signed(sub="1"), signed(sub="2")

    def user(**headers):
        with app.test_client() as client:
            given = {name.replace("_", "-"): text for name, text in headers.items()}
            answer = client.get("/post/feed/unread", headers=given)  # by a view
            return current_user_id() if answer.status_code == 200 else answer.status_code

    assert user(X_Auth=ann, Authorization=f"Bearer {bob}") == 1
    assert user(X_Auth=ann, Authorization="Bearer x") == 1
    assert user(X_Auth="x", Authorization=f"Bearer {bob}") == 401
    assert user(X_Auth="", Authorization=f"Bearer {bob}") == 2


def test_a_token_that_is_logged_out_in_one_header_is_refused_in_the_other(app):
    client, token = app.test_client(), signed(jti="both")

    assert client.post("/logout", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert client.get("/post/feed", headers={"X-Auth": token}).status_code == 401


@pytest.mark.parametrize("header", ["X-Token", "Cookie"])
def test_a_token_counts_in_no_other_header(app, header):
    value = f"access_token_cookie={signed()}" if header == "Cookie" else signed()

    refused = answers(app, {header: value})

    assert refused == dict.fromkeys(refused, (401, 1002))


def test_a_token_does_not_count_in_the_query(app):
    answer = app.test_client().get(f"/post/feed?jwt={signed()}")

    assert answer.status_code == 401


def test_an_issued_token_names_its_user_and_has_the_configured_lifetime(make_app):
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
