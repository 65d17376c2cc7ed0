"""Feeds in Redis. The one owner of their keys:

    feed:{b}:<user>         list    ids, newest first, at most FEED_CAP, then perhaps a mark
    feed:{b}:<user>:lease   string  token of the rebuild under way, for LEASE_MS

`b` is user mod 1024. No list means cold: unknown, and never the same as empty (`[0]`). The mark is the last element,
and begins with `0` as no id does:

    0          nothing is older
    0:12,34    the same; and the user follows the authors 12 and 34, who are pulled (see pulling.py): what they wrote
               since is in lists of their own
    0+:12,34   they are pulled; of the others, too, older posts may exist

An id is an int in Python and its decimal digits in Redis, where scripts compare it as (length, text).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from secrets import token_hex

from app.feed import bodies, scripts
from app.redis import client, is_cluster, together
from app.settings import settings

BUCKETS = 1024
LEASE_MS = 60_000
END = b"0"
FEEDS_A_CALL = 250  # a script holds Redis up while it runs: 2 to 4 µs for each feed pushed to, for a late post 25
SCAN_COUNT = 10_000
BATCH = 1000

PUSH, REMOVE = "push", "remove"


@dataclass(frozen=True)
class Lease:
    """The right to commit a rebuild, and the feed's first and last element when it began (empty: cold)."""

    token: str
    head: bytes
    last: bytes

    @property
    def floor(self) -> int | None:
        """A guess down to where the next list will reach, for one without the mark, which is full or nearly so: an
        eighth further than this one, so that it holds where an author is unfollowed or posts are deleted.
        """
        if not self.last or self.last.startswith(END):
            return None
        newest, oldest = int(self.head), int(self.last)
        return oldest - (newest - oldest) // 8


@dataclass(frozen=True)
class Slice:
    """Part of a feed's list: ids as Redis has them, newest first, and the posts' JSON as `bodies.unpack` has it.

    `known` is false where the list does not say all that comes here: it is cold, or ends without the mark; or authors
    that the user follows are `pulled`: then a page is merged from several lists, and here is nothing of it.
    """

    ids: list[bytes]
    bodies: list[bytes | None]
    known: bool
    cold: bool
    pulled: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Contents:
    """A whole list: ids, newest first, then END where nothing is older; and the pulled authors of its mark."""

    ids: list[bytes]
    pulled: list[int]


def push(user_ids: Sequence[int], post_id: int) -> int:
    """Put a post into these feeds, each in its place and once; a cold feed stays cold.

    Returns how many were changed.
    """
    cap = settings().feed_cap
    return sum(scripts.run("push", [(keys, [post_id, cap]) for keys in _key_batches(user_ids)]))


def remove(user_ids: Sequence[int], post_ids: Sequence[int]) -> int:
    """Take posts out of these feeds. Returns how many elements went."""
    if not post_ids:
        return 0
    return sum(scripts.run("remove", [(keys, list(post_ids)) for keys in _key_batches(user_ids)]))


def begin(user_id: int, *, wait: bool = False) -> Lease | None:
    """Start to rebuild a feed. With `wait`, None where another rebuild is under way."""
    return begin_many([user_id], wait=wait)[0]


def begin_many(user_ids: Sequence[int], *, wait: bool = False) -> list[Lease | None]:
    """`begin` for each of these feeds, in one round trip."""
    tokens = [token_hex(8) for _ in user_ids]
    mode = "wait" if wait else "take"
    calls: list[scripts.Call] = [
        ([feed_key(user_id), _lease_key(user_id)], [token, LEASE_MS, mode])
        for user_id, token in zip(user_ids, tokens, strict=True)
    ]
    ends = scripts.run("begin", calls)
    return [None if found is None else Lease(token, *found) for token, found in zip(tokens, ends, strict=True)]


def commit(user_id: int, lease: Lease, ids: Sequence[int | str], pulled: Sequence[int] = ()) -> bool:
    """End a rebuild with the newest `FEED_CAP` ids of SQL, newest first; fewer are all there are. And with the authors
    of the user who are pulled.

    Returns whether it took: if not, something happened that the ids may not show, and SQL must be read again.
    """
    return commit_many([(user_id, lease, list(map(str, ids)), pulled)])[0]


