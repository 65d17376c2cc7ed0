"""Post bodies in Redis: the JSON as clients get it, so that a page is put together without parsing.

The one owner of the key:

    post:<id>   string   version in ten digits, then the JSON; version 9999999999 and no JSON: the post is gone
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from app.feed import scripts, truth
from app.posts.schemas import dump
from app.redis import client
from app.settings import settings

PREFIX = "post:"
VERSION_DIGITS = 10
GONE = b"9" * VERSION_DIGITS


def unpack(found: Sequence[bytes]) -> list[bytes | None]:
    """The JSON of each post from what its key holds: b"" if the post is gone, None if nothing is cached."""
    return [body[VERSION_DIGITS:] if body else None for body in found]


def cached(post_ids: Sequence[int | bytes]) -> list[bytes | None]:
    """The JSON of each post, as `unpack` has it, from Redis."""
    if not post_ids:
        return []
    return unpack(cast(list[bytes], client().mget([_key(int(post_id)) for post_id in post_ids])))


def put(bodies: Iterable[tuple[int, bytes]]) -> None:
    """Cache (post id, versioned body); a newer version that is there stays."""
    ttl = settings().post_ttl
    scripts.run("put_body", [([_key(post_id)], [body, ttl]) for post_id, body in bodies])


def refresh(post_ids: Sequence[int]) -> dict[int, bytes]:
    """Read posts from SQL and cache their bodies; one that is gone is cached as gone.

    Put first, read again after: an edit before the second reading is seen by it, and one after it has a message of
    its own that comes after this put. So an old version can neither replace a newer one nor outlive it.
    Returns the JSON of each id, b"" if the post is gone.
    """
    bodies: dict[int, bytes] = {}
    read = read_versioned(post_ids)
    while read != bodies:
        bodies = read
        put(bodies.items())
        read = read_versioned(post_ids)
    return {post_id: body[VERSION_DIGITS:] for post_id, body in bodies.items()}


def cached_version(post_id: int) -> int | None:
    """The version of a cached body (GONE for one that is gone); None if it is not cached."""
    digits = cast(bytes, client().getrange(_key(post_id), 0, VERSION_DIGITS - 1))
    return int(digits) if digits else None


def drop(post_id: int) -> None:
    """Forget a body: the next read fills it from SQL."""
    client().delete(_key(post_id))


def read_versioned(post_ids: Sequence[int]) -> dict[int, bytes]:
    """The body of each post as it is to be cached, from SQL."""
    if not post_ids:
        return {}
    bodies = dict.fromkeys(post_ids, GONE)
    bodies |= {post.id: versioned(post.version, to_json(post)) for post in truth.posts(post_ids)}
    return bodies


def versioned(version: int, body: bytes) -> bytes:
    return b"%0*d%b" % (VERSION_DIGITS, version, body)


def to_json(post: Any) -> bytes:
    """A row of `posts`, as clients get it."""
    return json.dumps(dump(post), ensure_ascii=False, separators=(",", ":")).encode()


def _key(post_id: int) -> str:
    return f"{PREFIX}{post_id}"
