"""Queries on the users database: one function, one query."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Row, text

from app.db import USERS, run

_PUBLIC = "id, first_name, second_name, birthdate, biography, city"


def insert_user(profile: Mapping[str, Any], password_hash: str) -> int:
    insert = text("""
        INSERT INTO users (first_name, second_name, birthdate, biography, city, password_hash)
        VALUES (:first_name, :second_name, :birthdate, :biography, :city, :password_hash)
        RETURNING id
    """)
    return int(run(USERS, insert, {**profile, "password_hash": password_hash}).scalar_one())


def select_user(user_id: int) -> Row[Any] | None:
    return run(USERS, text(f"SELECT {_PUBLIC} FROM users WHERE id = :id"), {"id": user_id}).one_or_none()


def select_password_hash(user_id: int) -> str | None:
    return run(USERS, text("SELECT password_hash FROM users WHERE id = :id"), {"id": user_id}).scalar_one_or_none()


def select_existing(user_ids: Iterable[int]) -> set[int]:
    """Those of `user_ids` that are users."""
    rows = run(USERS, text("SELECT id FROM users WHERE id = ANY(:ids)"), {"ids": list(user_ids)})
    return set(rows.scalars())


def select_names(user_ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """(first name, second name) of those of `user_ids` that are users."""
    rows = run(
        USERS, text("SELECT id, first_name, second_name FROM users WHERE id = ANY(:ids)"), {"ids": list(user_ids)}
    )
    return {row.id: (row.first_name, row.second_name) for row in rows}


def search_users(first_name: str, second_name: str, limit: int) -> list[Row[Any]]:
    """Users whose names begin so, whatever the case, by id."""
    query = text(f"""
        SELECT {_PUBLIC} FROM users
        WHERE lower(first_name) LIKE lower(:first_name) AND lower(second_name) LIKE lower(:second_name)
        ORDER BY id LIMIT :limit
    """)
    prefixes = {"first_name": _prefix(first_name), "second_name": _prefix(second_name)}
    return list(run(USERS, query, prefixes | {"limit": limit}))


def _prefix(text_: str) -> str:
    return text_.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
