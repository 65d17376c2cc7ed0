"""Queries on feeds: one function, one query, and so one snapshot, except where noted.

A feed is made of `effective_follows`: the follows whose followee is not suspended (app/posts/suspensions.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, text

from app.db.engine import POSTS, execute, pg_array_literal
from app.feed.newest import ABOVE_BOUND, ESTIMATED_BOUND, EXACT_BOUND
from app.ids import MAX_ID
from app.posts.models import PROMOTING, PULLED
from app.posts.store import PUBLIC

SAMPLE = 32  # authors probed for an estimate of a lower bound

_NEWEST = f"WITH {EXACT_BOUND} {ABOVE_BOUND}"
# Followees whose author lists must be merged at read time: pulled, or about to be.
_PULLED = f"""
    SELECT follower_id, author_id FROM pulled_authors JOIN effective_follows ON followee_id = author_id
    WHERE state IN ('{PROMOTING}', '{PULLED}')
"""
_CONTENTS, _CONTENTS_BY_ESTIMATE = (
    text(f"""
        WITH {bound}
        SELECT (SELECT string_agg(CAST(id AS text), ',') FROM ({ABOVE_BOUND}) newest) AS ids,
            ARRAY(SELECT author_id FROM ({_PULLED}) pulled WHERE follower_id = :user_id) AS pulled,
            coalesce(CAST(:lower_bound AS bigint), (SELECT id FROM bound)) AS bound
    """)
    for bound in (EXACT_BOUND, ESTIMATED_BOUND)
)
_NEWEST_POSTS = text(f"""
    SELECT * FROM (
        SELECT {PUBLIC}, count(*) OVER () AS found,
            sum(octet_length(text)) OVER (ORDER BY id DESC) - octet_length(text) AS bytes_above
        FROM posts JOIN ({_NEWEST}) page USING (id) ORDER BY id DESC OFFSET :offset
    ) post WHERE bytes_above <= :room ORDER BY id DESC