def commit_many(feeds: Sequence[tuple[int, Lease, Sequence[str], Sequence[int]]]) -> list[bool]:
    """`commit` for each of (user, lease, ids, pulled authors), in one round trip."""
    cap, ttl = settings().feed_cap, settings().feed_ttl
    calls: list[scripts.Call] = [
        (
            [feed_key(user_id), _lease_key(user_id)],
            [lease.token, lease.head, cap, ttl, as_json(ids), ",".join(map(str, pulled))],
        )
        for user_id, lease, ids, pulled in feeds
    ]
    return [bool(taken) for taken in scripts.run("commit", calls)]


def make_cold(user_ids: Sequence[int]) -> None:
    """Forget these feeds, and what rebuilds under way would make of them: the next read builds them."""
    with client().pipeline(transaction=False) as pipe:
        for user_id in user_ids:
            pipe.delete(feed_key(user_id), _lease_key(user_id))
        pipe.execute()


def page(user_id: int, offset: int, limit: int, before: int | None = None) -> Slice:
    """`limit` posts from `offset`, or with `before` those older than that id; renews the feed's life.

    One round trip. On a Cluster the bodies lie on other servers, and take one more to each.
    """
    cursor = "" if before is None else before
    prefix = "" if is_cluster() else bodies.PREFIX
    arguments = [offset, limit, cursor, settings().feed_ttl, prefix]
    [(elements, found, last)] = scripts.run("page", [([feed_key(user_id)], arguments)])
    ended = last == END
    if not ended and last[:1] == END:
        return Slice([], [], known=False, cold=False, pulled=pulled_in(last))
    ids = elements[:-1] if ended and elements else elements
    posts = bodies.unpack(found) if prefix else bodies.cached(ids)
    return Slice(ids, posts, known=ended or 0 < len(ids) == limit, cold=not last)


def ids_of(user_ids: Sequence[int]) -> list[list[bytes]]:
    """The ids of each of these feeds' lists, and END where it is complete; [] for a cold one."""
    return [contents.ids for contents in contents_of(map(feed_key, user_ids))]


def contents_of(keys: Iterable[str]) -> list[Contents]:
    """What each of these lists holds; nothing for a cold one."""
    with client().pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.lrange(key, 0, -1)
        return [_contents(elements) for elements in pipe.execute()]


def _contents(elements: list[bytes]) -> Contents:
    mark = elements.pop() if elements and elements[-1].startswith(END) else b""
    return Contents(elements + [END] * is_complete(mark), pulled_in(mark))


def is_complete(last: bytes) -> bool:
    """Whether a list with this last element says that nothing is older."""
    return last == END or last.startswith(END + b":")


def pulled_in(last: bytes) -> list[int]:
    """The pulled authors that a list with this last element names."""
    return [int(author_id) for author_id in last.partition(b":")[2].split(b",") if author_id]


def cold_ones(user_ids: Sequence[int]) -> list[int]:
    """Those of these feeds that have no list."""
    with client().pipeline(transaction=False) as pipe:
        for user_id in user_ids:
            pipe.exists(feed_key(user_id))
        return [user_id for user_id, there in zip(user_ids, pipe.execute(), strict=True) if not there]


def is_empty() -> bool:
    """Whether Redis holds no feed at all. Scans, and stops at the first."""
    return next(cached_users(), None) is None


def cached_users() -> Iterator[int]:
    """All users whose feed has a list; one may come twice."""
    keys: Iterator[bytes] = client().scan_iter("feed:*", count=SCAN_COUNT, _type="list")
    return (int(key.rpartition(b":")[2]) for key in keys)


def sampled_users(size: int) -> tuple[list[int], float]:
    """Users of the first `size` feeds that SCAN meets, each once, and what share of all keys it had seen by then.

    SCAN goes by hash: the first are as good as any.
    """
    found: dict[int, None] = {}
    for seen, key in enumerate(client().scan_iter(count=BATCH), 1):
        if key.startswith(b"feed:") and not key.endswith(b":lease"):
            found[int(key.rpartition(b":")[2])] = None
            if len(found) >= size:
                return list(found), min(1.0, seen / max(1, client().dbsize()))
    return list(found), 1.0


def feed_key(user_id: int) -> str:
    return f"feed:{{{user_id % BUCKETS}}}:{user_id}"


def as_json(ids: Sequence[str]) -> str:
    return '["' + '","'.join(ids) + '"]' if ids else "[]"


def _lease_key(user_id: int) -> str:
    return feed_key(user_id) + ":lease"


def _key_batches(user_ids: Sequence[int]) -> Iterator[list[str]]:
    for keys in together(map(feed_key, user_ids)):
        for start in range(0, len(keys), FEEDS_A_CALL):
            yield keys[start : start + FEEDS_A_CALL]
