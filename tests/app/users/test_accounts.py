"""Passwords and generations of tokens: the tokens that count after a change, in every process."""

import pytest
from argon2 import PasswordHasher
from flask_jwt_extended import create_access_token
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from app.auth import generations, revoked_tokens
from app.auth.tokens import issue_token, signing_key
from app.db.engine import USERS, commit, execute
from app.errors import WrongCredentials
from app.users import accounts, outbox, service, store
from tests.factories import eventually

OLD, NEW = "correct horse", "battery staple"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(OLD)
AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """Let a process read SQL at its first try, also on a slow machine."""
    monkeypatch.setattr(generations, "READ_SECONDS", 30)


@pytest.fixture
def ann(world):
    return world.person(password_hash=HASH)


def status(app, token):
    return app.test_client().get("/post/feed", headers={"X-Auth": token}).status_code


def change(app, token, old=OLD, new=NEW):
    body = {"old_password": old, "new_password": new}
    return app.test_client().put("/user/password", json=body, headers={"X-Auth": token})


def log_in(app, user_id, password):
    return app.test_client().post("/login", json={"id": str(user_id), "password": password})


def log_out_everywhere(app, token):
    return app.test_client().post("/logout?everywhere=true", headers={"X-Auth": token})


# --- the password ------------------------------------------------------------------------------------------


def test_a_changed_password_logs_in_and_the_old_one_does_not(app, ann):
    answer = change(app, service.log_in(ann, OLD))

    assert (answer.status_code, answer.json["user_id"]) == (200, str(ann))
    assert (log_in(app, ann, NEW).status_code, log_in(app, ann, OLD).status_code) == (200, 401)


def test_only_the_token_of_the_change_counts_after_it(app, ann):
    tokens = [service.log_in(ann, OLD) for _ in range(2)]  # in the same second as the change

    fresh = change(app, tokens[0]).json["token"]

    assert [status(app, token) for token in (*tokens, fresh)] == [401, 401, 200]


def test_a_token_of_the_version_before_is_refused_after_a_change(app, ann):
    token = create_access_token(identity=str(ann), additional_headers={"kid": signing_key().id})  # without the claim
    before = status(app, token)

    accounts.log_out_everywhere(ann)

    assert (before, status(app, token)) == (200, 401)


def test_a_wrong_old_password_changes_nothing(app, ann):
    token = service.log_in(ann, OLD)

    answer = change(app, token, old="wrong horse")

    assert (answer.status_code, answer.json["code"]) == (401, 1003)
    assert (status(app, token), log_in(app, ann, OLD).status_code) == (200, 200)


def test_guessing_the_old_password_is_limited(make_app, ann):
    app = make_app(login_rate_per_account="2 per minute")
    with app.app_context():
        token = issue_token(ann)

    statuses = [change(app, token, old="wrong horse").status_code for _ in range(3)]

    assert statuses == [401, 401, 429]


def test_a_password_is_not_changed_where_no_token_can_be_issued(app, make_app, ann):
    key = "a key of more than 32 bytes without commas"
    verifying = make_app(jwt_secret_key="", jwt_previous_secret_keys=key)
    with make_app(jwt_secret_key=key).app_context():
        token = issue_token(ann)

    answer = change(verifying, token)

    assert answer.status_code == 404
    assert log_in(app, ann, OLD).status_code == 200


def test_a_log_in_during_a_change_gets_a_token_that_is_refused(app, ann, monkeypatch):
    """It has read the old hash, and issues its token after the change."""
    verify = service.verify_password

    def change_then_verify(known, password):
        monkeypatch.setattr(service, "verify_password", verify)
        accounts.change_password(ann, OLD, NEW)
        return verify(known, password)

    monkeypatch.setattr(service, "verify_password", change_then_verify)
    late = service.log_in(ann, OLD)

    assert status(app, late) == 401


def test_of_two_changes_at_once_the_second_needs_the_password_of_the_first(app, ann, monkeypatch):
    hash_password = accounts.hash_password

    def overtaken(password):
        monkeypatch.setattr(accounts, "hash_password", hash_password)
        accounts.change_password(ann, OLD, "the other's")
        return hash_password(password)

    monkeypatch.setattr(accounts, "hash_password", overtaken)
    with pytest.raises(WrongCredentials):
        accounts.change_password(ann, OLD, NEW)

    assert [log_in(app, ann, password).status_code for password in (OLD, NEW, "the other's")] == [401, 401, 200]


