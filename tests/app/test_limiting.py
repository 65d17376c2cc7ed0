"""How often one may try to get in, by account and by address; and that without Redis nobody is kept out."""

import json

import pytest

from app.settings import OFF
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


def test_nothing_looks_at_every_request(app):
    hooks = [*app.before_request_funcs[None], *app.after_request_funcs[None], *app.teardown_request_funcs.get(None, [])]

    assert hooks
    assert [hook for hook in hooks if "limiter" in getattr(hook, "__module__", "")] == []
    assert all("imiter" not in repr(hook) for hook in hooks)


def test_without_redis_nobody_is_kept_out(make_app):
    away = make_app(redis_url=AWAY, login_rate_per_account="1 per hour", register_rate_per_address="1 per hour")

    assert statuses(log_in(away) for _ in range(3)) == [401] * 3
    assert statuses(register(away) for _ in range(2)) == [200] * 2


def test_what_is_off_counts_nothing(make_app):
    app = make_app(login_rate_per_account=OFF, login_rate_per_address=OFF, register_rate_per_address=OFF)

    log_in(app)
    register(app)

    assert list(app.extensions["redis"].scan_iter("LIMITS:*")) == []


def test_without_a_trusted_proxy_nobody_chooses_their_address(app):
    tried = statuses(log_in(app, str(n), X_Forwarded_For=f"198.51.100.{n}") for n in range(1, 7))

    assert tried == [401] * 5 + [429]


def test_behind_a_proxy_the_address_is_what_the_proxy_says(make_app):
    app = make_app(login_rate_per_address="2 per hour", trusted_proxies=1)

    def tries(forwarded):
        return [log_in(app, str(n), X_Forwarded_For=forwarded).status_code for n in range(1, 4)]

    assert tries("198.51.100.1") == [401, 401, 429]
    assert tries("198.51.100.2") == [401, 401, 429]
    assert tries("203.0.113.9, 198.51.100.1") == [429] * 3  # what a client put in front counts for nothing
