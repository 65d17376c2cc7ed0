"""Authors beside their posts, for those who ask: one round trip for all of a page, and at most one query.

The one owner of the key:

    author:<id>   string   JSON as it is sent, "null" for an author who is no user, for POST_TTL. No call changes a name
"""

import json
import logging
from collections.abc import Iterable, Sequence
from typing import cast

import redis

from app.db import commit
from app.redis import REDIS_AWAY, breaker, client
from app.settings import settings
from app.users import service as users

NOBODY = b"null"

log = logging.getLogger(__name__)


def beside(posts: Sequence[bytes]) -> list[bytes]:
    """These posts, JSON, each with its `author`."""
    author_ids = [int(json.loads(post)["author_user_id"]) for post in posts]
    authors = _authors(set(author_ids))
    return [b'%b,"author":%b}' % (post[:-1], authors[i]) for post, i in zip(posts, author_ids, strict=True)]


def _authors(user_ids: Iterable[int]) -> dict[int, bytes]:
    wanted = list(user_ids)
    found = _cached(wanted)
    missing = [user_id for user_id in wanted if user_id not in found]
    if not missing:
        return found
    names = users.names(missing)
    commit()
    made = {user_id: _to_json(user_id, names.get(user_id)) for user_id in missing}
    _cache(made)
    return found | made


def _cached(user_ids: list[int]) -> dict[int, bytes]:
    """Those that Redis knows; none where it is away."""
    if not user_ids or breaker().is_open:
        return {}
    try:
        authors = cast(list[bytes | None], client().mget([_key(user_id) for user_id in user_ids]))
    except redis.RedisError as error:
        _missed(error)
        return {}
    return {user_id: author for user_id, author in zip(user_ids, authors, strict=True) if author is not None}


def _cache(authors: dict[int, bytes]) -> None:
    if breaker().is_open:
        return
    try:
        with client().pipeline(transaction=False) as pipe:
            for user_id, author in authors.items():
                pipe.set(_key(user_id), author, ex=settings().post_ttl)
            pipe.execute()
    except redis.RedisError as error:
        _missed(error)


def _missed(error: redis.RedisError) -> None:
    if isinstance(error, REDIS_AWAY):
        breaker().trip()
    log.warning("Redis cannot serve, authors are read from SQL: %s", error)


def _to_json(user_id: int, names: tuple[str, str] | None) -> bytes:
    if names is None:
        return NOBODY
    author = {"id": str(user_id), "first_name": names[0], "second_name": names[1]}
    return json.dumps(author, ensure_ascii=False, separators=(",", ":")).encode()


def _key(user_id: int) -> str:
    return f"author:{user_id}"
