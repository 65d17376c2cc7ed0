"""Timelines in Redis: lists of post ids. Owns the keys:

    feed:{b}:<user>             list    a home feed: ids, newest first, at most FEED_CAP, then perhaps a mark
    authored:{b}:<author>       list    the same of a pulled author's own posts, to be merged into followers' pages
    <list>:lease                string  `<token>:<time>` of the running rebuild, for `lease_ms`; `<message>/` before it
                                        if a message requested it
    claim:{b}:<user>            hash    the message that will rebuild the feed (see claims.py)

`b` is the id mod 1024. No list means cold: unknown, and never the same as empty (`[0]`). The mark is the last element,
and begins with `0`, unlike any id:

    0          complete: there are no older posts
    0:12,34    complete, except for the authors 12 and 34, who are pulled: their posts are in their own lists
    0+:12,34   these authors are pulled, and older posts of others may exist, too

An id is an int in Python and its decimal digits in Redis, where scripts compare it as (length, text).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from secrets import token_hex

import redis

from app.feed import lua
from app.feed.cache import post_bodies
from app.redis.client import client, group_by_slot, is_cluster
from app.redis.scripts import Call
from app.settings import settings

BUCKETS = 1024
END_MARK = b"0"
FEEDS_PER_CALL = 250  # bounds how long one script blocks Redis
ERASED_PER_CALL = 10  # a whole list is read and written: about 1 ms each

PUSH, REMOVE, REBUILD = "push", "remove", "rebuild"  # operations; the first two are scripts, too
NO_NOTE = "", "", ""  # for writes that need no check (see owed_checks.py)


@dataclass(frozen=True)
class Lease:
    """The right to commit a rebuild. `head` and `last`: ends of the list at its start, empty if cold."""

    token: bytes
    head: bytes
    last: bytes

    @property
    def estimated_oldest_id(self) -> int | None:
        """Estimate the oldest id of the rebuilt list. None if the list is complete or cold.

        One eighth further back than the current one, to allow for deletions and unfollows.
        """
        if not self.last or self.last.startswith(END_MARK):
            return None
        newest, oldest = int(self.head), int(self.last)
        return oldest - (newest - oldest) // 8


@dataclass(frozen=True)
class TimelinePage:
    """A page of a list: ids as in Redis, newest first, and bodies as returned by `post_bodies.unpack`.

    `known` is false if the list cannot answer: it is cold, incomplete at this position, or to be merged with the lists
    of `pulled` authors.
    """

    ids: list[bytes]
    bodies: list[bytes | None]
    known: bool
    cold: bool
    pulled: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Contents:
    """A whole list: ids, newest first, then END_MARK if complete, and the pulled authors of its mark."""

    ids: list[bytes]
    pulled: list[int]


class Timelines:
    """The lists of all users, or of all pulled authors, under one prefix. `lease_ms` limits a rebuild."""

    def __init__(self, prefix: str, lease_ms: int, claim_prefix: str | None = None) -> None:
        self.prefix, self.lease_ms, self._claim_prefix = prefix, lease_ms, claim_prefix

    def key(self, owner_id: int) -> str:
        return f"{self.prefix}:{{{owner_id % BUCKETS}}}:{owner_id}"

    def keys(self, owner_ids: Iterable[int]) -> list[str]:
        """Return the keys of these lists, as `key` does for one, in less time."""
        prefix, mask = self.prefix, BUCKETS - 1  # for a power of two the remainder, and faster
        return [f"{prefix}:{{{owner_id & mask}}}:{owner_id}" for owner_id in owner_ids]

    def lease_key(self, owner_id: int) -> str:
        return self.key(owner_id) + ":lease"

    def claim_key(self, owner_id: int) -> str:
        return f"{self._claim_prefix}:{{{owner_id % BUCKETS}}}:{owner_id}"

    def push(self, owner_ids: Sequence[int], post_id: int) -> int:
        """Insert a post into these lists, in order, once. Cold lists stay cold. Returns the number of changed lists."""
        cap = settings().feed_cap
        batches = self.key_batches(owner_ids)
        return sum(lua.run("push", [(named(keys), [*NO_NOTE, len(keys), post_id, cap]) for keys in batches]))

    def remove(self, owner_ids: Sequence[int], post_ids: Sequence[int]) -> int:
        """Remove posts from these lists. Returns the number of removed elements."""
        if not post_ids:
            return 0
        batches = self.key_batches(owner_ids)
        return sum(lua.run("remove", [(named(keys), [*NO_NOTE, len(keys), *post_ids]) for keys in batches]))

    def erase(self, owner_ids: Sequence[int], author_id: int, post_ids: Sequence[int]) -> int:
        """Remove posts of a gone author from these lists, and the author from their marks.

        Returns the number of changed lists.
        """
        arguments = [author_id, _as_json(list(map(str, post_ids)))]
        batches = self.key_batches(owner_ids, ERASED_PER_CALL)
        return sum(lua.run("erase", [(named(keys), [*arguments, len(keys)]) for keys in batches]))

    def acquire(self, owner_id: int, *, steal: bool = True) -> Lease | None:
        """Start a rebuild. Without `steal`, None if another rebuild is running."""
        return self.acquire_many([owner_id], steal=steal)[0]

    def acquire_many(self, owner_ids: Sequence[int], *, steal: bool = True) -> list[Lease | None]:
        """Call `acquire` for each of these lists in one round trip."""
        mode = "steal" if steal else ""
        calls: list[Call] = [
            ([self.key(owner_id), self.lease_key(owner_id)], [token_hex(8), self.lease_ms, mode])
            for owner_id in owner_ids
        ]
        return [None if found is None else Lease(*found) for found in lua.run("begin", calls)]

    def commit(self, owner_id: int, lease: Lease, ids: Sequence[int | str], pulled: Sequence[int] = ()) -> bool:
        """End a rebuild with the newest `FEED_CAP` ids of SQL and the pulled followees.

        Returns False if the lease was lost: the ids may be stale, read SQL again.
        """
        return self.commit_many([(owner_id, lease, list(map(str, ids)), pulled)])[0]

    def commit_many(self, lists: Sequence[tuple[int, Lease, Sequence[str], Sequence[int]]]) -> list[bool]:
        """Call `commit` for each (owner, lease, ids, pulled authors) in one round trip."""
        cap, ttl = settings().feed_cap, settings().feed_ttl
        calls: list[Call] = []
        for owner_id, lease, ids, pulled in lists:
            arguments = [lease.token, lease.head, cap, ttl, _as_json(ids), ",".join(map(str, pulled))]
            calls.append(([self.key(owner_id), self.lease_key(owner_id)], arguments))
        return [bool(taken) for taken in lua.run("commit", calls)]

    @contextmanager
    def dropping_leases(self, leases: Mapping[int, Lease]) -> Iterator[None]:
        """Drop these leases, by owner, if the block fails: other rebuilds would wait for them in vain."""
        try:
            yield
        except BaseException:
            with suppress(redis.RedisError):
                lua.run("drop_lease", [([self.lease_key(owner)], [lease.token]) for owner, lease in leases.items()])
            raise

    def evict(self, owner_ids: Sequence[int]) -> None:
        """Delete these lists with their claims, and cancel running rebuilds."""
        with client().pipeline(transaction=False) as pipe:
            for owner_id in owner_ids:
                claims = [self.claim_key(owner_id)] if self._claim_prefix else []
                pipe.delete(self.key(owner_id), self.lease_key(owner_id), *claims)
            pipe.execute()

    def bucket(self, key: str) -> int:
        """Return the bucket of a list's key."""
        return int(key.split(":")[1].strip("{}"))

    def key_batches(self, owner_ids: Sequence[int], size: int = FEEDS_PER_CALL) -> Iterator[list[str]]:
        """Yield the keys of these lists, as many as one script takes. On a Cluster they share a slot."""
        for keys in group_by_slot(self.keys(owner_ids)):
            for start in range(0, len(keys), size):
                yield keys[start : start + size]


