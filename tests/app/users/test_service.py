"""Use cases of users: rows and errors."""

import pytest

from app.errors import NotFound, WrongCredentials
from app.users import service
from tests.factories import PROFILE


def register(password="correct horse"):
    return service.register(PROFILE | {"password": password})


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

    service.ensure_exists(user_id)

    with pytest.raises(NotFound):
        service.ensure_exists(user_id + 1)


def test_unknown_names_those_who_are_no_users_in_the_order_given(world):
    user_id = world.person()

    unknown = service.missing([9, user_id, 7, 8])

    assert unknown == [9, 7, 8]
