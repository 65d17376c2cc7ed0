"""Datasets of the benchmarks, generated from a seed and so the same in every run.

Ids are made as the database makes them, time-ordered with 19 digits, and lie before those it will make itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import chain, count, islice
from random import Random

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from app.feed.cache import timeline
from app.redis.client import client

SEED = 20101104
CHUNK = 50_000  # lines for one COPY
TEXT = "No one can tell how the day will end, said the fisherman, and mended his net until evening came; {}."

_USERS_FROM = 300_000_000_000 << 22
_POSTS_FROM = 400_000_000_000 << 22


def user(number: int) -> int:
    """The id of a user, by number from 0."""
    return _USERS_FROM + (number << 22) + (number & 4095)


def post(number: int) -> int:
    """The id of a post, by number from 0, the oldest first."""
    return _POSTS_FROM + (number << 22) + (number & 4095)


def many_followees(cursor: Cursor, quick: bool) -> None:
    """Create 80,064 readers of 50 or 200 of 20,000 authors with 100 posts each.

    4 million follows and 2 million posts; quick: a tenth of the people.
    """
    random = Random(SEED)
    authors = TOWN_AUTHORS // (10 if quick else 1)
    readers = TOWN_READERS // (10 if quick else 1)
    insert_posts(cursor, shuffled(random, range(authors), 100))
    insert_follows(
        cursor,
        ((reader, author) for reader in range(readers) for author in random.sample(range(authors), 50)),
        ((fan, author) for fan in HEAVY_READERS for author in random.sample(range(authors), 200)),
    )


TOWN_AUTHORS, TOWN_READERS = 20_000, 80_000
HEAVY_READERS = range(1_000_000, 1_000_064)  # the readers who follow 200


def uniform(cursor: Cursor, quick: bool) -> None:
    """Create 20,000 users with 20 posts and 50 followees each; quick: 2,000."""
    random = Random(SEED)
    people = range(VILLAGERS // (10 if quick else 1))
    insert_posts(cursor, shuffled(random, people, 20))
    insert_follows(cursor, ((reader, author) for reader in people for author in random.sample(people, 50)))


VILLAGERS = 20_000


def deep_history(cursor: Cursor, quick: bool) -> None:
    """Create a reader of 500 authors with 5,000 posts each.

    Of the others' posts only the recent ones are there: as many as lie above and between the reader's newest 1000. That
    is all of them that a query can meet that goes from the newest post downwards, and that is how PostgreSQL does the
    join here. The older ones' ids are as far apart as if the others' were there. Quick: 500 posts each, one in 50.
    """
    authors, each, share = range(1, 501), *((500, 50) if quick else (5_000, 500))
    theirs = shuffled(Random(SEED), authors, each)
    older, newer = theirs[:-1000], theirs[-1000:]
    others = ((1_000 + n % 10_000 for n in range(share - 1)) for _ in newer)
    insert_posts(cursor, older, apart=share)
    recent = chain.from_iterable(chain([own], some) for own, some in zip(newer, others, strict=True))
    insert_posts(cursor, recent, first=len(older) * share)
    insert_follows(cursor, ((0, author) for author in authors))


def by_follower_count(cursor: Cursor, quick: bool) -> None:
    """Authors with as many followers as CROWDS says; quick: the two largest have a tenth."""
    for author, number in CROWDS.items():
        size = number // 10 if quick and number >= LARGE else number
        insert_follows(cursor, ((follower, author) for follower in range(size)))


TINY, SMALL, LARGE, HUGE = 10, 1_000, 100_000, 1_000_000
CROWDS = {2_000_000 + place: number for place, number in enumerate((TINY, SMALL, LARGE, HUGE))}
AUTHOR_NUMBER_OF = {number: author for author, number in CROWDS.items()}
AUTHOR_OF = {number: user(author) for author, number in CROWDS.items()}


def shared_author(cursor: Cursor, quick: bool) -> None:
    """Create 1,000 readers of one shared author and 49 of 2,000 others."""
    random = Random(SEED)
    insert_posts(cursor, shuffled(random, range(NEIGHBOUR_AUTHOR + 1), 20))
    insert_follows(
        cursor,
        (
            (reader, author)
            for reader in range(NEIGHBOURS)
            for author in (NEIGHBOUR_AUTHOR, *random.sample(range(NEIGHBOUR_AUTHOR), 49))
        ),
    )


NEIGHBOURS, NEIGHBOUR_AUTHOR = 1_000, 2_000


def pulled_groups(cursor: Cursor, quick: bool) -> None:
    """Create groups of 32 readers that follow the group's 200 authors with 100 posts each."""
    groups = range(len(STARS) + 1)
    insert_posts(cursor, shuffled(Random(SEED), range(len(groups) * STARS_FOLLOWED), 100))
    insert_follows(
        cursor,
        (
            (STAR_READERS_FROM + group * STAR_READERS + reader, group * STARS_FOLLOWED + author)
            for group in groups
            for reader in range(STAR_READERS)
            for author in range(STARS_FOLLOWED)
        ),
    )


