"""Suspended accounts: no log-in and no token counts, in every interleaving, until they are restored."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from app.auth.tokens import issue_token
from app.db.engine import USERS, commit, db, execute
from app.errors import AccountSuspended, NotFound, Unauthorized
from app.posts import service as posts
from app.users import accounts, outbox, service
from tests.app.users.test_accounts import HASH, NEW, OLD, change, log_in, status
from tests.factories import eventually


@pytest.fixture
def ann(world):
    return world.person(password_hash=HASH)


def suspended_at(user_id):
    found = execute(USERS, text("SELECT suspended_at FROM users WHERE id = :id"), {"id": user_id}).scalar_one()
    commit()
    return found


def events():
    rows = outbox.OUTBOX.lock_batch(outbox.OUTBOX.events, 10)
    outbox.OUTBOX.delete([row.id for row in rows])
    commit()
    return [(row.event, row.payload) for row in rows]


# --- logging in --------------------------------------------------------------------------------------------


def test_only_the_right_password_tells_that_an_account_is_suspended(app, ann):
    accounts.suspend(ann)

    right, wrong, unknown = log_in(app, ann, OLD), log_in(app, ann, NEW), log_in(app, ann + 1, OLD)

    assert (right.status_code, right.json["code"]) == (403, 1020)
    assert [(answer.status_code, answer.json["code"]) for answer in (wrong, unknown)] == [(401, 1003)] * 2


def test_a_restored_user_logs_in_and_tokens_from_before_stay_refused(app, ann):
    token = service.log_in(ann, OLD)
    accounts.suspend(ann)

    accounts.restore(ann)

    answer = log_in(app, ann, OLD)
    assert (answer.status_code, status(app, answer.json["token"]), status(app, token)) == (200, 200, 401)


def test_attempts_on_a_suspended_account_are_limited(make_app, ann):
    app = make_app(login_rate_per_account="2 per minute")
    accounts.suspend(ann)

    assert [log_in(app, ann, OLD).status_code for _ in range(3)] == [403, 403, 429]


# --- tokens ------------------------------------------------------------------------------------------------


def test_a_token_issued_a_moment_before_is_refused_at_once_and_those_of_others_are_not(app, ann, world):
    other = issue_token(world.person())
    tokens = [service.log_in(ann, OLD) for _ in range(2)]
    before = [status(app, token) for token in tokens]

    accounts.suspend(ann)

    assert (before, [status(app, token) for token in (*tokens, other)]) == ([200, 200], [401, 401, 200])


def test_another_process_refuses_the_tokens_within_seconds(app, make_app, ann):
    other, token = make_app(), service.log_in(ann, OLD)
    before = status(other, token)

    accounts.suspend(ann)

    eventually(lambda: status(other, token) == 401, "the other process has read the generation")
    assert before == 200


def test_a_log_in_during_a_suspension_gets_a_token_that_is_refused(app, ann, monkeypatch):
    """It has read that the account is not suspended, and issues its token afterwards."""
    verify = service.verify_password

    def suspend_then_verify(known, password):
        accounts.suspend(ann)
        return verify(known, password)

    monkeypatch.setattr(service, "verify_password", suspend_then_verify)
    late = service.log_in(ann, OLD)

    assert status(app, late) == 401


@pytest.mark.parametrize("moment", ["hash_password", "check_password"])
def test_a_change_of_the_password_during_a_suspension_gives_no_token(app, ann, monkeypatch, moment):
    """Its token was checked before. It would begin a generation after that of the suspension."""
    real = getattr(accounts, moment)

    def suspend_then(*arguments):
        monkeypatch.setattr(accounts, moment, real)
        accounts.suspend(ann)
        return real(*arguments)

    monkeypatch.setattr(accounts, moment, suspend_then)
    with pytest.raises(Unauthorized):
        accounts.change_password(ann, OLD, NEW)

    accounts.restore(ann)
    assert [log_in(app, ann, password).status_code for password in (OLD, NEW)] == [200, 401]


def test_a_request_to_change_the_password_is_401_during_a_suspension(app, ann):
    token = service.log_in(ann, OLD)
    accounts.suspend(ann)

    assert change(app, token).status_code == 401


def test_a_password_set_for_a_suspended_user_does_not_restore_them(app, ann):
    accounts.suspend(ann)

    accounts.set_password(ann, NEW)

    assert log_in(app, ann, NEW).status_code == 403


# --- the rows ----------------------------------------------------------------------------------------------


def test_a_suspension_and_its_events_are_one_transaction(app, ann, refuse):
    token = service.log_in(ann, OLD)
    refuse("outbox", USERS)

    with pytest.raises(InternalError, match="refused"):
        accounts.suspend(ann)
    db.session.rollback()

    assert (suspended_at(ann), events(), status(app, token)) == (None, [], 200)


def test_each_change_has_an_event_which_names_the_user_only(ann):
    accounts.suspend(ann)
    suspended = events()
    accounts.restore(ann)

    assert suspended == [("suspension_changed", {"user_id": ann}), ("tokens_revoked", {"user_id": ann})]
    assert events() == [("suspension_changed", {"user_id": ann})]


def test_repeating_either_keeps_the_time_and_writes_the_event_again(ann):
    first, since = accounts.suspend(ann), suspended_at(ann)
    events()

    again = accounts.suspend(ann)

    assert (first, again, suspended_at(ann)) == (True, False, since)
    assert ("suspension_changed", {"user_id": ann}) in events()
    assert (accounts.restore(ann), accounts.restore(ann), suspended_at(ann)) == (True, False, None)
    assert events() == [("suspension_changed", {"user_id": ann})] * 2


@pytest.mark.parametrize("change", [accounts.suspend, accounts.restore])
def test_an_unknown_user_is_not_found(ann, change):
    with pytest.raises(NotFound):
        change(ann + 1)

    assert events() == []


def test_a_suspended_user_is_found_by_profile_and_search_with_the_same_counts(world, client_of, ann):
    bea = world.person()
    world.follow(bea, ann)
    world.follow(ann, bea)
    world.post(ann)
    bea_s = client_of(bea)
    before = bea_s.get(f"/user/get/{ann}").json

    accounts.suspend(ann)

    assert bea_s.get(f"/user/get/{ann}").json == before
    assert [user["id"] for user in bea_s.get("/user/search?q=ann").json] == [str(ann), str(bea)]
    assert [follow["id"] for follow in bea_s.get(f"/friend/list/{bea}").json] == [str(ann)]


def test_a_suspended_user_may_be_followed_and_blocked(world, ann):
    bea = world.person()
    accounts.suspend(ann)

    posts.follow(bea, ann)
    posts.block(bea, ann)


def test_the_error_is_one_of_its_kind(ann):
    accounts.suspend(ann)

    with pytest.raises(AccountSuspended):
        service.log_in(ann, OLD)
