"""What SQL says a feed is. Every function is one query, so one snapshot, unless it says otherwise."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text

from app.db import POSTS, array, run
from app.posts.store import PUBLIC

# The newest ids of a feed, from the index of posts by author alone. A threshold algorithm (Fagin, Lotem, Naor, 2003):
# a few ids of each author show a floor that `limit` ids reach, and from there on everything is read. Reading `limit`
# ids of each author instead took 12 times as long for 500 authors of 5,000 posts. The authors' share of `limit` and a
# quarter more makes a floor that is neither too low nor too dear. Where too few ids are found there is no floor.
# Who knows a floor gives it, and has most of the query's time spared: PostgreSQL does not look for one then.
_NEWEST = """
    WITH author AS MATERIALIZED (SELECT followee_id AS id FROM follows WHERE follower_id = :user_id),
    floor AS MATERIALIZED (
        SELECT probed.id FROM author CROSS JOIN LATERAL (
            SELECT id FROM posts WHERE author_id = author.id AND id < :before
            ORDER BY id DESC LIMIT (SELECT :limit * 5 / 4 / nullif(count(*), 0) + 1 FROM author)
        ) probed ORDER BY probed.id DESC OFFSET :limit - 1 LIMIT 1
    )
    SELECT newest.id FROM author CROSS JOIN LATERAL (
        SELECT id FROM posts WHERE author_id = author.id AND id < :before
            AND id >= coalesce(CAST(:floor AS bigint), (SELECT id FROM floor), 0)
        ORDER BY id DESC LIMIT :limit
    ) newest ORDER BY newest.id DESC LIMIT :limit
"""
_NEWEST_IDS = f"SELECT string_agg(CAST(id AS text), ',') FROM ({_NEWEST}) newest"
# The followees of whom a reader must look into the list: those who are pulled, or about to be.
_PULLED = """
    SELECT follower_id, author_id FROM pulled_authors JOIN follows ON followee_id = author_id
    WHERE state IN ('promoting', 'pulled')
"""
_CONTENTS = text(f"""
    SELECT ({_NEWEST_IDS}) AS ids,
        ARRAY(SELECT author_id FROM ({_PULLED}) pulled WHERE follower_id = :user_id) AS pulled
