"""The constants of deploy/capacity: processor time for each thing that is done, bytes for each thing that is kept.

    python -m benchmarks.constants [NAME…]      # JSON, after some three minutes; RabbitMQ as for the other benchmarks

What is counted is the time that processes spent on a processor, not the time that passed: it says the same beside other
work. PostgreSQL (a wheel's) and Redis are the run's own. RabbitMQ is the machine's, and nobody else should use it meanwhile.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import dramatiq
import psutil
import psycopg2
from argon2 import PasswordHasher
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from sqlalchemy import text

from app.auth import issue_token
from app.db import POSTS, commit, db, run
from app.feed import bodies, service, timeline, warming
from app.redis import client
from app.settings import Settings
from benchmarks import finished, world
from benchmarks.delivering import fan_out
from benchmarks.load import rate
from benchmarks.processes import web, worker
from benchmarks.rebuilding import warm_all
from benchmarks.stage import Stage, open_stage
from local.services import start_postgresql

ROWS = 1_000_000
POSTS_WRITTEN, FOLLOWS_WRITTEN, LOGINS, MESSAGES = 1_000, 500, 40, 5_000
AUTHOR = 1_000_000
FEW = 10  # followers of the author whose posts cost as good as no deliveries
PASSWORD = "correct horse"
TOWNSMEN = 200_000  # rows of users
Figures = dict[str, float]


class Meter:
    """Processor seconds by program. Children that have ended are counted with their parents."""

    def __init__(self, postgresql: int) -> None:
        self._postgresql = postgresql

    def seconds(self) -> Figures:
        ours = psutil.Process().children(recursive=True)
        broker = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "beam.smp"]
        info = client().info("cpu")
        return {
            "web": sum(_spent(process) for process in ours if _runs(process, "gunicorn")),
            "worker": sum(_spent(process) for process in ours if _runs(process, "dramatiq")),
            "redis": info["used_cpu_sys"] + info["used_cpu_user"],  # type: ignore[index]
            "postgresql": _spent(psutil.Process(self._postgresql), with_children=True),
            "rabbitmq": sum(map(_spent, broker)),
        }

    def micros(self, work: Callable[[], float]) -> Figures:
        """Microseconds of each program for one of what `work` does; it returns how many it did."""
        before = self.seconds()
        number = work()
        after = self.seconds()
        return {program: (after[program] - before[program]) / number * 1e6 for program in after}


def _spent(process: psutil.Process, *, with_children: bool = False) -> float:
    times = process.cpu_times()
    own = times.user + times.system
    if not with_children:
        return float(own)
    ended = times.children_user + times.children_system
    return float(own + ended + sum(map(_spent, process.children(recursive=True))))


def _runs(process: psutil.Process, program: str) -> bool:
    return program in process.cmdline()


@contextmanager
def own_postgresql() -> Iterator[int]:
    """A server of the run, which the stage will take. Yields its process id."""
    folder = Path(tempfile.mkdtemp(prefix="lenta-constants-"))
    folder.chmod(0o755)
    server = start_postgresql(folder / "postgresql")
    os.environ["TEST_POSTGRES_URL"] = server.url("DATABASE").replace("DATABASE", "{}")
    try:
        yield server.process.pid
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def reads(stage: Stage, settings: Settings, meter: Meter) -> Figures:
    """A page of ten by /post/feed from warm feeds, texts of a hundred characters."""
    with stage.app(settings), web(settings, stage.folder) as url:
        readers = [world.user(number) for number in range(64)]
        tokens = [issue_token(reader) for reader in readers]
        for reader in readers:
            service.reconcile(reader)
        page = f"{url}/post/feed?limit=10"
        rate(page, tokens, 1, stage.folder)
        return meter.micros(lambda: 5 * rate(page, tokens, 5, stage.folder))


def rebuilds(stage: Stage, settings: Settings, meter: Meter) -> Figures:
    """A cold feed of 1000 posts by 50 authors made from SQL, by a process that does nothing else."""
    with stage.app(settings):
        users = [world.user(number) for number in range(500)]
        service.reconcile(users[0])

        def work() -> float:
            for user in users:
                service.reconcile(user)
                commit()
            return len(users)

        before = _spent(psutil.Process())
        return meter.micros(work) | {"worker": (_spent(psutil.Process()) - before) / len(users) * 1e6}


def writes(stage: Stage, settings: Settings, meter: Meter) -> dict[str, Figures]:
    """A post by an author with few followers, a follow, a log-in: over HTTP, and all that a worker does after."""
    stage.queue("feed")
    open_ = replace(settings, login_rate_per_account="off", login_rate_per_address="off")
    author = world.user(AUTHOR)
    with stage.app(settings), web(open_, stage.folder) as url, worker(settings, stage.folder):
        world.fill_feeds([world.user(number) for number in range(FEW)], 1_000)
        connection = HTTPConnection(urlsplit(url).netloc)

        def call(method: str, path: str, user: int, **body: str) -> None:
            headers = {"X-Auth": tokens[user], "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said

        tokens = {user: issue_token(user) for user in map(world.user, range(FOLLOWS_WRITTEN + 1))}
        tokens[author] = issue_token(author)

        def post(number: int = POSTS_WRITTEN) -> float:
            for n in range(number):
                call("POST", "/post/create", author, text=world.TEXT.format(n))
            finished.wait_for(client(), 2 * number)  # the event, and one message for all followers
            return number

        def follow() -> float:
            for n in range(FOLLOWS_WRITTEN):
                call("PUT", f"/friend/set/{world.user(19_999 - n)}", world.user(n))
            finished.wait_for(client(), FOLLOWS_WRITTEN)
            return FOLLOWS_WRITTEN

        def log_in() -> float:
            for _ in range(LOGINS):
                call("POST", "/login", author, id=str(world.user(0)), password=PASSWORD)
            return LOGINS

        post(100)
        result = {}
        for name, number, work in (
            ("post", POSTS_WRITTEN, post),
            ("follow", FOLLOWS_WRITTEN, follow),
            ("login", LOGINS, log_in),
        ):
            wal = _wal()
            result[name] = meter.micros(work) | {"wal_bytes": (_wal() - wal) / number}
            commit()
        return result


def deliveries(stage: Stage, settings: Settings, meter: Meter) -> Figures:
    """One delivery of a post to 100,000 full feeds, the fan-out included, in messages of a thousand.

    One post after the other: of several at once some come out of order, and are looked for in the whole list.
    """
    queue, followers, posts = stage.queue("feed"), world.LARGE, 10
    stage.queue("bulk")
    with stage.app(settings), worker(settings, stage.folder) as process:
        world.fill_feeds([world.user(number) for number in range(followers)], 1_000)

        def work(number: int = posts) -> float:
            for _ in range(number):
                fan_out(stage, process, queue, world.AUTHOR_OF[followers], followers, posts=1)
            return number * followers

        work(1)
        return meter.micros(work)


def messages(stage: Stage, settings: Settings, meter: Meter) -> dict[str, Figures]:
    """A small message that does nothing; and events a second that the one relay of one worker takes to RabbitMQ."""
    queue = stage.queue("echo")
    stage.queue("feed")
    with stage.app(settings), worker(settings, stage.folder):

        def echo() -> float:
            for _ in range(MESSAGES):
                message = dramatiq.Message(queue_name=queue, actor_name="echo", args=("echo",), kwargs={}, options={})
                stage.broker.enqueue(message)
            finished.wait_for(client(), MESSAGES)
            return MESSAGES

        def relay() -> float:
            run(
                POSTS,
                text("""
                INSERT INTO outbox (event, payload) SELECT 'post_edited', '{"post_id": 1}' FROM generate_series(1, :number)
            """),
                {"number": MESSAGES},
            )
            commit()
            while run(POSTS, text("SELECT EXISTS (SELECT FROM outbox)")).scalar_one():
                commit()
                time.sleep(0.01)
            return MESSAGES

        result = {"echo": meter.micros(echo)}
        started = time.perf_counter()
        result["relay"] = {"events_s": relay() / (time.perf_counter() - started)}
        finished.wait_for(client(), MESSAGES)
        return result


def warms(stage: Stage, settings: Settings, meter: Meter) -> Figures:
    """A feed of 1000 posts by 50 authors, of 20,000 that are warmed together."""
    stage.queue("feed")
    people = [world.user(number) for number in range(world.VILLAGERS)]
    with stage.app(settings), worker(settings, stage.folder):
        warm_all(people)
        return meter.micros(lambda: warm_all(people) and float(len(people)))


def memory(stage: Stage, settings: Settings) -> Figures:
    """Redis bytes: a feed's entry, a feed beside its entries, a body beside its text."""
    with stage.app(settings):
        number, next_user = 2_000, 0
        sizes = {}
        for entries in (100, 1_000):
            users = [world.user(next_user + n) for n in range(number)]
            next_user, before = next_user + number, _used()
            for user in users:
                lease = timeline.begin(user)
                assert lease is not None
                timeline.commit(user, lease, world.newest_posts(entries))
            for later in range(50):
                timeline.push(users, world.post(entries + later))
            kept = entries + 50 if entries < 1_000 else 1_000
            sizes[kept] = (_used() - before) / number
        (few, small), (many, large) = sorted(sizes.items())
        entry = (large - small) / (many - few)
        before = _used()
        posts = run(POSTS, text("SELECT id FROM posts ORDER BY id LIMIT 10000")).scalars()
        read = bodies.read_versioned(list(posts))
        bodies.put(read.items())
        body = (_used() - before) / len(read) - len(world.TEXT.format(10_000))
        return {"entry": entry, "feed": small - few * entry, "body": body}


