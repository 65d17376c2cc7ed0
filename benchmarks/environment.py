"""The isolated environment of a benchmark run: databases, Redis, RabbitMQ namespace.

PostgreSQL   TEST_POSTGRES_URL, or the one on 127.0.0.1:5432, or a wheel's    databases made and dropped
Redis        a process of the run: Debian's redis-server, or a wheel's Valkey
RabbitMQ     TEST_BROKER_URL, or the one on 127.0.0.1:5672                    queues of a namespace, deleted at the end
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import dramatiq
import psycopg2
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from flask import Flask
from flask_migrate import upgrade

from app.db.engine import POSTS, USERS, db
from app.factory import create_app
from app.feed.maintenance import trust
from app.redis.client import client, close, replication_ids
from app.settings import OFF, Settings
from benchmarks.comparison import Unavailable
from benchmarks.datasets import without_indexes
from benchmarks.processes import ROOT
from local.managed_process import Process
from local.ports import answers, free_port
from local.services import start_postgresql, start_valkey
from workers.broker import QUEUES

Fill = Callable[[psycopg2.extensions.cursor, bool], None]  # a cursor of the posts database; whether data is to be small


@dataclass
class Stage:
    """`quick` asks for small data. Databases are kept by name until the end of the run, Redis is emptied by `app`."""

    quick: bool
    folder: Path
    redis_url: str
    postgres_url: str  # with {} for the database
    _stack: ExitStack
    _run: str = field(default_factory=lambda: f"lenta_bench_{uuid4().hex[:8]}")
    _made: dict[str, Settings] = field(default_factory=dict)

    def settings(self, name: str, fill: Fill | None = None) -> Settings:
        """Settings with databases of this name, which `fill` has filled when they were made."""
        if name not in self._made:
            settings = self._create(name, template=self._empty)
            if fill:
                self._fill(settings, fill)
            self._made[name] = settings
        return self._made[name]

    @contextmanager
    def app(self, settings: Settings) -> Iterator[Flask]:
        """Provide an application context on an empty Redis."""
        app = create_app(settings)
        app.testing = True  # migrations leave logging alone
        with app.app_context():
            client().flushall()
            client().set(trust.TRUSTED_KEY, replication_ids())  # a worker that finds no mark asks for warming
            yield app
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()
        close(app)

    @cached_property
    def broker(self) -> dramatiq.Broker:
        """RabbitMQ, for sending to the actors of a worker. Raises Unavailable."""
        url = self._broker_url
        if not url.startswith("amqp"):
            raise Unavailable("needs RabbitMQ: none on 127.0.0.1:5672, and TEST_BROKER_URL names none")
        url += ("&" if "?" in url else "?") + "heartbeat=0"  # unanswered while another benchmark runs
        broker = RabbitmqBroker(url=url, confirm_delivery=True, middleware=[])
        self._stack.callback(self._delete_queues, broker)
        return broker

    def queue(self, name: str) -> str:
        """A queue of this run's namespace, declared."""
        queue = f"{self._run}.{name}"
        self.broker.declare_queue(queue, ensure=True)  # type: ignore[call-arg]
        return queue

    @property
    def _broker_url(self) -> str:
        local = "amqp://guest:guest@127.0.0.1:5672/" if answers(5672) else "redis://127.0.0.1:1"
        return os.environ.get("TEST_BROKER_URL") or local

    @cached_property
    def _empty(self) -> Settings:
        """Migrated databases, from which all others are copied."""
        settings = self._create("empty", template=None)
        with self.app(settings):
            upgrade(str(ROOT / "migrations"))
        return settings

    def _create(self, name: str, template: Settings | None) -> Settings:
        names = {bind: f"{self._run}_{name}_{bind}" for bind in (USERS, POSTS)}
        for bind, database in names.items():
            source = f" TEMPLATE {self._run}_empty_{bind}" if template else ""
            self._execute(f"CREATE DATABASE {database}{source}")
            self._stack.callback(self._execute, f"DROP DATABASE {database} WITH (FORCE)")
        return Settings(
            users_database_url=self.postgres_url.format(names[USERS]),
            posts_database_url=self.postgres_url.format(names[POSTS]),
            redis_url=self.redis_url,
            broker_url=self._broker_url,
            broker_namespace=self._run,
            jwt_secret_key=uuid4().hex,
            post_rate_per_account=OFF,
            follow_rate_per_account=OFF,
            redis_timeout_ms=10_000,  # other load on the machine must not send readers to SQL
            log_level="warning",
        )

    def _execute(self, statement: str) -> None:
        connection = psycopg2.connect(self.postgres_url.format("postgres"))
        connection.autocommit = True
        connection.cursor().execute(statement)
        connection.close()

    def _fill(self, settings: Settings, fill: Fill) -> None:
        connection = psycopg2.connect(settings.posts_database_url)
        with connection, connection.cursor() as cursor, without_indexes(cursor):
            fill(cursor, self.quick)
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")  # as autovacuum would have, some time after
        connection.close()

    def _delete_queues(self, broker: RabbitmqBroker) -> None:
        of_workers = {f"{self._run}.{name}" for name in QUEUES}
        for name in of_workers.union(broker.queues):
            for queue in (name, f"{name}.DQ", f"{name}.XQ"):
                broker.channel.queue_delete(queue)
        broker.close()


@contextmanager
def open_stage(*, quick: bool) -> Iterator[Stage]:
    with ExitStack() as stack:
        # As root, PostgreSQL's user must reach the folder, and the socket's path must fit into 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="lenta-bench-"))
        folder.chmod(0o755)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        redis_url = _start_redis(folder, stack)
        yield Stage(quick, folder, redis_url, _find_postgresql(folder, stack), stack)


def _start_redis(folder: Path, stack: ExitStack) -> str:
    program = shutil.which("redis-server")
    if program is None:
        valkey = start_valkey(folder / "valkey", persist=False, port=free_port())
        stack.callback(valkey.stop)
        return valkey.url(0)
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = Process("Redis", command, folder / "redis.log", folder=folder)
    stack.callback(process.stop)
    process.wait_ready(lambda: answers(port), 20)
    return f"redis://127.0.0.1:{port}/0"


def _find_postgresql(folder: Path, stack: ExitStack) -> str:
    url = os.environ.get("TEST_POSTGRES_URL") or "postgresql://postgres@127.0.0.1:5432/{}"
    try:
        psycopg2.connect(url.format("postgres"), connect_timeout=3).close()
    except psycopg2.OperationalError:
        if "TEST_POSTGRES_URL" in os.environ:
            raise
        server = start_postgresql(folder / "postgresql")
        stack.callback(server.stop)
        return server.url("DATABASE").replace("DATABASE", "{}")
    return url


def raw_redis(settings: Settings, db_: int = 0) -> redis.Redis:
    """A client that is not the application's."""
    server, _, _ = settings.redis_url.rpartition("/")  # the URL overrides arguments
    return redis.Redis.from_url(f"{server}/{db_}")