""")
_NEWEST_POSTS = text(f"SELECT {PUBLIC} FROM posts JOIN ({_NEWEST}) page USING (id) ORDER BY id DESC OFFSET :offset")
END_OF_TIME = 2**63 - 1


def contents(user_id: int, limit: int, floor: int | None = None) -> tuple[list[str], list[int]]:
    """What a feed's list is to hold: the ids of the newest posts of the authors that `user_id` follows, newest first,
    in decimal digits; and those of these authors who are pulled.

    `floor` is an id down to which `limit` posts may be found: a guess. Where it was too high there is a second query;
    the lower it was, the more is read, up to `limit` ids of each author.
    The ids go from SQL into Redis as they are: to make a thousand integers of them and digits again took longer than
    the query.
    """
    row = run(POSTS, _CONTENTS, {"user_id": user_id, "before": END_OF_TIME, "limit": limit, "floor": floor}).one()
    ids = row.ids.split(",") if row.ids else []
    return (ids, row.pulled) if floor is None or len(ids) == limit else contents(user_id, limit)


def newest_posts(user_id: int, limit: int, *, before: int = END_OF_TIME, offset: int = 0) -> list[Row[Any]]:
    """A page of the feed, posts and all: at most `limit` posts older than `before`, newest first."""
    parameters = {"user_id": user_id, "before": before, "limit": offset + limit, "offset": offset, "floor": None}
    return list(run(POSTS, _NEWEST_POSTS, parameters))


def posts(post_ids: Sequence[int]) -> list[Row[Any]]:
    """The live ones of these posts, in no order."""
    return list(run(POSTS, text(f"SELECT {PUBLIC} FROM posts WHERE id = ANY(:ids)"), {"ids": list(post_ids)}))


def contents_of(user_ids: Sequence[int], limit: int) -> Iterator[tuple[int, list[str], list[int]]]:
    """(user, ids, pulled authors) of many users, as `contents` has them and `newest_ids_of` reads them."""
    pulled = pulled_of(user_ids)
    newest = newest_ids_of(user_ids, limit)
    return ((user_id, ids, pulled.get(user_id, [])) for user_id, ids in newest)


def newest_ids_of(user_ids: Sequence[int], limit: int) -> Iterator[tuple[int, list[str]]]:
    """(user, ids) of many users, by three queries: each author's newest ids are read once, and merged here.

    As in one query, so here: a share of `limit` of each author gives every feed a floor, and what was not read down
    to there is read once more. So no more is held in memory than a few times what the feeds hold. Where posts are
    deleted between the two readings too few may be left down to the floor: such a feed is read by itself.
    SQL is read at once; a feed is merged when it is taken: a thousand ids that are sent before the next thousand are
    made are in the processor's cache, and take half as long.
    """
    followees = followees_of(user_ids)
    shares: dict[int, int] = {}
    for authors in followees.values():
        share = limit * 5 // 4 // len(authors) + 1
        shares.update((author, share) for author in authors if shares.get(author, 0) < share)
    newest = newest_of_authors(shares)
    reach, floors = _floors(followees, newest, shares, limit)
    if floors:
        newest |= newest_of_authors(dict.fromkeys(floors, limit), floors)

    def merged(user_id: int) -> list[str]:
        ids, floor = _merge(followees.get(user_id, ()), newest, limit), reach.get(user_id, 0)
        is_known = floor == 0 or (len(ids) == limit and int(ids[-1]) >= floor)
        return ids if is_known else contents(user_id, limit)[0]

    return ((user_id, merged(user_id)) for user_id in user_ids)


def _floors(
    followees: Mapping[int, Sequence[int]], newest: Mapping[int, str], shares: Mapping[int, int], limit: int
) -> tuple[dict[int, int], dict[int, int]]:
    """Down to which id each feed reaches, of those that the shares may not be enough for (0: as far as there are any);
    and down to which id each author is to be read who may have more in one of them than the share.
    """
    last = {
        author: int(ids[ids.rfind(",") + 1 :])
        for author, ids in newest.items()
        if ids.count(",") + 1 == shares[author] < limit
    }
    reach: dict[int, int] = {}
    floors: dict[int, int] = {}
    for user_id, authors in followees.items():
        if cut := [author for author in authors if author in last]:
            feed = _merge(authors, newest, limit)
            floor = reach[user_id] = int(feed[-1]) if len(feed) == limit else 0
            floors.update((author, min(floor, floors.get(author, floor))) for author in cut if last[author] > floor)
    return reach, floors


def pulled_of(user_ids: Iterable[int]) -> dict[int, list[int]]:
    """The pulled authors that each of these users follows, or who are about to be; who follows none is left out."""
    query = text(f"""
        SELECT follower_id, array_agg(author_id) AS author_ids FROM ({_PULLED}) pulled
        WHERE follower_id = ANY(CAST(:user_ids AS bigint[])) GROUP BY follower_id
    """)
    rows = run(POSTS, query, {"user_ids": array(user_ids)})
    return {row.follower_id: row.author_ids for row in rows}


def turning() -> set[int]:
    """The authors who are between pushed and pulled: a feed may look into their lists, or not."""
    return set(run(POSTS, text("SELECT author_id FROM pulled_authors WHERE state <> 'pulled'")).scalars())


def newest_ids_by(author_id: int, limit: int) -> list[str]:
    """The ids of an author's newest posts, as `contents` has them."""
    ids = newest_of_authors({author_id: limit}).get(author_id)
    return ids.split(",") if ids else []


def _merge(authors: Iterable[int], newest: Mapping[int, str], limit: int) -> list[str]:
    """The newest ids of all. Sorting finds the runs that the authors' ids are, and merges them in C."""
    text_ = ",".join([newest[author] for author in authors if author in newest])
    ids = text_.split(",") if text_ else []
    ids.sort(reverse=True)
    ids.sort(key=len, reverse=True)  # digits compare as text only where there are as many
    return ids[:limit]


def followees_of(user_ids: Iterable[int]) -> dict[int, list[int]]:
    """Whom each of these users follows; who follows nobody is left out."""
    query = text("""
        SELECT follower_id, array_agg(followee_id) AS followee_ids FROM follows
        WHERE follower_id = ANY(CAST(:user_ids AS bigint[])) GROUP BY follower_id
    """)
    rows = run(POSTS, query, {"user_ids": array(user_ids)})
    return {row.follower_id: row.followee_ids for row in rows}


def newest_of_authors(limits: Mapping[int, int], floors: Mapping[int, int] | None = None) -> dict[int, str]:
    """The newest ids of each author, newest first with commas between them: so many of each, from a floor upwards.

    Who has none is left out.
    """
    query = text("""
        SELECT author.id, array_to_string(ARRAY(
            SELECT id FROM posts WHERE author_id = author.id AND id >= author.floor ORDER BY id DESC LIMIT author.most
        ), ',') AS post_ids
        FROM unnest(CAST(:ids AS bigint[]), CAST(:limits AS bigint[]), CAST(:floors AS bigint[]))
            AS author (id, most, floor)
    """)
    authors = sorted(limits)  # neighbours in the index are read together
    parameters = {
        "ids": array(authors),
        "limits": array(limits[author] for author in authors),
        "floors": array(floors[author] if floors else 0 for author in authors),
    }
    return {row.id: row.post_ids for row in run(POSTS, query, parameters) if row.post_ids}
