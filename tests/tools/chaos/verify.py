"""At a quiet moment: SQL against the model, Redis and HTTP against SQL."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.db.engine import POSTS, USERS
from app.feed.cache import post_bodies, timeline
from app.feed.cache.post_bodies import GONE_SECONDS
from tests.tools.chaos.http import Answer, Connection
from tests.tools.chaos.model import Sql
from tests.tools.chaos.service import FEED_CAP, Service

PAGE = 20
DEEP = 3 * FEED_CAP  # how far the cursor is followed
READERS = 4
MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class Truth:
    """SQL at the quiet moment: all of every feed, newest first."""

    sql: Sql
    versions: dict[int, int]
    feeds: dict[int, list[int]]
    users: set[int]


def read_truth(service: Service, user_ids: Iterable[int]) -> Truth:
    rows = service.sql(POSTS, "SELECT id, author_id, text, version FROM posts ORDER BY id DESC")
    follows = set(service.sql(POSTS, "SELECT follower_id, followee_id FROM follows"))
    by_author: dict[int, list[int]] = {}
    for post_id, author, _, _ in rows:
        by_author.setdefault(author, []).append(post_id)
    feeds: dict[int, list[int]] = {user_id: [] for user_id in user_ids}
    users = dict(service.sql(USERS, "SELECT id, suspended_at IS NOT NULL FROM users"))
    suspended = {user_id for user_id, is_suspended in users.items() if is_suspended}
    for follower, followee in follows:
        if follower in feeds and followee not in suspended:
            feeds[follower] += by_author.get(followee, [])
    blocks = set(service.sql(POSTS, "SELECT blocker_id, blocked_id FROM blocks"))
    sql = Sql({post_id: (author, text) for post_id, author, text, _ in rows}, follows, blocks, suspended)
    return Truth(
        sql,
        {post_id: version for post_id, _, _, version in rows},
        {user_id: sorted(ids, reverse=True) for user_id, ids in feeds.items()},
        {*users},
    )


def find_left(service: Service, ids: Iterable[int]) -> Iterator[str]:
    """Find rows and keys that name one of these users and posts.

    Tombstones and keys that pass do not count.
    """
    wanted = [str(i) for i in ids]
    for bind in (USERS, POSTS):
        for (table,) in service.sql(bind, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            if table not in ("gone_users", "token_generations"):
                for (row,) in service.sql(bind, f"SELECT CAST(t AS text) FROM {table} t"):
                    yield from (f"{name} is left in {table}: {row}" for name in wanted if name in row)
    client = service.redis_client
    for key in client.scan_iter("*", count=1000):
        content = client.dump(key) if client.type(key) != b"list" else client.lrange(key, 0, -1)
        is_gone = client.type(key) == b"none" or (key.startswith(b"post:") and client.ttl(key) <= GONE_SECONDS)
        if not (is_gone or key.startswith((b"tokens:", b"{live}:")) or key.endswith(b":lease")):
            yield from (f"{name} is left in {key!r}" for name in wanted if name in f"{key!r} {content!r}")


def compare_suspended(service: Service, truth: Truth) -> Iterator[str]:
    """Check that the databases agree about which users are suspended."""
    known = {user_id for (user_id,) in service.sql(POSTS, "SELECT user_id FROM suspended_users")}
    yield from (f"user {user_id}: the databases differ about a suspension" for user_id in known ^ truth.sql.suspended)


def read_lists(service: Service, truth: Truth) -> dict[int, list[int]]:
    """Return every feed in Redis, ending with 0 if complete; [] if cold."""

    def read(key: str) -> tuple[list[int], list[int]]:
        elements = [element.decode() for element in service.redis_client.lrange(key, 0, -1)]
        mark = elements.pop() if elements and elements[-1].startswith("0") else ""
        complete, _, pulled = mark.partition(":")
        return [*map(int, elements), *([0] if complete == "0" else [])], [int(a) for a in pulled.split(",") if a]

    lists = {}
    for user_id in truth.feeds:
        ids, pulled = read(timeline.HOME.key(user_id))
        if pulled:
            parts = [ids, *(read(timeline.AUTHOR.key(author))[0] for author in pulled)]
            floor = max((min(part, default=MAX_ID) for part in parts if part[-1:] != [0]), default=0)
            merged = sorted({i for part in parts for i in part if i >= max(1, floor)}, reverse=True)
            ids = merged[:FEED_CAP] if floor or len(merged) > FEED_CAP else [*merged, 0]
        lists[user_id] = ids
    return lists


def count_pulled(service: Service) -> dict[str, int]:
    """Count pulled authors, and those with another transition since the last count."""
    states = service.sql(POSTS, "SELECT state, count(*) FROM pulled_authors GROUP BY state")
    known, service.turns = service.turns, set(service.sql(POSTS, "SELECT author_id, turn FROM pulled_authors"))
    counts = {f"{state} authors": number for state, number in states} | {"turns": len(service.turns - known)}
    return {name: number for name, number in counts.items() if number}


def compare_lists(lists: dict[int, list[int]], truth: Truth) -> Iterator[str]:
    """Check that every list is an exact prefix, with the end mark only if complete."""
    for user_id, elements in lists.items():
        expected, ended = truth.feeds[user_id], elements[-1:] == [0]
        ids = elements[:-1] if ended else elements
        if ids != expected[: len(ids)]:
            yield f"list of {user_id}: {_difference(ids, expected[: len(ids)])}"
        if ended and len(ids) < len(expected):
            yield f"list of {user_id} ends after {len(ids)}, and there are {len(expected)}"
        if len(ids) > FEED_CAP:
            yield f"list of {user_id} holds {len(ids)}"


def read_versions(service: Service) -> dict[int, int]:
    """The version of each body in Redis."""
    client, versions = service.redis_client, {}
    for key in client.scan_iter("post:*", count=1000, _type="string"):  # a list is a lease
        if version := client.getrange(key, 0, post_bodies.VERSION_DIGITS - 1):
            versions[int(key.removeprefix(b"post:"))] = int(version)
    return versions


def compare_versions(cached: dict[int, int], truth: Truth) -> Iterator[str]:
    """Every body has the version that SQL has, or says gone where SQL has nothing."""
    for post_id, version in cached.items():
        expected = truth.versions.get(post_id, int(post_bodies.GONE))
        if version != expected:
            yield f"the body of {post_id} has version {version}, and SQL {expected}"


def compare_pages(service: Service, truth: Truth, tokens: dict[int, str]) -> list[str]:
    """Every feed over HTTP, page by page: by offset down to the cap, and by cursor beyond it."""

    def compare(user_id: int) -> list[str]:
        connection = Connection(service.settings.port)
        try:
            return list(_compare_feed(connection, truth, user_id, tokens[user_id]))
        finally:
            connection.close()

    with ThreadPoolExecutor(READERS) as pool:
        return [problem for problems in pool.map(compare, tokens) for problem in problems]


def _compare_feed(connection: Connection, truth: Truth, user_id: int, token: str) -> Iterator[str]:
    expected = [(post_id, *truth.sql.posts[post_id]) for post_id in truth.feeds[user_id]]
    for way, pages, depth in (("offset", _by_offset, FEED_CAP), ("cursor", _by_cursor, DEEP)):
        found = []
        for answer in pages(connection, token):
            if answer.status != 200:
                yield f"feed of {user_id} by {way}: {answer.status or answer.error}"
                break
            found += [(int(post["id"]), int(post["author_user_id"]), post["text"]) for post in answer.body]
        if found[:depth] != expected[:depth]:
            yield f"feed of {user_id} by {way}: {_difference(found[:depth], expected[:depth])}"


def _by_offset(connection: Connection, token: str) -> Iterator[Answer]:
    for offset in range(0, FEED_CAP, PAGE):
        yield connection.call("GET", f"/post/feed?offset={offset}&limit={PAGE}", token)


def _by_cursor(connection: Connection, token: str) -> Iterator[Answer]:
    query = f"limit={PAGE}"
    for _ in range(0, DEEP + PAGE, PAGE):
        answer = connection.call("GET", f"/post/feed?{query}", token)
        yield answer
        if answer.status != 200 or len(answer.body) < PAGE:
            return
        query = f"before={answer.body[-1]['id']}&limit={PAGE}"


def _difference(found: list[Any], expected: list[Any]) -> str:
    missing, extra = set(expected) - set(found), set(found) - set(expected)
    if not missing and not extra:
        return "the order, or repeated"
    return f"missing {sorted(missing)[:3]} of {len(missing)}, extra {sorted(extra)[:3]} of {len(extra)}"
