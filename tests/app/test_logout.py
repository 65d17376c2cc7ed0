"""POST /logout: the token is refused from then on, in every process, until it would have expired."""

from urllib.parse import urlsplit

import pytest

from app import revocation
from app.auth import issue_token
from tests.proxy import Proxy
from tests.world import eventually

AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def token(app):
    return issue_token(1)


def status(app, token, method="GET", path="/post/feed"):
    return app.test_client().open(path, method=method, headers={"X-Auth": token}).status_code


def log_out(app, token):
    return app.test_client().post("/logout", headers={"X-Auth": token})


def test_a_token_is_refused_once_it_is_logged_out(app, token):
    before = status(app, token)

    answer = log_out(app, token)

    assert (answer.status_code, answer.json) == (200, {})
    assert (before, status(app, token)) == (200, 401)


def test_a_token_that_is_logged_out_cannot_log_out_again(app, token):
    log_out(app, token)

    answer = log_out(app, token)

    assert (answer.status_code, answer.json["code"]) == (401, 1002)


def test_other_tokens_of_the_same_user_stay_good(app, token):
    other = issue_token(1)

    log_out(app, token)

    assert status(app, other) == 200


def test_another_process_that_has_verified_the_token_refuses_it_too(app, token, make_app):
    other = make_app()
    before = status(other, token)

    log_out(app, token)

    assert before == 200
    eventually(lambda: status(other, token) == 401, "the other process has read what was revoked", 5)


def test_a_process_that_starts_later_refuses_it_from_its_first_request(app, token, make_app):
    log_out(app, token)

    assert status(make_app(), token) == 401


def test_what_is_revoked_one_after_the_other_is_all_read(app, make_app):
    other = make_app()
    tokens = [issue_token(1) for _ in range(3)]

    for token in tokens:
        log_out(app, token)
        eventually(lambda token=token: status(other, token) == 401, "the other process has read it", 5)

    assert [status(other, token) for token in tokens] == [401] * 3


def test_checking_asks_redis_at_most_once_a_second(app, token):
    status(app, token)
    client = app.extensions["redis"]
    asked = []
    client.xrange, original = (lambda *_, **__: asked.append(1) or []), client.xrange

    for _ in range(20):
        status(app, token)

    client.xrange = original
    assert len(asked) <= 1 + 1  # a second may have begun meanwhile


def test_what_is_older_than_any_token_leaves_redis(app, token):
    client = app.extensions["redis"]
    for number in range(1, 251):  # of 1970; a stream is trimmed by whole nodes, of 100 entries
        client.xadd(revocation.REVOKED_KEY, {"jti": "old", "exp": 1}, id=f"{number}-0")

    log_out(app, token)

    ids = [entry[b"jti"] for _, entry in client.xrange(revocation.REVOKED_KEY)]
    assert ids.count(b"old") < 100
    assert len(ids) - ids.count(b"old") == 1


def test_what_is_revoked_has_no_expiry_that_would_let_redis_evict_it(app, token):
    log_out(app, token)

    assert app.extensions["redis"].ttl(revocation.REVOKED_KEY) == -1


def test_without_redis_nobody_can_log_out_and_is_told_so(make_app):
    away = make_app(redis_url=AWAY)
    with away.app_context():
        token = issue_token(1)

    answer = log_out(away, token)

    assert (answer.status_code, answer.json["code"]) == (503, 1010)
    assert "Retry-After" in answer.headers
    assert status(away, token) == 200


def test_without_redis_a_process_refuses_what_it_knows_of_and_lets_others_in(app, token, make_app, redis_server_url):
    proxy = Proxy(urlsplit(redis_server_url).hostname, urlsplit(redis_server_url).port or 6379)
    other = make_app(redis_url=f"redis://127.0.0.1:{proxy.port}{urlsplit(redis_server_url).path}")
    log_out(other, token)
    proxy.refuse()

    eventually(lambda: (status(other, issue_token(1)), breaks(other)) == (200, True), "Redis was missed", 10)
    statuses = [status(other, token), status(other, issue_token(1))]
    proxy.close()

    assert statuses == [401, 200]


def breaks(app):
    return app.extensions["redis_breaker"].is_open
