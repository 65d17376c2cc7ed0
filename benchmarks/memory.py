"""Bytes of each thing that Lenta keeps, in Redis and in PostgreSQL."""

import random

import psycopg2
from argon2 import PasswordHasher
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from sqlalchemy import text

from app.db.engine import POSTS, execute
from app.feed.cache import post_bodies, timeline
from app.redis.client import client
from app.settings import Settings
from benchmarks import datasets
from benchmarks.environment import Stage

ROWS = 1_000_000
USERS = 200_000
PASSWORD = "correct horse"
FEEDS, BODIES = 2_000, 10_000
PUSHED_LATER = 50  # a list in use is not as tight as a new one
Figures = dict[str, float]


def memory(stage: Stage, settings: Settings) -> Figures:
    """Redis: a feed's entry, a feed beside its entries, a body beside its text."""
    with stage.app(settings):
        few, many = 100, 1_000
        small = _feed(range(FEEDS), few)
        large = _feed(range(FEEDS, 2 * FEEDS), many)
        few += PUSHED_LATER
        entry = (large - small) / (many - few)
        posts = execute(POSTS, text("SELECT id FROM posts ORDER BY id LIMIT :number"), {"number": BODIES}).scalars()
        before = _used()
        post_bodies.refresh(list(posts))
        body = (_used() - before) / BODIES - len(datasets.TEXT.format(BODIES))
        return {"entry": entry, "feed": small - few * entry, "body": body}


def _feed(numbers: range, entries: int) -> float:
    """Bytes of a feed with so many entries, to which posts were pushed later."""
    users, before = [datasets.user(number) for number in numbers], _used()
    for user in users:
        lease = timeline.HOME.acquire(user)
        assert lease is not None
        timeline.HOME.commit(user, lease, [str(post_id) for post_id in datasets.newest_posts(entries)])
    for later in range(PUSHED_LATER):
        timeline.HOME.push(users, datasets.post(entries + later))
    return (_used() - before) / len(users)


def _used() -> int:
    return int(client().info("memory")["used_memory"])  # type: ignore[index]


def rows(stage: Stage) -> Figures:
    """Bytes of a row in PostgreSQL, and of it and its indexes, by table."""
    settings = stage.settings("rows")
    fill_users(settings)
    connection = psycopg2.connect(settings.posts_database_url)
    with connection, connection.cursor() as cursor:
        fill_rows(cursor)
    connection.close()
    sizes = {}
    for url, table, number in (
        (settings.users_database_url, "users", USERS),
        (settings.posts_database_url, "posts", ROWS),
        (settings.posts_database_url, "follows", ROWS),
    ):
        connection = psycopg2.connect(url)
        cursor = connection.cursor()
        cursor.execute("SELECT pg_table_size(%s), pg_total_relation_size(%s)", (table, table))
        heap, total = cursor.fetchone() or (0, 0)
        sizes |= {table: heap / number, f"{table}_with_indexes": total / number}
        connection.close()
    return sizes


def fill_users(settings: Settings) -> None:
    """Create users with realistic names, biographies of two hundred characters, and a real hash."""
    connection = psycopg2.connect(settings.users_database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO users (id, first_name, second_name, birthdate, biography, city, password_hash)
            SELECT %s + (n::bigint << 22) + (n & 4095), initcap(left(md5(n::text), 6)), initcap(left(md5(n || 'x'), 8)),
                '1990-01-31', repeat(md5(n::text), 7), 'Some city', %s
            FROM generate_series(0, %s) n ORDER BY md5(n::text)
            """,
            (datasets.user(0), PasswordHasher().hash(PASSWORD), USERS - 1),
        )
    connection.close()


def fill_rows(cursor: Cursor) -> None:
    """Create a million follows and posts, in random order like in production."""
    rows = random.Random(datasets.SEED)
    people = 20_000
    pairs = [
        (reader, reader + step) for reader in range(people) for step in rows.sample(range(1, people), ROWS // people)
    ]
    rows.shuffle(pairs)
    datasets.insert_follows(cursor, pairs)
    datasets.insert_posts(cursor, datasets.shuffled(rows, range(people), ROWS // people))
