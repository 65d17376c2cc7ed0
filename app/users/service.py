"""Use cases of users: register, log in, look up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg2.errors import UniqueViolation
from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from app.auth import tokens
from app.db.engine import commit, db
from app.errors import AccountSuspended, NotFound, UsernameTaken, WrongCredentials
from app.users import cached_names, store
from app.users.passwords import hash_password, verify_password
from app.users.store import START, Place

SEARCH_LIMIT = 100
UNKNOWN = 0  # an id that no user has


def register(profile: dict[str, Any]) -> int:
    """Register a user. `profile` is a validated registration with the password. Returns the id.

    Raises UsernameTaken.
    """
    password_hash = hash_password(profile["password"])
    with _unique_username():
        user_id = store.insert_user(profile, password_hash)
    commit()
    return user_id


@contextmanager
def _unique_username() -> Iterator[None]:
    """Raise UsernameTaken if the unique index refuses it, also if two are written at once."""
    try:
        yield
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            db.session.rollback()
            raise UsernameTaken from error
        raise


def find(username: str) -> int:
    """Return the id of the user with this username, UNKNOWN if there is none."""
    user_id = store.select_id(username)
    commit()
    return user_id or UNKNOWN


def log_in(user_id: int, password: str) -> str:
    """Log in and return a token.

    Raises WrongCredentials for an unknown user or a wrong password, and only then AccountSuspended.

    The token is of the generation that was read with the hash: if the password changes after that, or the account is
    suspended, it is refused.
    """
    known = check_password(user_id, password)
    if known.suspended_at:
        raise AccountSuspended
    return tokens.issue_token(user_id, known.generation)


def check_password(user_id: int, password: str) -> Row[Any]:
    """Return the credentials that a password was checked against. Raises WrongCredentials."""
    known = store.select_credentials(user_id)
    commit()  # hashing is slow and needs no connection
    verdict = verify_password(known and known.password_hash, password)
    if not known or not verdict.is_right:
        raise WrongCredentials
    if verdict.is_outdated:
        store.update_password_hash(user_id, known.password_hash, hash_password(password))
        commit()
    return known


def get(user_id: int) -> Row[Any]:
    """Return a user. Raises NotFound."""
    user = store.select_user(user_id)
    if user is None:
        raise NotFound("There is no such user.")
    return user


def get_many(user_ids: Sequence[int]) -> list[Row[Any]]:
    """Fetch the users among these ids, in the order given. Unknown ids are left out."""
    known = {user.id: user for user in store.select_users(user_ids)}
    return [known[user_id] for user_id in user_ids if user_id in known]


def update(user_id: int, changes: Mapping[str, Any]) -> None:
    """Change the given fields of a profile. Raises NotFound, UsernameTaken."""
    with _unique_username():
        is_known = store.update_user(user_id, changes)
    if not is_known:
        raise NotFound("There is no such user.")
    commit()
    if not changes.keys().isdisjoint(("first_name", "second_name")):
        cached_names.refresh(user_id)


def ensure_exists(user_id: int) -> None:
    """Raise NotFound if there is no such user."""
    if not store.select_existing([user_id]):
        raise NotFound("There is no such user.")


def missing(user_ids: Iterable[int]) -> list[int]:
    """Return those of `user_ids` that are not users, in order."""
    wanted = list(user_ids)
    known = store.select_existing(wanted)
    return [user_id for user_id in wanted if user_id not in known]


def names(user_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """Return first and second names by user id. Unknown users are left out."""
    return store.select_names(user_ids)


def search_box(text: str, limit: int, after: Place | None = None) -> tuple[list[Row[Any]], Place | None]:
    """Return a page of users by the beginning of a username or of both names.

    Also returns the end of the page if there may be more. A page shows each user once, at their first place, so it may
    have fewer than `limit`.
    """
    found = store.search_box(" ".join(text.split()), limit + 1, after or START)
    shown = found[:limit]
    end = Place(shown[-1].key, shown[-1].id) if len(found) > limit else None
    return [user for user in shown if user.is_first], end


def search(first_name: str, second_name: str) -> list[Row[Any]]:
    """Return at most SEARCH_LIMIT users by prefixes of their names."""
    return store.search_users(first_name, second_name, SEARCH_LIMIT)