""")


def select_feed(
    user_id: int, limit: int, lower_bound: int | None = None, *, may_estimate: bool = True
) -> tuple[list[str], list[int]]:
    """Return the content of a feed: the newest ids of the user's followees, newest first, and the pulled followees.

    `lower_bound` is an estimate of the oldest of these ids; without it, one is made from a sample of many followees. If
    it is too high, a second query follows; the lower it is, the more is read, up to `limit` ids per author. Ids stay
    text: converting a thousand of them takes longer than the query.
    """
    parameters = {"user_id": user_id, "before": MAX_ID, "limit": limit, "lower_bound": lower_bound}
    if may_estimate and lower_bound is None:
        row = execute(POSTS, _CONTENTS_BY_ESTIMATE, parameters | {"sample": SAMPLE}).one()
    else:
        row = execute(POSTS, _CONTENTS, parameters).one()
    ids = row.ids.split(",") if row.ids else []
    if row.bound is None or len(ids) == limit:
        return ids, row.pulled
    return select_feed(user_id, limit, may_estimate=False)


def select_newest_posts(
    user_id: int, limit: int, room: int, *, before: int | None = None, after: int | None = None, offset: int = 0
) -> tuple[list[Row[Any]], bool]:
    """Return a page of posts, newest first, and whether `room` cut it short.

    `room` is in bytes: the page ends with the post whose text exceeds it.
    """
    parameters = {"user_id": user_id, "limit": offset + limit, "offset": offset, "room": room}
    bounds = {
        "before": MAX_ID if before is None else before,
        "lower_bound": None if after is None else min(after + 1, MAX_ID),
    }
    posts = list(execute(POSTS, _NEWEST_POSTS, parameters | bounds))
    return posts, bool(posts) and len(posts) < posts[0].found - offset


def count_newer(user_id: int, limit: int, after: int) -> int:
    """Count the posts newer than `after` among the newest `limit` of a feed."""
    query = text(f"SELECT count(*) FROM ({_NEWEST}) newest WHERE id > :after")
    parameters = {"user_id": user_id, "before": MAX_ID, "limit": limit, "lower_bound": None, "after": after}
    return int(execute(POSTS, query, parameters).scalar_one())


def select_existing(post_ids: Iterable[int]) -> set[int]:
    """Return those of these ids that are posts."""
    query = text("SELECT id FROM posts WHERE id = ANY(CAST(:ids AS bigint[]))")
    return set(execute(POSTS, query, {"ids": pg_array_literal(post_ids)}).scalars())


def select_posts(post_ids: Sequence[int]) -> list[Row[Any]]:
    """Fetch those of these posts that exist, unordered."""
    return list(execute(POSTS, text(f"SELECT {PUBLIC} FROM posts WHERE id = ANY(:ids)"), {"ids": list(post_ids)}))


def select_feeds(user_ids: Sequence[int], limit: int) -> Iterator[tuple[int, list[str], list[int]]]:
    """Read many feeds, as (user, ids, pulled authors). See `select_newest_ids`."""
    pulled = select_pulled(user_ids)
    newest = select_newest_ids(user_ids, limit)
    return ((user_id, ids, pulled.get(user_id, [])) for user_id, ids in newest)


class _LowerBounds(NamedTuple):
    """Ids below which nothing has to be read. 0 if there is no such id."""

    feeds: dict[int, int]
    authors: dict[int, int]  # only authors to be read again


def select_newest_ids(user_ids: Sequence[int], limit: int) -> Iterator[tuple[int, list[str]]]:
    """Read the newest ids of many feeds, as (user, ids), with three queries.

    The threshold algorithm of newest.py, in Python, reading each author once for all feeds. For example, with limit 4
    and one feed of the authors A (posts 90 80 70 60 50) and B (40 30):

    1. Shares: a part of the limit and a quarter more for each author, here 4 * 5 // 4 // 2 + 1 = 3 ids.
    2. Truncated authors: the shares are A: 90 80 70 and B: 40 30. A has used up its share, and may have more below 70.
    3. Lower bounds: the 4 newest of these ids are 90 80 70 40. So the feed needs nothing below 40, and A is read again
       down to 40: 90 80 70 60 50.
    4. Merge: 90 80 70 60.

    Memory is bounded by a few times the size of the feeds. If posts are deleted between the two reads of an author, too
    few may remain above the lower bound: a separate query reads such a feed. SQL is read at once, and feeds are merged
    lazily: ids that are sent before the next feed is merged stay in the CPU's cache.
    """
    followees = select_followees(user_ids)
    shares = _shares(followees.values(), limit)
    newest = select_newest_by_author(shares)
    bounds = _lower_bounds(followees, newest, _truncated(newest, shares, limit), limit)
    if bounds.authors:
        newest |= select_newest_by_author(dict.fromkeys(bounds.authors, limit), bounds.authors)

    def merged(user_id: int) -> list[str]:
        ids, bound = _merge(followees.get(user_id, ()), newest, limit), bounds.feeds.get(user_id, 0)
        is_exact = bound == 0 or (len(ids) == limit and int(ids[-1]) >= bound)
        return ids if is_exact else select_feed(user_id, limit)[0]

    return ((user_id, merged(user_id)) for user_id in user_ids)


def _shares(feeds: Iterable[Sequence[int]], limit: int) -> dict[int, int]:
    """Return the number of ids to probe by author: the largest share over all feeds, given by their authors."""
    shares: dict[int, int] = {}
    for authors in feeds:
        share = limit * 5 // 4 // len(authors) + 1
        shares.update((author, share) for author in authors if shares.get(author, 0) < share)
    return shares


def _truncated(newest: Mapping[int, str], shares: Mapping[int, int], limit: int) -> dict[int, int]:
    """Return the oldest id read of each author with a used-up share."""
    return {
        author: int(ids[ids.rfind(",") + 1 :])
        for author, ids in newest.items()
        if ids.count(",") + 1 == shares[author] < limit
    }


def _lower_bounds(
    followees: Mapping[int, Sequence[int]], newest: Mapping[int, str], truncated: Mapping[int, int], limit: int
) -> _LowerBounds:
    """Compute the lower bounds of feeds with truncated authors, and of these authors."""
    bounds = _LowerBounds({}, {})
    for user_id, authors in followees.items():
        if cut := [author for author in authors if author in truncated]:
            ids = _merge(authors, newest, limit)
            bound = bounds.feeds[user_id] = int(ids[-1]) if len(ids) == limit else 0
            for author in cut:
                if truncated[author] > bound:
                    bounds.authors[author] = min(bound, bounds.authors.get(author, bound))
    return bounds


def _merge(authors: Iterable[int], newest: Mapping[int, str], limit: int) -> list[str]:
    """Merge the authors' newest ids. Timsort detects their sorted runs, and merges them in C."""
    text_ = ",".join([newest[author] for author in authors if author in newest])
    ids = text_.split(",") if text_ else []
    ids.sort(reverse=True)
    ids.sort(key=len, reverse=True)  # digits compare as text only if they are equally many
    return ids[:limit]