HOME = Timelines("feed", lease_ms=60_000, claim_prefix="claim")
AUTHOR = Timelines("authored", lease_ms=5_000)  # short: if a builder dies, every follower's read waits for its lease


def named(keys: list[str], *others: str) -> list[str]:
    """Return all keys of a script for these lists: on a Cluster their leases and `others`, too.

    While a slot moves, its keys may lie on two servers. Redis refuses a script then, but only if all are named.
    """
    return [*keys, *(f"{key}:lease" for key in keys), *others] if is_cluster() else keys


def page(user_id: int, offset: int, limit: int, before: int | None = None, after: int | None = None) -> TimelinePage:
    """Read `limit` posts of a home feed, from `offset` or between `after` and `before`. Renews the feed's lifetime.

    One round trip. On a Cluster there are no bodies: they are on other servers.
    """
    cursor, set_ = "" if before is None else before, settings()
    prefix = "" if is_cluster() else post_bodies.PREFIX
    arguments = [offset, limit, cursor, set_.feed_ttl, prefix, set_.feed_page_bytes]
    if after is not None:
        arguments.append(after)
    [(elements, found, last)] = lua.run("page", [([HOME.key(user_id)], arguments)])
    ended = last == END_MARK
    if not ended and last[:1] == END_MARK:
        return TimelinePage([], [], known=False, cold=False, pulled=pulled_authors_from_mark(last))
    ids = elements[:-1] if ended and elements else elements
    return TimelinePage(ids, post_bodies.unpack(found), known=ended or 0 < len(ids) == limit, cold=not last)


def ids_of(user_ids: Sequence[int]) -> list[list[bytes]]:
    """Return the ids of these home feeds, then END_MARK if complete. A cold one is []."""
    return [contents.ids for contents in load_many(HOME.keys(user_ids))]


def load_many(keys: Iterable[str]) -> list[Contents]:
    """Load whole lists; a cold one is empty."""
    with client().pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.lrange(key, 0, -1)
        return [_contents(elements) for elements in pipe.execute()]


def _contents(elements: list[bytes]) -> Contents:
    mark = elements.pop() if elements and elements[-1].startswith(END_MARK) else b""
    return Contents(elements + [END_MARK] * is_complete(mark), pulled_authors_from_mark(mark))


def is_complete(last: bytes) -> bool:
    """Return whether a list with this last element is complete."""
    return last == END_MARK or last.startswith(END_MARK + b":")


def pulled_authors_from_mark(last: bytes) -> list[int]:
    """Return the pulled authors named by the last element of a list."""
    return [int(author_id) for author_id in last.partition(b":")[2].split(b",") if author_id]


def _as_json(ids: Sequence[str]) -> str:
    return '["' + '","'.join(ids) + '"]' if ids else "[]"
