"""Passwords: how they are hashed, and that a password is the same in every Unicode normal form."""

import os
import subprocess
import sys
from dataclasses import replace
from unicodedata import normalize

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import text

from app.db.engine import USERS, commit, db
from app.errors import WrongCredentials
from app.users import passwords, service, store
from app.users.passwords import hash_password, verify_password
from tests.factories import PROFILE
from tests.tools.processes import ROOT

pytestmark = pytest.mark.usefixtures("app")

CAFE = "café Ångström"  # NFC
FORMS = [normalize(form, CAFE) for form in ("NFC", "NFD", "NFKC", "NFKD")]


def register(password="correct horse"):
    return service.register(PROFILE | {"password": password})


def user_with(password_hash):
    user_id = store.insert_user(PROFILE, password_hash)
    commit()
    return user_id


def kept_hash(user_id):
    """Read on another connection, which shows that the write is committed."""
    with db.engines[USERS].connect() as connection:
        query = text("SELECT password_hash FROM users WHERE id = :id")
        return connection.execute(query, {"id": user_id}).scalar_one()


def test_a_password_is_hashed_with_argon2id_and_the_parameters_of_rfc_9106(app):
    user_id = register()

    parameters = extract_parameters(kept_hash(user_id))
    assert parameters == RFC_9106_LOW_MEMORY
    assert parameters.type is Type.ID


def test_equal_passwords_have_different_hashes(app):
    first, second = register(), register()

    assert kept_hash(first) != kept_hash(second)


def test_checking_an_unknown_user_is_as_much_work_as_checking_a_known_one():
    dummy = extract_parameters(passwords._DUMMY_HASH)

    assert replace(dummy, salt_len=RFC_9106_LOW_MEMORY.salt_len) == RFC_9106_LOW_MEMORY


@pytest.mark.parametrize("typed", FORMS)
@pytest.mark.parametrize("set_", FORMS)
def test_a_password_is_the_same_in_every_normal_form(set_, typed):
    assert verify_password(hash_password(set_), typed) == (True, False)


def test_compatibility_forms_of_a_password_are_the_same():
    assert verify_password(hash_password("\uff30assword \ufb01\u00b2"), "Password fi2").is_right


@pytest.mark.parametrize(
    "known", [None, PasswordHasher().hash("another"), "no hash", ""], ids=["none", "another", "no hash", "empty"]
)
def test_a_password_that_is_not_right_is_never_taken(known):
    assert verify_password(known, "correct horse") == (False, False)


def test_a_hash_of_the_form_that_was_typed_still_verifies_and_is_renewed(app):
    typed = normalize("NFD", CAFE)
    old = PasswordHasher().hash(typed)
    user_id = user_with(old)

    service.log_in(user_id, typed)

    assert kept_hash(user_id) != old
    assert verify_password(kept_hash(user_id), CAFE) == (True, False)


def test_a_hash_of_other_parameters_is_renewed_at_the_next_login(app):
    user_id = user_with(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse"))

    service.log_in(user_id, "correct horse")

    assert extract_parameters(kept_hash(user_id)) == RFC_9106_LOW_MEMORY


def test_a_hash_is_kept_as_it_is_where_nothing_is_to_be_renewed(app):
    user_id = register()
    before = kept_hash(user_id)

    service.log_in(user_id, "correct horse")
    with pytest.raises(WrongCredentials):
        service.log_in(user_id, "wrong horse")

    assert kept_hash(user_id) == before


def test_a_hash_that_was_changed_meanwhile_is_not_overwritten(app):
    user_id = user_with("the newer")

    store.update_password_hash(user_id, "the older", "renewed")
    commit()

    assert kept_hash(user_id) == "the newer"


def test_hashing_is_nicer_than_its_process_which_may_be_nice_itself():
    """Lowering the niceness raises PermissionError without a privilege that containers lack."""
    code = "import os; from app.users import passwords; print(passwords._in_background(lambda: os.nice(0)))"

    done = subprocess.run(["nice", "-n", "7", sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout == f"{min(19, os.nice(0) + 7 + 5)}\n", done.stderr