def select_pulled(user_ids: Iterable[int]) -> dict[int, list[int]]:
    """Return the pulled followees, and those about to be, by user. Users without any are left out."""
    query = text(f"""
        SELECT follower_id, array_agg(author_id) AS author_ids FROM ({_PULLED}) pulled
        WHERE follower_id = ANY(CAST(:user_ids AS bigint[])) GROUP BY follower_id
    """)
    rows = execute(POSTS, query, {"user_ids": pg_array_literal(user_ids)})
    return {row.follower_id: row.author_ids for row in rows}


def select_authors_in_transition() -> set[int]:
    """Return the authors between pushed and pulled. A feed may or may not be merged with their lists."""
    return set(execute(POSTS, text(f"SELECT author_id FROM pulled_authors WHERE state <> '{PULLED}'")).scalars())


def select_newest_ids_by(author_id: int, limit: int) -> list[str]:
    """Return the ids of an author's newest posts, newest first."""
    ids = select_newest_by_author({author_id: limit}).get(author_id)
    return ids.split(",") if ids else []


def select_followees(user_ids: Iterable[int]) -> dict[int, list[int]]:
    """Return the followees by user that are not suspended. Users without any are left out."""
    query = text("""
        SELECT follower_id, array_agg(followee_id) AS followee_ids FROM effective_follows
        WHERE follower_id = ANY(CAST(:user_ids AS bigint[])) GROUP BY follower_id
    """)
    rows = execute(POSTS, query, {"user_ids": pg_array_literal(user_ids)})
    return {row.follower_id: row.followee_ids for row in rows}


def select_newest_by_author(limits: Mapping[int, int], lower_bounds: Mapping[int, int] | None = None) -> dict[int, str]:
    """Return the newest ids by author, comma-separated, newest first. Authors without any are left out.

    Each author has a limit, and may have a lower bound.
    """
    query = text("""
        SELECT author.id, array_to_string(ARRAY(
            SELECT id FROM posts WHERE author_id = author.id AND id >= author.lower_bound
            ORDER BY id DESC LIMIT author.number
        ), ',') AS post_ids
        FROM unnest(CAST(:ids AS bigint[]), CAST(:limits AS bigint[]), CAST(:lower_bounds AS bigint[]))
            AS author (id, number, lower_bound)
    """)
    authors = sorted(limits)  # adjacent index entries are read together
    parameters = {
        "ids": pg_array_literal(authors),
        "limits": pg_array_literal(limits[author] for author in authors),
        "lower_bounds": pg_array_literal(lower_bounds[author] if lower_bounds else 0 for author in authors),
    }
    return {row.id: row.post_ids for row in execute(POSTS, query, parameters) if row.post_ids}
