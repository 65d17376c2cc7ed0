"""Deliveries: from messages that wait in RabbitMQ to feeds that are updated and checked, by one worker process."""

import csv
import io
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import dramatiq
from sqlalchemy import make_url

from app.db.engine import commit
from app.feed.cache import timeline
from app.feed.rebuild import rebuild_or_raise
from app.posts import store
from app.redis.client import client
from app.settings import Settings
from benchmarks import completion, datasets
from benchmarks.comparison import FLOOR, OURS, PEER, Contest, Goal, Measure, Unavailable
from benchmarks.environment import Stage, raw_redis
from benchmarks.processes import paused, worker
from local.managed_process import Process

CAP = 1_000
BATCH = 2_000  # followers in one message: FEED_FANOUT_BATCH's default
SHORT = 100  # cap where a million feeds have to fit into memory
DATABASE = "1"  # of the floor's own lists
FLOOR_PUSHES, QUICK_FLOOR_PUSHES = 2_000_000, 200_000


def deliver(stage: Stage) -> Iterator[Contest]:
    """Deliveries a second of a post to 100,000 full feeds: pushed, and checked against SQL.

    Beside redis-benchmark, a C client that only sends LPUSH, 64 at a time on 8 connections, to as many lists.
    """
    settings = stage.settings("by_follower_count", datasets.by_follower_count)
    users = [datasets.user(number) for number in range(datasets.LARGE // (10 if stage.quick else 1))]
    floor = _redis_benchmark(settings, len(users), QUICK_FLOOR_PUSHES if stage.quick else FLOOR_PUSHES)
    queue = stage.queue("feed")
    with stage.app(settings), worker(settings, stage.folder) as process:
        datasets.fill_feeds(users, CAP)
        sides = {
            OURS: lambda: deliver_to(stage, process, queue, datasets.AUTHOR_OF[datasets.LARGE], users, posts=1),
            FLOOR: floor,
        }
        yield Contest("deliveries/s", sides, [Goal("deliver to 100 000 followers", "≥", (0.25, 0.4), FLOOR)])


def deliver_plain(stage: Stage) -> Iterator[Contest]:
    """The same with 1,000 followers, beside the plain form: a message a follower, each rebuilding the feed from SQL."""
    settings = stage.settings("shared_author", datasets.shared_author)
    users = [datasets.user(number) for number in range(datasets.NEIGHBOURS)]
    queue, peer_queue = stage.queue("feed"), stage.queue("peer")
    with (
        stage.app(settings),
        worker(settings, stage.folder) as process,
        worker(settings, stage.folder, "benchmarks.peer_worker") as peer,
    ):
        for user in users:
            rebuild_or_raise(user)
        rebuilds = [_message(peer_queue, "rebuild", user) for user in users]
        sides: dict[str, Measure] = {
            OURS: lambda: deliver_to(stage, process, queue, datasets.user(datasets.NEIGHBOUR_AUTHOR), users, posts=100),
            PEER: lambda: len(users) / _carry_out(stage, peer, rebuilds, len(rebuilds)),
        }
        yield Contest("deliveries/s", sides, [Goal("deliver, beside rebuilding", "≥", (100,), PEER)])


def scale(stage: Stage) -> Iterator[Contest]:
    """Time for each delivery, all included that follows a post: the event, the fan-out in batches, the deliveries.

    One post with 1,000,000 followers beside 50 posts with 1,000 each. Feeds hold 100 posts here.
    """
    settings = replace(stage.settings("by_follower_count", datasets.by_follower_count), feed_cap=SHORT)
    users = [datasets.user(number) for number in range(datasets.HUGE // (10 if stage.quick else 1))]
    queue = stage.queue("feed")
    stage.queue("bulk")
    with stage.app(settings), worker(settings, stage.folder) as process:
        datasets.fill_feeds(users, SHORT)
        sides: dict[str, Measure] = {
            OURS: lambda: fan_out(stage, process, queue, datasets.AUTHOR_OF[datasets.HUGE], len(users), posts=1),
            FLOOR: lambda: fan_out(stage, process, queue, datasets.AUTHOR_OF[datasets.SMALL], datasets.SMALL, posts=50),
        }
        yield Contest("µs", sides, [Goal("a delivery of 1 000 000, beside 1 000", "≤", (1.2,), FLOOR)])


def deliver_to(stage: Stage, process: Process, queue: str, author: int, users: Sequence[int], *, posts: int) -> float:
    """Deliveries a second of new posts of an author to these users."""
    batches = [users[start : start + BATCH] for start in range(0, len(users), BATCH)]
    messages = [
        _message(queue, "deliver", timeline.PUSH, post_id, author, batch)
        for post_id in _new_posts(author, posts)
        for batch in batches
    ]
    seconds = _carry_out(stage, process, messages, len(messages))
    return posts * len(users) / seconds


def send_and_wait(stage: Stage, queue: str, author: int, followers: int) -> None:
    """Send the event of a new post, and wait until it is in all feeds."""
    [post_id] = _new_posts(author, 1)
    stage.broker.enqueue(_message(queue, "post_created", post_id, author))
    completion.wait_for(client(), 1 + -(-followers // BATCH))


def fan_out(stage: Stage, process: Process, queue: str, author: int, followers: int, *, posts: int) -> float:
    """Measure microseconds per delivery of an author's new posts, including the event of the post."""
    batches = -(-followers // BATCH)
    messages = 1 + batches if batches > 1 else 1  # a single batch needs none beside the post's
    return posting(stage, process, queue, author, messages, posts=posts) / followers * 1e6


def posting(
    stage: Stage,
    process: Process,
    queue: str,
    author: int,
    messages: int,
    *,
    posts: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Measure seconds, by `clock`, from an author's new post until its messages are finished."""
    events = [_message(queue, "post_created", post_id, author) for post_id in _new_posts(author, posts)]
    return _carry_out(stage, process, events, posts * messages, clock) / posts


def _new_posts(author: int, number: int) -> list[int]:
    """Posts without events: the messages that follow are sent here."""
    ids = [store.insert_post(author, "hello") for _ in range(number)]
    commit()
    return ids


def _carry_out(
    stage: Stage,
    process: Process,
    messages: Sequence[dramatiq.Message[None]],
    number: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds from when `messages` wait for the worker to when it has finished `number`."""
    with paused(process):
        for message in messages:
            stage.broker.enqueue(message)
        started = clock()
    completion.wait_for(client(), number)
    return clock() - started


def _message(queue: str, actor: str, *arguments: object) -> dramatiq.Message[None]:
    return dramatiq.Message(queue_name=queue, actor_name=actor, args=arguments, kwargs={}, options={})


def _redis_benchmark(settings: Settings, lists: int, pushes: int) -> Measure:
    program = shutil.which("redis-benchmark")
    if program is None:
        raise Unavailable("needs redis-benchmark on the PATH")
    port = str(make_url(settings.redis_url).port)
    command = [
        program,
        "-p",
        port,
        "--dbnum",
        DATABASE,
        "-P",
        "64",
        "-c",
        "8",
        "-n",
        str(pushes),
        "-r",
        str(lists),
        "--csv",
    ]
    command += ["LPUSH", "list:__rand_int__", str(datasets.post(0))]

    own = raw_redis(settings, int(DATABASE))

    def measure() -> float:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        own.flushdb()
        return float(list(csv.reader(io.StringIO(output)))[-1][1])

    return measure