def test_a_change_goes_on_where_a_log_in_has_replaced_the_hash(app, ann, monkeypatch):
    hash_password = accounts.hash_password

    def overtaken(password):
        monkeypatch.setattr(accounts, "hash_password", hash_password)
        store.set_password_hash(ann, hash_password(OLD))
        commit()
        return hash_password(password)

    monkeypatch.setattr(accounts, "hash_password", overtaken)
    accounts.change_password(ann, OLD, NEW)

    assert log_in(app, ann, NEW).status_code == 200


# --- everywhere --------------------------------------------------------------------------------------------


def test_logging_out_everywhere_refuses_all_tokens_and_a_new_one_counts(app, ann):
    tokens = [service.log_in(ann, OLD) for _ in range(2)]

    answer = log_out_everywhere(app, tokens[0])

    assert (answer.status_code, answer.json) == (200, {})
    assert [status(app, token) for token in tokens] == [401, 401]
    assert status(app, service.log_in(ann, OLD)) == 200


def test_logging_out_everywhere_leaves_other_users_logged_in(app, ann, world):
    other = issue_token(world.person())

    log_out_everywhere(app, service.log_in(ann, OLD))

    assert status(app, other) == 200


@pytest.mark.parametrize("value", ["1", "yes", "", "True"])
def test_everywhere_is_true_or_false_and_nothing_else(app, ann, value):
    answer = app.test_client().post(f"/logout?everywhere={value}", headers={"X-Auth": issue_token(ann)})

    assert (answer.status_code, list(answer.json["errors"])) == (400, ["everywhere"])


def test_another_process_refuses_the_tokens_within_seconds_and_takes_the_new(app, make_app, ann):
    other, token = make_app(), service.log_in(ann, OLD)
    before = status(other, token)

    fresh = change(app, token).json["token"]

    assert before == 200
    eventually(lambda: status(other, token) == 401, "the other process has read the generation")
    assert status(other, fresh) == 200


def test_checking_a_token_runs_no_query(app, ann, monkeypatch):
    token = service.log_in(ann, OLD)
    status(app, token)
    monkeypatch.setattr(generations, "fetch_one", lambda *_: pytest.fail("SQL was asked"))

    eventually(lambda: revoked_tokens.revoked()._fresh_until < revoked_tokens.monotonic(), "it is time to refresh")

    assert [status(app, token) for _ in range(5)] == [200] * 5


# --- Redis that loses, and Redis that is away --------------------------------------------------------------


def restart(app):
    """Leave Redis as a restart from an earlier snapshot does."""
    client = app.extensions["redis"]
    client.delete(revoked_tokens.REVOKED_KEY)
    client.set(revoked_tokens.MARK_KEY, "another-server:-1 0123456789abcdef")
    revoked_tokens.CONNECTIONS.add()


def test_a_process_that_starts_after_redis_was_emptied_refuses_the_tokens(app, make_app, ann):
    token = service.log_in(ann, OLD)
    change(app, token)
    app.extensions["redis"].delete(revoked_tokens.REVOKED_KEY, revoked_tokens.MARK_KEY)

    assert status(make_app(), token) == 401


@pytest.mark.parametrize("mark_is_left", [True, False])
def test_a_running_process_reads_sql_again_after_redis_lost_the_stream(app, make_app, ann, mark_is_left):
    other, token = make_app(), service.log_in(ann, OLD)
    before = status(other, token)
    generations.begin(ann)  # by a third process, of whose announcement nothing is left
    commit()

    if mark_is_left:
        restart(app)
    else:
        app.extensions["redis"].delete(revoked_tokens.REVOKED_KEY, revoked_tokens.MARK_KEY)

    assert before == 200
    eventually(lambda: status(other, token) == 401, "the other process has read SQL")


def test_of_two_processes_both_read_sql_after_a_loss(app, make_app, ann):
    """The first writes a new mark, which the second must not know."""
    token, others = service.log_in(ann, OLD), [make_app(), make_app()]
    before = [status(other, token) for other in others]
    generations.begin(ann)
    commit()

    app.extensions["redis"].delete(revoked_tokens.REVOKED_KEY, revoked_tokens.MARK_KEY)

    assert before == [200, 200]
    for other in others:
        eventually(lambda other=other: status(other, token) == 401, "the other process has read SQL")


