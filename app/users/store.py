"""Queries on the users database: one function, one query."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Row, text

from app.db.engine import USERS, execute
from app.users.folding import fold
from app.users.indexes import FULL_NAME, REVERSED_NAME

_PUBLIC = "id, username, first_name, second_name, birthdate, biography, city"
_CHANGEABLE = ("username", "first_name", "second_name", "birthdate", "biography", "city")


# Search in one box compares these; each has an index in this order. A scan begins at its only lower bound.
_KEYS = {"username": "username", FULL_NAME: f"{FULL_NAME}, id", REVERSED_NAME: f"{REVERSED_NAME}, id"}
_FOUND_BY = """
    (SELECT {key} AS key, id FROM users WHERE ({key}, id) > (:after_key, :after_id) AND {key} < :end
    ORDER BY {order} LIMIT :limit)
"""
_LAST_CHARACTER = "\U0010ffff"


class Place(NamedTuple):
    """A place in the results of a search in one box: a username or folded names, and that user."""

    key: str
    user_id: int


START = Place("", 0)  # before all users


def insert_user(profile: Mapping[str, Any], password_hash: str) -> int:
    insert = text("""
        INSERT INTO users (username, first_name, second_name, birthdate, biography, city, password_hash,
            first_name_folded, second_name_folded)
        VALUES (:username, :first_name, :second_name, :birthdate, :biography, :city, :password_hash, :first_folded,
            :second_folded)
        RETURNING id
    """)
    more = {
        "password_hash": password_hash,
        "first_folded": fold(profile["first_name"]),
        "second_folded": fold(profile["second_name"]),
    }
    return int(execute(USERS, insert, {"username": None, **profile, **more}).scalar_one())


def update_user(user_id: int, changes: Mapping[str, Any]) -> bool:
    """Change the given fields. Returns whether there is such a user."""
    update = text("""
        UPDATE users SET username = coalesce(:username, username), first_name = coalesce(:first_name, first_name),
            first_name_folded = coalesce(:first_folded, first_name_folded),
            second_name = coalesce(:second_name, second_name),
            second_name_folded = coalesce(:second_folded, second_name_folded),
            birthdate = coalesce(:birthdate, birthdate), biography = coalesce(:biography, biography),
            city = coalesce(:city, city)
        WHERE id = :id
    """)
    given = dict.fromkeys(_CHANGEABLE) | dict(changes)
    folded = {
        "first_folded": fold(changes["first_name"]) if "first_name" in changes else None,
        "second_folded": fold(changes["second_name"]) if "second_name" in changes else None,
    }
    return execute(USERS, update, {"id": user_id, **given, **folded}).rowcount > 0


def select_user(user_id: int) -> Row[Any] | None:
    query = text(f"SELECT {_PUBLIC}, created_at FROM users WHERE id = :id")
    return execute(USERS, query, {"id": user_id}).one_or_none()


def select_users(user_ids: Iterable[int]) -> list[Row[Any]]:
    """Fetch the users among these ids, unordered."""
    query = text(f"SELECT {_PUBLIC} FROM users WHERE id = ANY(:ids)")
    return list(execute(USERS, query, {"ids": list(user_ids)}))


def select_id(username: str) -> int | None:
    query = text("SELECT id FROM users WHERE username = :username")
    return execute(USERS, query, {"username": username}).scalar_one_or_none()


def select_credentials(user_id: int) -> Row[Any] | None:
    """Return a user's `password_hash`, the `generation` of tokens to issue for it, and `suspended_at`."""
    query = text("""
        SELECT password_hash, coalesce(generation, 0) AS generation, suspended_at
        FROM users LEFT JOIN token_generations ON user_id = id WHERE id = :id
    """)
    return execute(USERS, query, {"id": user_id}).one_or_none()


def update_password_hash(user_id: int, known: str, password_hash: str) -> bool:
    """Replace the hash if it is still the `known` one. Returns whether it was, and the user is not suspended."""
    update = text("""
        UPDATE users SET password_hash = :new WHERE id = :id AND password_hash = :known AND suspended_at IS NULL
    """)
    return execute(USERS, update, {"id": user_id, "known": known, "new": password_hash}).rowcount > 0


