"""Post bodies in Redis, as JSON ready for clients.

Owns the key:

    post:<id>   string   version in ten digits, then the JSON; version 9999999999 without JSON: the post is deleted
                list     the lease: the token of a fill under way, for LEASE_MS. MGET skips lists, so it reads as a miss

A body is written in three steps: acquire the lease, read SQL, put ("Scaling Memcache at Facebook", NSDI 2013). The
handler of an edit or a deletion acquires its lease after the commit. So a put of an older body finds another token, or
none, and does nothing.
"""

import json
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any, cast

from app.db import replica
from app.feed import lua, store
from app.posts.schemas import dump
from app.redis.client import client, group_by_slot
from app.redis.scripts import Call
from app.settings import settings

PREFIX = "post:"
VERSION_DIGITS = 10
GONE = b"9" * VERSION_DIGITS
LEASE_MS = 5_000
GONE_SECONDS = 60  # longer than any list still holds a deleted post, unless deliveries lag; then SQL says it again


def unpack(found: Sequence[bytes]) -> list[bytes | None]:
    """Return the JSON of each cached value: b"" if the post is deleted, None if nothing is cached."""
    return [body[VERSION_DIGITS:] if body else None for body in found]


def cached(post_ids: Sequence[int | bytes]) -> list[bytes | None]:
    """Fetch the JSON of each post from Redis, as returned by `unpack`."""
    if not post_ids:
        return []
    return unpack(cast(list[bytes], client().mget([_key(int(post_id)) for post_id in post_ids])))


def doubtful(post_ids: Sequence[int | bytes]) -> list[int]:
    """Return those of these posts that may be deleted: they are not cached, or as deleted."""
    if not post_ids:
        return []
    by_key = {_key(int(post_id)): int(post_id) for post_id in post_ids}
    calls: list[Call] = [(keys, []) for keys in group_by_slot(by_key)]
    places = lua.run("doubtful", calls)
    return [by_key[keys[place - 1]] for (keys, _), found in zip(calls, places, strict=True) for place in found]


def cached_versioned(post_ids: Sequence[int]) -> dict[int, bytes]:
    """Fetch the versioned bodies that are cached."""
    found = cast(list[bytes | None], client().mget([_key(post_id) for post_id in post_ids]))
    return {post_id: body for post_id, body in zip(post_ids, found, strict=True) if body}


def acquire(post_ids: Sequence[int], *, steal: bool) -> dict[int, bytes]:
    """Begin to fill these bodies. Returns the leases, by post id.

    With `steal` it replaces a cached body and the lease of another fill.
    """
    token, mode = token_hex(8), "steal" if steal else ""
    leases = lua.run("begin_body", [([_key(post_id)], [token, LEASE_MS, mode]) for post_id in post_ids])
    return {post_id: lease for post_id, lease in zip(post_ids, leases, strict=True) if lease}


def put(bodies: Mapping[int, bytes], leases: Mapping[int, bytes]) -> None:
    """Cache the versioned bodies of the posts whose lease is still there."""
    ttl = settings().post_ttl
    calls: list[Call] = []
    for post_id, lease in leases.items():
        body = bodies[post_id]
        calls.append(([_key(post_id)], [lease, body, GONE_SECONDS if body == GONE else ttl]))
    lua.run("put_body", calls)


def refresh(post_ids: Sequence[int]) -> dict[int, bytes]:
    """Replace cached bodies by the present state in SQL. A deleted post is cached as deleted.

    Returns the JSON of each id, b"" if the post is deleted.
    """
    return _load(post_ids, steal=True)


def fill(post_ids: Sequence[int]) -> dict[int, bytes]:
    """Load bodies that are not cached, like `refresh`. Caches none that another fill is caching."""
    return _load(post_ids, steal=False)


def cached_version(post_id: int) -> int | None:
    """Return the version of a cached body (GONE if deleted). None if it is not cached."""
    [body] = cast(list[bytes | None], client().mget([_key(post_id)]))
    return int(body[:VERSION_DIGITS]) if body else None


def drop(post_id: int) -> None:
    """Evict a body. The next read loads it from SQL."""
    client().delete(_key(post_id))


def drop_many(post_ids: Sequence[int]) -> None:
    """Evict these bodies, and cancel their fills."""
    with client().pipeline(transaction=False) as pipe:
        for post_id in post_ids:
            pipe.delete(_key(post_id))
        pipe.execute()


def read_versioned(post_ids: Sequence[int]) -> dict[int, bytes]:
    """Read the versioned body of each post from SQL."""
    if not post_ids:
        return {}
    bodies = dict.fromkeys(post_ids, GONE)
    bodies |= {
        post.id: versioned(post.version, to_json(post)) for post in replica.read_primary(store.select_posts, post_ids)
    }
    return bodies


def versioned(version: int, body: bytes) -> bytes:
    return b"%0*d%b" % (VERSION_DIGITS, version, body)


def to_json(post: Any) -> bytes:
    """Serialize a row of `posts` for clients."""
    return json.dumps(dump(post), ensure_ascii=False, separators=(",", ":")).encode()


def _load(post_ids: Sequence[int], *, steal: bool) -> dict[int, bytes]:
    leases = acquire(post_ids, steal=steal)
    bodies = read_versioned(post_ids)
    if leases:
        put(bodies, leases)
    return {post_id: body[VERSION_DIGITS:] for post_id, body in bodies.items()}


def _key(post_id: int) -> str:
    return f"{PREFIX}{post_id}"
