"""Use cases of users: what the database keeps, and what is raised."""

from dataclasses import replace

import pytest
from argon2 import Type, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import text

from app.db import USERS, db
from app.errors import NotFound, WrongCredentials
from app.users import service
from tests.world import PROFILE


def register(password="correct horse"):
    return service.register(PROFILE | {"password": password})


def kept_hash(user_id):
    """What another connection sees: the registration is committed."""
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
    nobody = extract_parameters(service._NOBODY)

    assert replace(nobody, salt_len=RFC_9106_LOW_MEMORY.salt_len) == RFC_9106_LOW_MEMORY


def test_an_unknown_user_is_refused(app):
    with pytest.raises(WrongCredentials):
        service.log_in(1, "correct horse")


def test_the_wrong_password_is_refused(app):
    user_id = register()

    with pytest.raises(WrongCredentials):
        service.log_in(user_id, "wrong horse")


def test_get_raises_not_found_for_an_unknown_user(app):
    with pytest.raises(NotFound):
        service.get(1)


def test_require_is_silent_about_a_user_and_raises_not_found_for_others(world):
    user_id = world.person()

    service.require(user_id)

    with pytest.raises(NotFound):
        service.require(user_id + 1)


def test_unknown_names_those_who_are_no_users_in_the_order_given(world):
    user_id = world.person()

    unknown = service.unknown([9, user_id, 7, 8])

    assert unknown == [9, 7, 8]
