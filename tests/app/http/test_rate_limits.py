"""Rate limits of logins and writes; they fail open without Redis."""

import json

import pytest
from flask import g
from flask.json.provider import DefaultJSONProvider

from app.auth.tokens import VerifiedToken, issue_token
from app.errors import TooManyRequests
from app.http.rate_limits import account, limited
from app.settings import OFF
from app.users import service
from app.users.known_addresses import KNOWN_SECONDS
from app.users.passwords import Verdict
from tests.app.users.test_routes import REGISTRATION

AWAY = "redis://127.0.0.1:1/0"
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def app(make_app):
    return make_app(
        login_rate_per_account="3 per hour", login_rate_per_address="5 per hour", register_rate_per_address="2 per hour"
    )


def log_in(app, user_id="1", address=HERE, password="wrong horse", **headers):
    return app.test_client().post(
        "/login",
        data=json.dumps({"id": user_id, "password": password}),
        content_type="application/json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        environ_overrides={"REMOTE_ADDR": address},
    )


def register(app, address=HERE):
    return app.test_client().post("/user/register", json=REGISTRATION, environ_overrides={"REMOTE_ADDR": address})


def statuses(answers):
    return [answer.status_code for answer in answers]


def test_one_account_can_be_tried_so_often_and_no_more_from_wherever(app):
    tried = statuses(log_in(app, "1", f"192.0.2.{number}") for number in range(5))

    assert tried == [401, 401, 401, 429, 429]
    assert log_in(app, "2").status_code == 401


def test_an_account_is_the_same_however_its_id_is_written(app):
    tried = statuses(log_in(app, "0" * number + "7", f"192.0.2.{number}") for number in range(4))

    assert tried == [401, 401, 401, 429]


def test_one_address_can_try_so_often_and_no_more_whatever_the_account(app):
    tried = statuses(log_in(app, str(number)) for number in range(1, 8))

    assert tried == [401] * 5 + [429] * 2
    assert log_in(app, "1", THERE).status_code == 401


def test_the_right_password_does_not_help_beyond_the_limit(app):
    user_id = register(app).json["user_id"]
    for number in range(3):
        log_in(app, user_id, f"192.0.2.{number}")

    assert log_in(app, user_id, THERE, REGISTRATION["password"]).status_code == 429


OWN = REGISTRATION["password"]


def guess(app, user_id, number=4):
    """Wrong passwords, each from another address."""
    return statuses(log_in(app, user_id, f"198.51.100.{n}") for n in range(number))


@pytest.fixture
def user_id(app):
    """Log in a user from HERE, which counts as an attempt from an unknown address."""
    user_id = register(app).json["user_id"]
    assert log_in(app, user_id, HERE, OWN).status_code == 200
    return user_id


def test_guessing_does_not_lock_out_the_owner_at_known_addresses(app, user_id):
    guesses = guess(app, user_id)

    assert guesses == [401, 401, 429, 429]
    assert [log_in(app, user_id, address, OWN).status_code for address in (HERE, THERE)] == [200, 429]


def test_guessing_from_a_known_address_is_limited_too(app, user_id):
    assert statuses(log_in(app, user_id, HERE) for _ in range(4)) == [401, 401, 401, 429]
    assert log_in(app, user_id, THERE).status_code == 401


def test_an_address_is_known_to_the_accounts_only_that_logged_in_from_it(app, user_id):
    other = register(app).json["user_id"]
    guess(app, other)

    assert log_in(app, other, HERE, OWN).status_code == 429


def test_an_address_with_the_wrong_password_does_not_become_known(app, user_id):
    assert statuses(log_in(app, user_id, THERE) for _ in range(3)) == [401, 401, 429]
    assert log_in(app, user_id, "192.0.2.3").status_code == 429


def test_a_known_address_is_forgotten_some_time_after_the_last_login(app, user_id):
    client = app.extensions["redis"]
    (key,) = client.scan_iter("login:known:*")
    client.expire(key, 5)

    log_in(app, user_id, HERE, OWN)

    assert KNOWN_SECONDS - 60 < client.ttl(key) <= KNOWN_SECONDS


def log_in_by_name(app, username, address=HERE, password="wrong horse"):
    body = {"username": username, "password": password}
    return app.test_client().post("/login", json=body, environ_overrides={"REMOTE_ADDR": address})


@pytest.fixture
def named(app, user_id):
    """The username of the user."""
    with app.app_context():
        service.update(int(user_id), {"username": "ann"})
    return "ann"