def _used() -> int:
    return int(client().info("memory")["used_memory"])  # type: ignore[index]


def _wal() -> int:
    return int(run(POSTS, text("SELECT pg_current_wal_insert_lsn() - CAST('0/0' AS pg_lsn)")).scalar_one())


def fill_users(settings: Settings) -> None:
    """Users with names as people have them, two hundred characters of biography, and a real hash."""
    connection = psycopg2.connect(settings.users_database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO users (id, first_name, second_name, birthdate, biography, city, password_hash)
            SELECT %s + (n::bigint << 22) + (n & 4095), initcap(left(md5(n::text), 6)), initcap(left(md5(n || 'x'), 8)),
                '1990-01-31', repeat(md5(n::text), 7), 'Some city', %s
            FROM generate_series(0, %s) n ORDER BY md5(n::text)
            """,
            (world.user(0), PasswordHasher().hash(PASSWORD), TOWNSMEN - 1),
        )
    connection.close()


def fill_rows(cursor: Cursor) -> None:
    """A million follows and posts, follows in the order in which they come about, so that indexes are as full as in use."""
    rows = random.Random(world.SEED)
    people = 20_000
    pairs = [
        (reader, reader + step) for reader in range(people) for step in rows.sample(range(1, people), ROWS // people)
    ]
    rows.shuffle(pairs)
    world.insert_follows(cursor, pairs)
    world.insert_posts(cursor, world.shuffled(rows, range(people), ROWS // people))


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
        (settings.users_database_url, "users", TOWNSMEN),
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


def main() -> None:
    with own_postgresql() as postgresql, open_stage(quick=False) as stage:
        meter, village = Meter(postgresql), stage.settings("village", world.village)
        fill_users(village)
        connection = psycopg2.connect(village.posts_database_url)
        with connection, connection.cursor() as cursor:
            world.insert_follows(cursor, ((follower, AUTHOR) for follower in range(FEW)))
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")
        connection.close()
        result: dict[str, object] = {}
        for name, measure in (
            ("rows_bytes", lambda: rows(stage)),
            ("redis_bytes", lambda: memory(stage, village)),
            ("rebuild_us", lambda: rebuilds(stage, village, meter)),
            ("read_us", lambda: reads(stage, village, meter)),
            ("warm_us", lambda: warms(stage, village, meter)),
            ("delivery_us", lambda: deliveries(stage, stage.settings("crowds", world.crowds), meter)),
            ("message_us", lambda: messages(stage, village, meter)),
            ("write_us", lambda: writes(stage, village, meter)),
        ):
            if len(sys.argv) == 1 or name in sys.argv:
                print(name, file=sys.stderr)
                result[name] = measure()
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
