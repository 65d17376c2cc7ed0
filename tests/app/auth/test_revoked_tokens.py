"""POST /logout: the token is refused from then on, in every process, until it would have expired."""

from time import monotonic, time
from urllib.parse import urlsplit

import pytest
from flask_jwt_extended import decode_token

from app.auth import revoked_tokens
from app.auth.tokens import issue_token
from app.redis.client import client
from tests.factories import eventually
from tests.tools.proxy import Proxy

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
    eventually(lambda: status(other, token) == 401, "the other process has read the revoked token")


def test_a_process_that_starts_later_refuses_it_from_its_first_request(app, token, make_app):
    log_out(app, token)

    assert status(make_app(), token) == 401


def test_what_is_revoked_one_after_the_other_is_all_read(app, make_app):
    other = make_app()
    tokens = [issue_token(1) for _ in range(3)]

    for token in tokens:
        log_out(app, token)
        eventually(lambda token=token: status(other, token) == 401, "the other process has read it")

    assert [status(other, token) for token in tokens] == [401] * 3


def test_a_server_that_replaced_another_is_read_whole_and_gets_what_it_lacks(app, token, make_app):
    reader = make_app()
    log_out(app, token)
    assert status(reader, token) == 401
    second = issue_token(2)
    with app.app_context():
        client().delete(revoked_tokens.REVOKED_KEY, revoked_tokens.MARK_KEY)
        revocation = {"jti": decode_token(second)["jti"], "exp": decode_token(second)["exp"]}
        client().xadd(revoked_tokens.REVOKED_KEY, revocation, id="1-1")  # its clock is far behind

    eventually(lambda: status(reader, second) == 401, "all of the new stream is read")
    assert status(make_app(), token) == 401


def test_checking_asks_redis_at_most_once_a_second(app, token):
    status(app, token)
    client = app.extensions["redis"]
    asked = []
    client.xrange, original = (lambda *_, **__: asked.append(1) or []), client.xrange

    started = monotonic()
    for _ in range(20):
        status(app, token)

    client.xrange = original
    assert len(asked) <= 1 + (monotonic() - started)  # the next second may have begun


HOUR, WEEK = 3600, 7 * 24 * 3600


def test_a_revoked_token_stays_refused_after_jwt_ttl_was_shortened(app, make_app):
    before, now = make_app(jwt_ttl=WEEK), make_app(jwt_ttl=HOUR)
    with before.app_context():
        token = issue_token(1)
        claims = decode_token(token)
    token_ids = [claims["jti"], *["other"] * 250]
    _add_entries(app, time() - 2 * HOUR, token_ids, claims["exp"])  # as the previous version wrote them
    with now.app_context():
        others = [issue_token(1) for _ in range(3)]

    for other in others:
        log_out(now, other)

    assert status(make_app(jwt_ttl=HOUR), token) == 401


def test_an_entry_is_deleted_from_redis_once_its_token_has_expired(app, token):
    _add_entries(app, time() - WEEK, ["long"] * 150, int(time()) + WEEK)  # does not keep those behind it
    _add_entries(app, time() - HOUR, ["expired"] * 150, int(time()) - HOUR)

    for _ in range(4):
        log_out(app, issue_token(1))

    ids = [entry[b"jti"] for _, entry in app.extensions["redis"].xrange(revoked_tokens.REVOKED_KEY)]
    assert (ids.count(b"long"), ids.count(b"expired"), len(ids)) == (150, 0, 154)


def test_an_entry_stays_while_a_slower_clock_may_accept_its_token(app, token):
    _add_entries(app, time() - HOUR, ["just-expired"], int(time()) - 1)

    log_out(app, token)

    ids = [entry[b"jti"] for _, entry in app.extensions["redis"].xrange(revoked_tokens.REVOKED_KEY)]
    assert b"just-expired" in ids


def test_what_is_revoked_has_no_expiry_that_would_let_redis_evict_it(app, token):
    log_out(app, token)

    assert app.extensions["redis"].ttl(revoked_tokens.REVOKED_KEY) == -1


def test_without_redis_nobody_can_log_out_and_is_told_so(make_app):
    away = make_app(redis_url=AWAY)
    with away.app_context():
        token = issue_token(1)

    answer = log_out(away, token)

    assert (answer.status_code, answer.json["code"]) == (503, 1010)
    assert "Retry-After" in answer.headers
    assert status(away, token) == 200


def test_without_redis_a_process_refuses_the_tokens_in_its_cache(app, token, make_app, redis_server_url):
    proxy = Proxy(urlsplit(redis_server_url).hostname, urlsplit(redis_server_url).port or 6379)
    other = make_app(redis_url=f"redis://127.0.0.1:{proxy.port}{urlsplit(redis_server_url).path}")
    log_out(other, token)
    proxy.refuse()

    eventually(lambda: (status(other, issue_token(1)), breaks(other)) == (200, True), "Redis was missed")
    statuses = [status(other, token), status(other, issue_token(1))]
    proxy.close()

    assert statuses == [401, 200]


def breaks(app):
    return app.extensions["redis_breaker"].is_open


def _add_entries(app, written, token_ids, expires):
    """Write revocations at an earlier time, in seconds since 1970."""
    for number, token_id in enumerate(token_ids):
        entry = {"jti": token_id, "exp": expires}
        app.extensions["redis"].xadd(revoked_tokens.REVOKED_KEY, entry, id=f"{int(written * 1000)}-{number}")
