"""Names of users as JSON, cached in Redis, for `expand=author`.

A page takes one round trip and at most one query. Owns the key:

    author:<id>   string   JSON as sent to clients, "null" for an unknown user, for TTL_SECONDS

A reader caches names only where none are. So names that were read before a change cannot replace those that `refresh`
wrote after it. If Redis is unavailable at that moment, or the process dies, the former names stay until they expire.
"""

import json
from collections.abc import Iterable
from functools import partial
from typing import cast

from app.db.engine import commit
from app.redis.circuit_breaker import attempt
from app.redis.client import client
from app.users import store

TTL_SECONDS = 3600
UNKNOWN_USER = b"null"


def names_as_json(user_ids: Iterable[int]) -> dict[int, bytes]:
    """Return the JSON of each of these users."""
    wanted = list(user_ids)
    found: dict[int, bytes] = {}
    if wanted:
        found = attempt(partial(_load, wanted), found, "authors are read from SQL")
    missing = [user_id for user_id in wanted if user_id not in found]
    if not missing:
        return found
    made = _read(missing)
    attempt(partial(_store, made, only_new=True), None, "authors are not cached")
    return found | made


def refresh(user_id: int) -> None:
    """Replace cached names by those in SQL, after a change was committed.

    Reads again after writing, so that of two changes at once the last to commit stays.
    """
    attempt(partial(_converge, user_id), None, "the former names are shown until they expire")


def drop(user_id: int) -> None:
    """Delete the cached names of a user."""
    client().delete(_key(user_id))


def _converge(user_id: int) -> None:
    cached: dict[int, bytes] = {}
    while (names := _read([user_id])) != cached:
        cached = names
        _store(cached, only_new=False)


def _read(user_ids: list[int]) -> dict[int, bytes]:
    names = store.select_names(user_ids)
    commit()
    return {user_id: _to_json(user_id, names.get(user_id)) for user_id in user_ids}


def _load(user_ids: list[int]) -> dict[int, bytes]:
    authors = cast(list[bytes | None], client().mget([_key(user_id) for user_id in user_ids]))
    return {user_id: author for user_id, author in zip(user_ids, authors, strict=True) if author is not None}


def _store(authors: dict[int, bytes], only_new: bool) -> None:
    with client().pipeline(transaction=False) as pipe:
        for user_id, author in authors.items():
            pipe.set(_key(user_id), author, ex=TTL_SECONDS, nx=only_new)
        pipe.execute()


def _to_json(user_id: int, names: tuple[str, str] | None) -> bytes:
    if names is None:
        return UNKNOWN_USER
    author = {"id": str(user_id), "first_name": names[0], "second_name": names[1]}
    return json.dumps(author, ensure_ascii=False, separators=(",", ":")).encode()


def _key(user_id: int) -> str:
    return f"author:{user_id}"
