"""Health: alive while the process answers, ready while both databases do."""

from contextlib import closing
from time import monotonic

import psycopg2
import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from tests.factories import Factory
from tests.tools.chaos.servers import proxy_to, through

POSTGRES_AWAY = "postgresql://nobody:hidden@127.0.0.1:1/nothing"
REDIS_AWAY = "redis://:hidden@127.0.0.1:1/0"


def ready(app):
    return app.test_client().get("/health/ready")


def test_live_answers_without_a_token(make_app):
    answer = make_app().test_client().get("/health/live")

    assert (answer.status_code, answer.json) == (200, {"status": "live"})


def test_live_asks_nothing_of_any_server(make_app):
    away = make_app(users_database_url=POSTGRES_AWAY, posts_database_url=POSTGRES_AWAY, redis_url=REDIS_AWAY)

    answer = away.test_client().get("/health/live")

    assert answer.status_code == 200


def test_ready_tells_the_state_of_each_server_and_how_long_it_took(make_app):
    answer = ready(make_app())

    assert answer.status_code == 200
    assert answer.json["status"] == "ready"
    states = [*answer.json["databases"].values(), answer.json["redis"]]
    assert set(answer.json["databases"]) == {"users", "posts"}
    assert [state["status"] for state in states] == ["up"] * 3
    assert all(0 <= state["ms"] < 5000 for state in states)


@pytest.mark.parametrize(("away", "other"), [("users", "posts"), ("posts", "users")])
def test_without_one_of_the_databases_it_is_not_ready_and_says_which(make_app, away, other):
    answer = ready(make_app(**{f"{away}_database_url": POSTGRES_AWAY}))

    assert answer.status_code == 503
    assert answer.json["status"] == "not ready"
    assert answer.json["databases"][away]["status"].startswith("down")
    assert answer.json["databases"][other]["status"] == "up"


def test_without_redis_it_is_ready_for_feeds_are_read_from_sql(make_app):
    answer = ready(make_app(redis_url=REDIS_AWAY))

    assert answer.status_code == 200
    assert answer.json["status"] == "ready"
    assert answer.json["redis"]["status"].startswith("down")


def test_ready_shows_no_address_and_no_password(make_app):
    answer = ready(make_app(users_database_url=POSTGRES_AWAY, redis_url=REDIS_AWAY))

    assert "hidden" not in answer.text
    assert "127.0.0.1" not in answer.text


def test_a_database_that_hung_up_is_ready_again(make_app):
    app = make_app()
    first = ready(app)
    with closing(psycopg2.connect(app.extensions["settings"].users_database_url)) as server:
        server.cursor().execute("""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
        """)

    second = ready(app)

    assert (first.status_code, second.status_code) == (200, 200)


@pytest.mark.parametrize("frozen", ["users", "posts"])
def test_a_frozen_database_is_named_within_seconds(make_app, settings, frozen):
    """Also one that froze after the process had connected: no connection of the pool is asked."""
    proxy = proxy_to(getattr(settings, f"{frozen}_database_url"), 5432)
    app = make_app(**{f"{frozen}_database_url": through(getattr(settings, f"{frozen}_database_url"), proxy)})
    try:
        assert ready(app).status_code == 200
        proxy.freeze()
        started = monotonic()

        answer = ready(app)

        assert monotonic() - started < 8
        assert answer.status_code == 503
        assert answer.json["databases"][frozen]["status"] == "down: OperationalError"
    finally:
        proxy.close()


def test_the_broker_is_not_asked_and_the_answer_says_what_tells_of_it(make_app):
    """It listens nowhere in these tests."""
    app = make_app()
    with app.app_context():
        Factory().post(Factory().person())
        execute(POSTS, text("UPDATE outbox SET created_at = created_at - interval '90 seconds'"))
        commit()

    answer = ready(app)

    assert answer.status_code == 200
    assert "outbox_oldest_s" in answer.json["broker"]
    assert 90 <= answer.json["outbox_oldest_s"] < 120
