"""Use cases of users: register, log in, look up."""

from collections.abc import Iterable
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Row

from app import auth
from app.db import commit
from app.errors import NotFound, WrongCredentials
from app.users import store

SEARCH_LIMIT = 100

hasher = PasswordHasher()  # argon2id, the parameters of RFC 9106 for machines with little memory

# Checked where the user is unknown, so that the answer takes as long as for a known one.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$bm9ib2R5bm9ib2R5$RQCHgmpOm+GdrCpxYxLmVzBRmFzVX3kmKbwqTOk5XLY"


def register(profile: dict[str, Any]) -> int:
    """Add a user; `profile` is a checked registration, with the password. Returns the id."""
    user_id = store.insert_user(profile, hasher.hash(profile["password"]))
    commit()
    return user_id


def log_in(user_id: int, password: str) -> str:
    """A token. Raises WrongCredentials, the same for an unknown user and a wrong password."""
    known = store.select_password_hash(user_id)
    commit()  # hashing takes long, and needs no connection
    try:
        hasher.verify(known or _NOBODY, password)
    except VerificationError as error:
        raise WrongCredentials from error
    if known is None:
        raise WrongCredentials
    return auth.issue_token(user_id)


def get(user_id: int) -> Row[Any]:
    """Raises NotFound."""
    user = store.select_user(user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def require(user_id: int) -> None:
    """Raises NotFound where there is no such user."""
    if not store.select_existing([user_id]):
        raise NotFound("There is no such user.")


def unknown(user_ids: Iterable[int]) -> list[int]:
    """Those of `user_ids` that are no users, in their order."""
    wanted = list(user_ids)
    known = store.select_existing(wanted)
    return [user_id for user_id in wanted if user_id not in known]


def names(user_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """First and second name of those that are users."""
    return store.select_names(user_ids)


def search(first_name: str, second_name: str) -> list[Row[Any]]:
    """At most SEARCH_LIMIT users whose names begin so."""
    return store.search_users(first_name, second_name, SEARCH_LIMIT)