def test_an_account_is_the_same_by_id_and_by_username_in_any_case(app, user_id, named):
    guesses = [log_in(app, user_id, THERE), log_in_by_name(app, named, THERE), log_in_by_name(app, "ANN", THERE)]

    assert statuses(guesses) == [401, 401, 429]
    assert log_in(app, user_id, THERE).status_code == 429


def test_guessing_by_username_does_not_lock_out_the_owner_either(app, user_id, named):
    guess(app, user_id)

    assert [log_in_by_name(app, named, address, OWN).status_code for address in (HERE, THERE)] == [200, 429]


def test_an_address_that_logged_in_by_username_is_known_by_id_too(app, user_id, named):
    assert log_in_by_name(app, named, THERE, OWN).status_code == 200
    guess(app, user_id)

    assert log_in(app, user_id, THERE, OWN).status_code == 200


def test_an_unknown_username_is_limited_as_an_unknown_id_is(app):
    tried = statuses(log_in_by_name(app, "unknown", f"192.0.2.{number}") for number in range(4))

    assert tried == [401, 401, 401, 429]
    assert log_in_by_name(app, "nobody_2", THERE).status_code == 401
    assert log_in(app, "0", THERE).status_code == 401


def test_one_address_can_register_so_often(app):
    assert statuses(register(app) for _ in range(3)) == [200, 200, 429]
    assert register(app, THERE).status_code == 200


def test_the_answer_says_when_to_try_again(app):
    *_, answer = [log_in(app, "1", f"192.0.2.{number}") for number in range(4)]

    assert answer.json["code"] == 1009
    assert set(answer.json) == {"message", "code", "request_id"}
    assert 0 < int(answer.headers["Retry-After"]) <= 3600 + 1


def test_what_was_counted_expires(app):
    log_in(app)
    register(app)
    client = app.extensions["redis"]

    keys = list(client.scan_iter("LIMITS:*"))

    assert len(keys) == 3
    assert all(0 < client.ttl(key) <= 3600 for key in keys)


def test_processes_count_together(app, make_app):
    settings = app.extensions["settings"]
    other = make_app(login_rate_per_account=settings.login_rate_per_account)

    tried = statuses(log_in(one, "1", f"192.0.2.{n}") for n, one in enumerate([app, other, app, other]))

    assert tried == [401, 401, 401, 429]


@pytest.mark.parametrize(
    "body", ["", "[", "[]", "{}", '{"id": 1}', '{"id": null}', '{"id": []}', '{"id": "x"}', "[" * 50_000, "\xff"]
)
def test_a_body_without_an_account_is_400_and_counts_for_its_address_only(app, body):
    def send():
        data = body.encode("latin-1")
        return app.test_client().post("/login", data=data, content_type="application/json").status_code

    assert [send() for _ in range(6)] == [400] * 5 + [429]


def test_a_body_of_another_type_is_still_415_and_one_too_large_413(app):
    client = app.test_client()

    assert client.post("/login", data={"id": "1"}).status_code == 415
    assert client.post("/login", data=b"x" * 300_000, content_type="application/json").status_code == 413


def test_other_calls_are_not_counted(app):
    answers = [app.test_client().get("/post/feed") for _ in range(10)]

    assert statuses(answers) == [401] * 10
    assert list(app.extensions["redis"].scan_iter("LIMITS:*")) == []


def test_the_hooks_of_every_request_are_the_applications_own(app):
    hooks = [*app.before_request_funcs[None], *app.after_request_funcs[None], *app.teardown_request_funcs.get(None, [])]

    assert [hook.__qualname__ for hook in hooks] == ["_assign_request_id", "_require_token"]


def test_a_body_of_any_depth_is_counted_for_its_account_or_refused(make_app, monkeypatch):
    monkeypatch.setattr(service, "verify_password", lambda *_: Verdict(is_right=False, is_outdated=False))
    app = make_app(login_rate_per_account="1 per hour")

    def send(depth):
        body = f'{{"id": "{depth}", "password": "wrong horse", "more": ' + "[" * depth + "]" * depth + "}"
        return app.test_client().post("/login", data=body, content_type="application/json").status_code

    tried = {(send(depth), send(depth)) for depth in range(900, 1000)}

    assert tried == {(401, 429), (400, 400)}


