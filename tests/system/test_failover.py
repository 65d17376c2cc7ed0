"""A Redis Cluster loses primaries under load: every request is answered, no page is wrong, and nothing is lost."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle, pairwise
from pathlib import Path
from time import monotonic, sleep

import pytest
import redis
from flask import Flask

from app.auth.tokens import issue_token
from app.db.engine import db
from app.factory import create_app
from app.feed.cache import timeline
from app.posts.outbox import oldest_age
from app.redis.client import client, close
from app.settings import Settings
from local.ports import free_port
from tests.conftest import RUN, clean, require_cluster
from tests.factories import Factory, eventually
from tests.system.test_end_to_end import drop_queues
from tests.tools.processes import Process, Web, start_worker
from tests.tools.redis_cluster import Node, RedisCluster

log = logging.getLogger(__name__)

AUTHORS, READERS, OLD_POSTS = 5, 40, 10
SLOWEST_SECONDS = 10.0  # the time-outs are 0.5 s; the machine has other work
LOAD_SECONDS = 2.0  # before and after each death


@dataclass
class Service:
    app: Flask
    cluster: RedisCluster
    web: Web
    worker: Process
    authors: list[int]
    readers: list[int]


@pytest.fixture
def service(_migrated: Settings, rabbitmq_url: str, tmp_path: Path) -> Iterator[Service]:
    require_cluster()
    cluster = RedisCluster(tmp_path / "cluster", node_timeout_ms=1000)
    settings = replace(
        _migrated,
        redis_url=cluster.url,
        broker_url=rabbitmq_url,
        broker_namespace=f"lenta-failover-{RUN}",
        port=free_port(),
        redis_timeout_ms=500,
    )
    app = create_app(settings)
    clean(app)
    with app.app_context():
        world = Factory()
        authors, readers = world.people(AUTHORS), world.people(READERS)
        for reader in readers:
            world.follow(reader, *authors)
        for author in authors:
            world.posts(author, OLD_POSTS)
        worker = start_worker(settings, tmp_path / "worker.log")
        web = Web(settings, tmp_path / "web.log").wait()
        service = Service(app, cluster, web, worker, authors, readers)
        try:
            eventually(lambda: noticed(service) == 1, "the new Cluster was noticed")
            assert app.test_cli_runner().invoke(args=["warm-cache", "--wait"]).exit_code == 0
            yield service
        finally:
            web.stop()
            worker.stop()
            for engine in db.engines.values():
                engine.dispose()
    close(app)
    drop_queues(rabbitmq_url, settings.broker_namespace)
    cluster.close()


@dataclass
class Load:
    """Runs authors and readers until `stop`; failures are in `wrong`."""

    service: Service
    settled: list[str]  # the posts already seen by all, newest first
    written: int = 0
    read: int = 0
    slowest: float = 0.0
    wrong: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        with self.service.app.app_context():
            self._tokens = {user_id: issue_token(user_id) for user_id in self.service.authors + self.service.readers}
        works: list[Callable[[], None]] = [self._write, self._read, self._read]
        self._threads = [threading.Thread(target=self._keep, args=(work,), daemon=True) for work in works]
        self._lock = threading.Lock()
        self._next = {"write": cycle(self.service.authors), "read": cycle(self.service.readers)}
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _keep(self, work: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                work()
            except Exception as error:
                self.wrong.append(error)

    def _write(self) -> None:
        self._timed("POST", "/post/create", self._user("write"), {"text": "hello"})
        self.written += 1

    def _read(self) -> None:
        page = self._timed("GET", "/post/feed?limit=1000", self._user("read"), None)
        ids = [post["id"] for post in page]
        if ids[-len(self.settled) :] != self.settled or not all(int(a) > int(b) for a, b in pairwise(ids)):
            self.wrong.append(ids)
        self.read += 1

    def _user(self, what: str) -> int:
        with self._lock:
            return next(self._next[what])

    def _timed(self, method: str, path: str, user_id: int, body: object) -> list[dict[str, str]]:
        start = monotonic()
        status, answer, _ = self.service.web.call(method, path, self._tokens[user_id], body)
        self.slowest = max(self.slowest, monotonic() - start)
        if status != 200:
            self.wrong.append((status, method, path, answer))
        return answer  # type: ignore[no-any-return]


def test_two_failovers_under_load_lose_nothing(service):
    cluster = service.cluster
    settled = [str(post_id) for post_id in Factory().truth(service.readers[0])]
    load = Load(service, settled)
    sleep(LOAD_SECONDS)

    with cluster_killed(cluster, cluster.primary_of(timeline.HOME.key(service.readers[0]))) as first:
        sleep(LOAD_SECONDS)
    cluster.wait()
    assert not first.is_primary
    with cluster_killed(cluster, cluster.primary_of(timeline.HOME.key(service.readers[0]))):
        assert first.is_primary
        sleep(LOAD_SECONDS)
    cluster.wait()
    load.stop()
    log.info("%d writes, %d pages read, slowest answer %.2f s", load.written, load.read, load.slowest)

    assert load.wrong == []
    assert load.slowest < SLOWEST_SECONDS
    eventually(lambda: oldest_age() is None, "the outbox is empty", 60)
    eventually(lambda: noticed(service) == 3, f"both were noticed, {service.worker.log}")
    verify(service, "--repair")
    verify(service)
    truth = Factory().truth(service.readers[0])
    assert len(truth) == len(settled) + load.written
    eventually(
        lambda: all(Factory().feed(reader) == [*truth[:1000], 0] for reader in service.readers), "all are warm", 60
    )


@contextlib.contextmanager
def cluster_killed(cluster: RedisCluster, node: Node) -> Iterator[Node]:
    """Kill a primary, promote its replica, and start the old primary as a replica."""
    start = monotonic()
    before = {primary.port for primary in cluster.primaries()}
    node.kill()
    eventually(lambda: {primary.port for primary in cluster.primaries()} - before, "the replica was promoted", 30)
    promoted = monotonic() - start

    def serves() -> bool:
        with contextlib.suppress(redis.RedisError):
            return client().get(b"x") is None and bool(client().ping())
        return False

    eventually(serves, "the Cluster serves again")
    log.info("promoted after %.1f s, all slots served after %.1f s", promoted, monotonic() - start)
    yield node
    node.start()


def noticed(service: Service) -> int:
    return service.worker.log.read_text().count("warming requested")


def verify(service: Service, *options: str) -> None:
    done = service.app.test_cli_runner().invoke(args=["verify-feeds", *options])
    log.info("verify-feeds: %s", done.output)
    assert done.exit_code == 0, done.output