STARS = (1, 10, 50)  # how many of a group's authors are pulled; in the first of the groups it is none
STARS_FOLLOWED, STAR_READERS, STAR_READERS_FROM = 200, 32, 10_000


def authors_of_stars(number: int) -> list[int]:
    """The authors of the group of which so many are pulled."""
    group = (0, *STARS).index(number)
    return [user(group * STARS_FOLLOWED + place) for place in range(STARS_FOLLOWED)]


def readers_of_stars(number: int) -> list[int]:
    group = (0, *STARS).index(number)
    return [user(STAR_READERS_FROM + group * STAR_READERS + place) for place in range(STAR_READERS)]


@contextmanager
def without_indexes(cursor: Cursor) -> Iterator[None]:
    """Secondary indexes are dropped for the block and made again after: much faster than to keep them."""
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('posts', 'follows') AND indexname LIKE 'ix_%'"
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    yield
    cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
    for _, definition in indexes:
        cursor.execute(definition)


def newest_posts(number: int) -> list[int]:
    """As many post ids, newest first."""
    return [post(place) for place in reversed(range(number))]


def fill_feeds(user_ids: Sequence[int], entries: int) -> None:
    """The same feed of so many posts for all: built once, and copied inside Redis."""
    lease = timeline.HOME.acquire(user_ids[0])
    assert lease is not None
    timeline.HOME.commit(user_ids[0], lease, newest_posts(entries))
    copy_key(timeline.HOME.key(user_ids[0]), [timeline.HOME.key(user_id) for user_id in user_ids[1:]])


def copy_key(source: str, targets: Sequence[str]) -> None:
    for start in range(0, len(targets), CHUNK):
        with client().pipeline(transaction=False) as pipe:
            for target in targets[start : start + CHUNK]:
                pipe.copy(source, target)
            pipe.execute()


def shuffled(random: Random, authors: Iterable[int], each: int) -> list[int]:
    """Authors of posts, in an order where each comes `each` times."""
    order = [author for author in authors for _ in range(each)]
    random.shuffle(order)
    return order


def insert_posts(cursor: Cursor, authors: Iterable[int], first: int = 0, apart: int = 1) -> None:
    """Generate posts for these author numbers, oldest first, with equidistant numbers from `first`."""
    lines = (f"{post(n)}\t{user(author)}\t{TEXT.format(n)}\n" for n, author in zip(count(first, apart), authors))
    _copy(cursor, "posts (id, author_id, text)", lines)


def insert_follows(cursor: Cursor, *parts: Iterable[tuple[int, int]]) -> None:
    """(follower, followee) by number."""
    for pairs in parts:
        lines = (f"{user(follower)}\t{user(followee)}\n" for follower, followee in pairs)
        _copy(cursor, "follows (follower_id, followee_id)", lines)


def _copy(cursor: Cursor, table: str, lines: Iterator[str]) -> None:
    while chunk := "".join(islice(lines, CHUNK)):
        cursor.copy_expert(f"COPY {table} FROM STDIN", StringIO(chunk))