def test_a_body_is_parsed_once(app):
    parsed = []

    class Recording(DefaultJSONProvider):
        def loads(self, text, **options):
            parsed.append(text)
            return super().loads(text, **options)

    app.json = Recording(app)

    log_in(app)

    assert len(parsed) == 1


def test_writes_can_be_limited_by_account(make_app):
    app = make_app(login_rate_per_account="2 per hour")
    view = limited("login_rate_per_account", by=account)(dict)

    def write(user_id):
        with app.test_request_context():
            g.verified = VerifiedToken(user_id, 0, "", 0)
            return view()

    assert [write(1), write(1), write(2)] == [{}] * 3
    with pytest.raises(TooManyRequests) as refused:
        write(1)
    assert 0 < refused.value.retry_after <= 3600


def test_without_redis_nobody_is_kept_out(make_app):
    away = make_app(redis_url=AWAY, login_rate_per_account="1 per hour", register_rate_per_address="1 per hour")

    assert statuses(log_in(away) for _ in range(3)) == [401] * 3
    assert statuses(register(away) for _ in range(2)) == [200] * 2


def test_what_is_off_counts_nothing(make_app):
    app = make_app(login_rate_per_account=OFF, login_rate_per_address=OFF, register_rate_per_address=OFF)

    log_in(app)
    register(app)

    assert list(app.extensions["redis"].scan_iter("LIMITS:*")) == []


@pytest.mark.parametrize(
    "forms",
    [
        ["198.51.100.1", "198.51.100.1:50001", "198.51.100.1:50002", "::ffff:198.51.100.1", "[::ffff:c633:6401]:80"],
        ["2001:db8:1:2::1", "[2001:db8:1:2::2]", "[2001:db8:1:2::3]:50001", "2001:DB8:1:2:ffff::", "2001:db8:1:2::%x"],
        ["unknown", "_hidden", "198.51.100.999", "", "198.051.100.001"],  # the proxy's own
    ],
    ids=["IPv4", "IPv6", "no address"],
)
def test_all_forms_of_a_subscribers_address_count_together(make_app, forms):
    app = make_app(login_rate_per_address="4 per hour", trusted_proxies=1)

    tried = statuses(log_in(app, str(n), X_Forwarded_For=form) for n, form in enumerate(forms, 1))

    assert tried == [401] * 4 + [429]
    assert log_in(app, X_Forwarded_For="203.0.113.1").status_code == 401


def test_without_a_trusted_proxy_nobody_chooses_their_address(app):
    tried = statuses(log_in(app, str(n), X_Forwarded_For=f"198.51.100.{n}") for n in range(1, 7))

    assert tried == [401] * 5 + [429]


def test_behind_a_proxy_the_address_is_what_the_proxy_says(make_app):
    app = make_app(login_rate_per_address="2 per hour", trusted_proxies=1)

    def tries(forwarded):
        return [log_in(app, str(n), X_Forwarded_For=forwarded).status_code for n in range(1, 4)]

    assert tries("198.51.100.1") == [401, 401, 429]
    assert tries("198.51.100.2") == [401, 401, 429]
    assert tries("203.0.113.9, 198.51.100.1") == [429] * 3  # entries added by the client do not count


# --- writes ------------------------------------------------------------------------------------------------

WRITES = {
    "post": [("POST", "/post/create")],
    "edit": [("PUT", "/post/update")],
    "follow": [
        ("PUT", "/friend/set/7"),
        ("PUT", "/friend/delete/7"),
        ("PUT", "/block/set/7"),
        ("PUT", "/block/delete/7"),
    ],
}


@pytest.mark.parametrize("kind", WRITES)
def test_writes_of_an_account_are_limited_and_those_of_others_are_not(make_app, kind):
    app = make_app(**{f"{kind}_rate_per_account": f"{len(WRITES[kind])} per hour"})
    with app.app_context():
        headers = [{"X-Auth": issue_token(user_id)} for user_id in (1, 2)]

    def write(user, call):
        method, path = call
        return app.test_client().open(path, method=method, json={}, headers=headers[user])

    within = [write(0, call).status_code for call in WRITES[kind]]
    above = [write(0, call) for call in WRITES[kind]]

    assert 429 not in within
    assert {(answer.status_code, answer.json["code"]) for answer in above} == {(429, 1009)}
    assert all(0 < int(answer.headers["Retry-After"]) <= 3600 for answer in above)
    assert write(1, WRITES[kind][0]).status_code != 429
