"""Live events: the connections of one process, and the way of a post to them."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class

from app.auth.tokens import issue_token
from app.posts import service
from app.settings import Settings
from benchmarks import datasets, delivering, reading, writing
from benchmarks.comparison import FLOOR, OURS, Contest, Goal, Measure
from benchmarks.crowd import SSE, WEBSOCKET, Crowd
from benchmarks.environment import Stage
from benchmarks.processes import web, web_process, worker
from local.managed_process import Process
from workers.broker import QUEUES

CONNECTIONS, QUICK_CONNECTIONS = 5_000, 500
AUTHOR = 3_000_000  # by number, the author that all of them follow
MIB = 2**20
SILENT = "silent"  # the namespace of a worker that writes no log


def live(stage: Stage) -> Iterator[Contest]:
    """Measure connections by their memory, events by their time, and what both cost the others."""
    yield from _memory(stage)
    yield from _time(stage)
    yield from _reads(stage)
    yield from _deliveries(stage)


def _memory(stage: Stage) -> Iterator[Contest]:
    """Measure the memory that connections take in one process, by each door."""
    settings, tokens = settings_of(stage), tokens_of(stage)
    for name, door in (("server-sent events", SSE), ("WebSockets", WEBSOCKET)):
        sides = {OURS: taken(stage, settings, tokens, door)}
        yield Contest("MiB", sides, [Goal(f"{len(tokens)} {name} in a process", "≤", (300,), None)])


def _time(stage: Stage) -> Iterator[Contest]:
    """Measure the time from a commit to the event: one client, and a crowd."""
    settings, tokens = settings_of(stage), tokens_of(stage)
    last = datasets.user(len(tokens) - 1)
    stage.queue("feed")
    with stage.app(settings), worker(settings, stage.folder), web(settings, stage.folder) as url:
        datasets.fill_feeds([datasets.user(number) for number in range(len(tokens))], 100)
        with closing(Crowd(url, tokens[-1:])) as client:
            sides: dict[str, Measure] = {
                OURS: writing.sampled(lambda: until_received(client)),
                FLOOR: writing.sampled(lambda: writing.until_visible(datasets.user(AUTHOR), last)),
            }
            yield Contest("ms", sides, [Goal("commit to event, beside to the list", "≤", (1.5,), FLOOR)])
        with closing(Crowd(url, tokens)) as crowd:
            sides = {OURS: lambda: until_received(crowd)}
            yield Contest("s", sides, [Goal(f"a post to {len(tokens)} connected followers", "≤", (1,), None)])


def _reads(stage: Stage) -> Iterator[Contest]:
    """Measure reads a second of a process with idle connections, beside one without."""
    settings = _bounds(stage.settings("many_followees", datasets.many_followees))
    readers = reading.warm_readers(stage)
    with stage.app(settings):
        tokens = [issue_token(datasets.user(number)) for number in range(_number(stage))]
    readers = reading.warm_readers(stage)
    with web(settings, stage.folder) as ours, web(settings, stage.folder) as floor, closing(Crowd(ours, tokens)):
        reading.check(ours + reading.PAGE, readers[0])
        sides = {
            OURS: reading.load(stage, ours + reading.PAGE, readers),
            FLOOR: reading.load(stage, floor + reading.PAGE, readers),
        }
        goal = Goal(f"read a page, with {len(tokens)} idle connections", "≥", (0.9,), FLOOR)
        yield Contest("requests/s", sides, [goal])


def _deliveries(stage: Stage) -> Iterator[Contest]:
    """Measure deliveries without a client, beside a worker that writes no log."""
    settings = stage.settings("by_follower_count", datasets.by_follower_count)
    users = [datasets.user(number) for number in range(datasets.LARGE // (10 if stage.quick else 1))]
    silent = replace(settings, broker_namespace=f"{settings.broker_namespace}.{SILENT}")
    queue, [silent_queue, *_] = stage.queue("feed"), [stage.queue(f"{SILENT}.{name}") for name in ("feed", *QUEUES)]
    with (
        stage.app(settings),
        worker(settings, stage.folder) as process,
        worker(silent, stage.folder, "benchmarks.silent_worker") as other,
    ):
        datasets.fill_feeds(users, delivering.CAP)
        author = datasets.AUTHOR_OF[datasets.LARGE]
        sides: dict[str, Measure] = {
            OURS: lambda: delivering.deliver_to(stage, process, queue, author, users, posts=2),
            FLOOR: lambda: delivering.deliver_to(stage, other, silent_queue, author, users, posts=2),
        }
        yield Contest("deliveries/s", sides, [Goal("deliver with no client, beside no log", "≥", (0.98,), FLOOR)])


def followers(cursor: Cursor, quick: bool) -> None:
    """Create an author with a follower for each connection."""
    number = QUICK_CONNECTIONS if quick else CONNECTIONS
    datasets.insert_follows(cursor, ((follower, AUTHOR) for follower in range(number)))


def _number(stage: Stage) -> int:
    return QUICK_CONNECTIONS if stage.quick else CONNECTIONS


def settings_of(stage: Stage) -> Settings:
    return _bounds(stage.settings("live_followers", followers))


def _bounds(settings: Settings) -> Settings:
    """One process that takes all connections, and requests beside them."""
    return replace(settings, web_workers=1, web_connections=2 * CONNECTIONS, live_connections=CONNECTIONS + 1)


def tokens_of(stage: Stage) -> list[str]:
    with stage.app(settings_of(stage)):
        return [issue_token(datasets.user(number)) for number in range(_number(stage))]


def taken(stage: Stage, settings: Settings, tokens: list[str], door: str) -> Callable[[], float]:
    """The mebibytes that a new process takes more once all have connected."""

    def measure() -> float:
        with stage.app(settings), web_process(settings, stage.folder) as (url, process):
            Crowd(url, tokens[:1], door).close()
            before = _resident(process)
            with closing(Crowd(url, tokens, door)):
                return (_resident(process) - before) / MIB

    return measure


def _resident(process: Process) -> int:
    """Bytes in memory of the children of a process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    lines = [line for pid in children for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def until_received(crowd: Crowd) -> float:
    """Seconds from the commit of a post until all have it."""
    post_id = service.publish(datasets.user(AUTHOR), "hello")
    committed = time.perf_counter()
    crowd.wait_for(str(post_id).encode())
    return time.perf_counter() - committed