def set_password_hash(user_id: int, password_hash: str) -> bool:
    """Replace the hash. Returns whether there is such a user."""
    update = text("UPDATE users SET password_hash = :new WHERE id = :id")
    return execute(USERS, update, {"id": user_id, "new": password_hash}).rowcount > 0


def set_suspended(user_id: int, suspended: bool) -> Row[Any] | None:
    """Suspend a user, or restore one. Returns `suspended_at` and whether it `was` set. None: no such user."""
    update = text("""
        UPDATE users SET suspended_at = CASE WHEN :suspended THEN coalesce(users.suspended_at, now()) END
        FROM (SELECT id, suspended_at FROM users WHERE id = :id FOR UPDATE) AS before WHERE users.id = before.id
        RETURNING users.suspended_at, before.suspended_at IS NOT NULL AS was
    """)
    return execute(USERS, update, {"id": user_id, "suspended": suspended}).one_or_none()


def select_suspension(user_id: int) -> Row[Any] | None:
    """Return `suspended_at`, which is None for a user who is not suspended. None: no such user."""
    return execute(USERS, text("SELECT suspended_at FROM users WHERE id = :id"), {"id": user_id}).one_or_none()


def select_suspended() -> set[int]:
    """Return all suspended users."""
    return set(execute(USERS, text("SELECT id FROM users WHERE suspended_at IS NOT NULL")).scalars())


def delete_user(user_id: int, known: str | None = None) -> bool:
    """Delete a user, if the hash is still the `known` one. Returns whether there was one."""
    delete = text("DELETE FROM users WHERE id = :id AND password_hash = coalesce(:known, password_hash)")
    return execute(USERS, delete, {"id": user_id, "known": known}).rowcount > 0


def select_existing(user_ids: Iterable[int]) -> set[int]:
    """Return those of `user_ids` that are users."""
    rows = execute(USERS, text("SELECT id FROM users WHERE id = ANY(:ids)"), {"ids": list(user_ids)})
    return set(rows.scalars())


def select_names(user_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """Return (first name, second name) by id of those of `user_ids` that are users."""
    rows = execute(
        USERS, text("SELECT id, first_name, second_name FROM users WHERE id = ANY(:ids)"), {"ids": list(user_ids)}
    )
    return {row.id: (row.first_name, row.second_name) for row in rows}


def search_users(first_name: str, second_name: str, limit: int) -> list[Row[Any]]:
    """Find users by case-insensitive prefixes of their names, ordered by id."""
    query = text(f"""
        SELECT {_PUBLIC} FROM users
        WHERE coalesce(first_name_folded, lower(first_name)) LIKE :first_name
            AND coalesce(second_name_folded, lower(second_name)) LIKE :second_name
        ORDER BY id LIMIT :limit
    """)
    prefixes = {"first_name": _prefix(fold(first_name)), "second_name": _prefix(fold(second_name))}
    return list(execute(USERS, query, prefixes | {"limit": limit}))


def search_box(beginning: str, limit: int, after: Place) -> list[Row[Any]]:
    """Find users by the beginning of a username, or of both names in either order.

    Ordered by the text that begins so, and the id. A user with several such texts is found by each; `is_first` marks
    the first. Reads at most `limit` entries of each index, however many users match.
    """
    found_by = "UNION".join(_FOUND_BY.format(key=key, order=order) for key, order in _KEYS.items())
    query = text(f"""
        WITH found AS ({found_by} ORDER BY key, id LIMIT :limit)
        SELECT found.key, {_PUBLIC}, found.key = (
            SELECT min(key) FROM unnest(ARRAY[{", ".join(_KEYS)}]) AS key WHERE key >= :start AND key < :end
        ) AS is_first
        FROM found JOIN users USING (id) ORDER BY found.key, id
    """)
    start = fold(beginning)
    after = max(after, Place(start, 0))  # in Python's order of texts, which is that of "C"
    bounds = {"start": start, "end": start + _LAST_CHARACTER, "after_key": after.key, "after_id": after.user_id}
    return list(execute(USERS, query, bounds | {"limit": limit}))


def _prefix(text_: str) -> str:
    return text_.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