def test_a_generation_that_a_failover_of_sql_lost_refuses_no_token(app, make_app, ann):
    other = make_app()
    accounts.log_out_everywhere(ann)
    for each in (app, other):
        eventually(lambda each=each: status(each, issue_token(ann)) == 401, "the process has read it")
    execute(USERS, text("DELETE FROM token_generations"))
    commit()
    token = service.log_in(ann, OLD)
    before = [status(each, token) for each in (app, other)]

    revoked_tokens.read_again()

    assert before == [401, 401]
    for each in (app, other, make_app()):
        eventually(lambda each=each: status(each, token) == 200, "the process has read SQL")


def test_a_generation_that_begins_while_sql_is_read_counts(app, ann, monkeypatch):
    token, load = service.log_in(ann, OLD), generations.load

    def begin_meanwhile():
        loaded = load()
        monkeypatch.undo()
        accounts.log_out_everywhere(ann)
        return loaded

    monkeypatch.setattr(generations, "load", begin_meanwhile)

    assert status(app, token) == 401


def test_a_process_serves_while_the_users_database_is_away(app, make_app, ann):
    away = make_app(users_database_url="postgresql://postgres@127.0.0.1:1/away")

    assert status(away, issue_token(ann)) == 200


def test_without_redis_a_change_counts_here_at_once_and_elsewhere_afterwards(app, make_app, ann):
    away, token = make_app(redis_url=AWAY), service.log_in(ann, OLD)
    before = status(app, token)

    answer = change(away, token)

    assert (answer.status_code, status(away, token), before) == (200, 401, 200)
    [event] = outbox.OUTBOX.lock_batch(outbox.OUTBOX.events, 10)
    assert (event.event, event.payload) == ("tokens_revoked", {"user_id": ann})
    commit()
    accounts.announce(ann)  # as the actor does
    eventually(lambda: status(app, token) == 401, "the event has told this process")


def test_no_generation_begins_where_the_event_cannot_be_kept(app, ann, refuse):
    token = service.log_in(ann, OLD)
    refuse("outbox", USERS)

    with pytest.raises(InternalError, match="refused"):
        accounts.log_out_everywhere(ann)

    assert status(app, token) == 200


# --- what is kept ------------------------------------------------------------------------------------------


def age(days):
    execute(USERS, text(f"UPDATE token_generations SET changed_at = now() - interval '{days} days'"))
    commit()


def test_a_generation_is_kept_for_thirty_days_and_longer_than_jwt_ttl(app, make_app, ann):
    accounts.log_out_everywhere(ann)
    age(30)
    kept = generations.forget_old()
    age(32)

    with make_app(jwt_ttl=40 * 86_400).app_context():
        kept_for_a_long_ttl = generations.forget_old()

    assert (kept, kept_for_a_long_ttl, generations.forget_old()) == (0, 0, 1)


def test_a_token_issued_after_the_row_was_deleted_counts_everywhere(app, make_app, ann):
    """A process that still knows the generation must not refuse a token of the first."""
    accounts.log_out_everywhere(ann)
    age(31)
    others = [make_app(), app]
    app.extensions["redis"].delete(revoked_tokens.REVOKED_KEY, revoked_tokens.MARK_KEY)
    revoked_tokens.revoked()._generations.clear()
    [status(other, issue_token(ann)) for other in others]
    age(32)
    generations.forget_old()
    commit()

    token = service.log_in(ann, OLD)

    assert [status(other, token) for other in others] == [200, 200]


# --- commands ----------------------------------------------------------------------------------------------


def test_set_password_asks_for_one_and_refuses_the_tokens(app, runner, ann):
    token = service.log_in(ann, OLD)

    result = runner.invoke(args=["set-password", str(ann)], input=f"{NEW}\n{NEW}\n")

    assert result.exit_code == 0, result.output
    assert "All tokens from before are refused" in result.output
    assert (status(app, token), log_in(app, ann, NEW).status_code) == (401, 200)


def test_set_password_prints_the_one_that_it_generates(app, runner, ann):
    result = runner.invoke(args=["set-password", str(ann), "--generate", "--json"])

    printed = app.json.loads(result.output)
    assert printed["user_id"] == str(ann)
    assert log_in(app, ann, printed["password"]).status_code == 200


def test_set_password_refuses_a_short_password_and_an_unknown_user(runner, ann):
    short = runner.invoke(args=["set-password", str(ann)], input="short\nshort\n")
    unknown = runner.invoke(args=["set-password", str(ann + 1), "--generate"])

    assert (short.exit_code, unknown.exit_code) == (1, 1)
    assert "8 to 128 characters" in short.output
    assert "There is no such user" in unknown.output
