"""Processor time of each operation of Lenta, by program.

What is counted is the time that processes spent on a processor, not the time that passed: it says the same beside other
work.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPConnection
from urllib.parse import urlsplit

import dramatiq
import psutil
from sqlalchemy import text

from app.auth.tokens import issue_token
from app.db.engine import POSTS, commit, execute
from app.feed.rebuild import rebuild_or_raise
from app.redis.client import client
from app.settings import Settings
from benchmarks import completion, datasets
from benchmarks.delivering import fan_out
from benchmarks.environment import Stage
from benchmarks.load import rate
from benchmarks.memory import PASSWORD
from benchmarks.processes import web, worker
from benchmarks.rebuilding import warm_all

POSTS_WRITTEN, FOLLOWS_WRITTEN, LOGINS, MESSAGES = 1_000, 500, 40, 5_000
AUTHOR, FEW = 1_000_000, 10  # an author with so few followers that their posts cost as good as no deliveries
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
        """Measure microseconds per program and operation of `work`, which returns its number of operations."""
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


def reads(stage: Stage, settings: Settings, meter: Meter) -> Figures:
    """A page of ten by /post/feed from warm feeds, texts of a hundred characters."""
    with stage.app(settings):
        readers = [datasets.user(number) for number in range(64)]
        tokens = [issue_token(reader) for reader in readers]
        for reader in readers:
            rebuild_or_raise(reader)
        with web(settings, stage.folder) as url:
            page = f"{url}/post/feed?limit=10"
            rate(page, tokens, 1, stage.folder)
            return meter.micros(lambda: 5 * rate(page, tokens, 5, stage.folder))


def rebuilds(stage: Stage, settings: Settings, meter: Meter) -> Figures:
    """Measure the rebuild of a cold feed of 1000 posts by 50 authors."""
    with stage.app(settings):
        users = [datasets.user(number) for number in range(500)]
        rebuild_or_raise(users[0])

        def work() -> float:
            for user in users:
                rebuild_or_raise(user)
                commit()
            return len(users)

        before = _spent(psutil.Process())
        return meter.micros(work) | {"worker": (_spent(psutil.Process()) - before) / len(users) * 1e6}


def writes(stage: Stage, settings: Settings, meter: Meter) -> dict[str, Figures]:
    """A post by an author with few followers, a follow, a log-in: over HTTP, and all that a worker does after."""
    stage.queue("feed")
    open_ = replace(settings, login_rate_per_account="off", login_rate_per_address="off")
    author = datasets.user(AUTHOR)
    with stage.app(settings):
        datasets.fill_feeds([datasets.user(number) for number in range(FEW)], 1_000)  # an empty Redis would be warmed
        with web(open_, stage.folder) as url, worker(settings, stage.folder):
            connection = HTTPConnection(urlsplit(url).netloc)

            def call(method: str, path: str, user: int, **body: str) -> None:
                headers = {"X-Auth": tokens[user], "Content-Type": "application/json"}
                connection.request(method, path, json.dumps(body) if body else None, headers)
                answer = connection.getresponse()
                said = answer.read()
                assert answer.status == 200, said

            tokens = {user: issue_token(user) for user in map(datasets.user, range(FOLLOWS_WRITTEN + 1))}
            tokens[author] = issue_token(author)

            def post(number: int = POSTS_WRITTEN) -> float:
                for n in range(number):
                    call("POST", "/post/create", author, text=datasets.TEXT.format(n))
                completion.wait_for(client(), 2 * number)  # the event, and one message for all followers
                return number

            def follow() -> float:
                for n in range(FOLLOWS_WRITTEN):
                    call("PUT", f"/friend/set/{datasets.user(datasets.VILLAGERS + n)}", datasets.user(n))
                completion.wait_for(client(), FOLLOWS_WRITTEN)
                return FOLLOWS_WRITTEN

            def log_in() -> float:
                for _ in range(LOGINS):
                    call("POST", "/login", author, id=str(datasets.user(0)), password=PASSWORD)
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
    """Measure one delivery to 100,000 full feeds, including the fan-out, in batches of a thousand.

    One post after the other: of several at once some come out of order, and take longer.
    """
    queue, followers, posts = stage.queue("feed"), datasets.LARGE, 10
    stage.queue("bulk")
    with stage.app(settings), worker(settings, stage.folder) as process:
        datasets.fill_feeds([datasets.user(number) for number in range(followers)], 1_000)

        def work(number: int = posts) -> float:
            for _ in range(number):
                fan_out(stage, process, queue, datasets.AUTHOR_OF[followers], followers, posts=1)
            return number * followers

        work(1)
        return meter.micros(work)


def messages(stage: Stage, settings: Settings, meter: Meter) -> dict[str, Figures]:
    """Measure an empty message, and the events a second that one relay publishes to RabbitMQ."""
    queue = stage.queue("echo")
    stage.queue("feed")
    with stage.app(settings), worker(settings, stage.folder):

        def echo() -> float:
            for _ in range(MESSAGES):
                message = dramatiq.Message(queue_name=queue, actor_name="echo", args=("echo",), kwargs={}, options={})
                stage.broker.enqueue(message)
            completion.wait_for(client(), MESSAGES)
            return MESSAGES

        def relay() -> float:
            insert = """
                INSERT INTO outbox (event, payload) SELECT 'post_edited', '{"post_id": 1}'
                FROM generate_series(1, :number)
            """
            execute(POSTS, text(insert), {"number": MESSAGES})
            commit()
            while execute(POSTS, text("SELECT EXISTS (SELECT FROM outbox)")).scalar_one():
                commit()
                time.sleep(0.01)
            return MESSAGES

        result = {"echo": meter.micros(echo)}
        started = time.perf_counter()
        result["relay"] = {"events_s": relay() / (time.perf_counter() - started)}
        completion.wait_for(client(), MESSAGES)
        return result


def warms(stage: Stage, settings: Settings, meter: Meter) -> Figures:
    """A feed of 1000 posts by 50 authors, of 20,000 that are warmed together."""
    stage.queue("feed")
    people = [datasets.user(number) for number in range(datasets.VILLAGERS)]
    with stage.app(settings), worker(settings, stage.folder):
        warm_all(people)
        return meter.micros(lambda: warm_all(people) and float(len(people)))


def _wal() -> int:
    return int(execute(POSTS, text("SELECT pg_current_wal_insert_lsn() - CAST('0/0' AS pg_lsn)")).scalar_one())
