"""The service under test: its processes, its servers behind proxies, and a side door to each server."""

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import psycopg2
from flask import Flask
from flask_migrate import upgrade

from app import create_app
from app.auth import issue_token
from app.db import POSTS, USERS, commit, db
from app.posts import store
from app.redis import hang_up
from app.settings import Settings
from tests.chaos.redis_server import RedisServer
from tests.chaos.servers import Servers, proxy_to, through
from tests.chaos.supervisor import Supervisor
from tests.processes import Process, Web, free_port, start_worker
from tests.world import World

FEED_CAP = 50
QUEUES = ("feed", "bulk", "warm")
WORKER = ["dramatiq", "workers.main", "--processes", "2", "--threads", "4"]


class Service(ExitStack):
    """Runs from `start` to the end of its context, which takes its databases and queues away."""

    def __init__(self, servers: Servers, folder: Path, pull_followers: int = 0) -> None:
        super().__init__()
        self.pull_followers = pull_followers
        self.turns = 0  # the number of the last one that was counted
        self.servers, self.folder, self.run = servers, folder, uuid4().hex[:8]
        self.databases = {bind: f"lenta_chaos_{bind}_{self.run}" for bind in (USERS, POSTS)}
        self._create_databases()
        self.redis_server = RedisServer(folder / "redis")
        self.callback(self.redis_server.close)
        self.postgres = proxy_to(servers.postgres_url.format("postgres"), 5432)
        self.rabbitmq = proxy_to(servers.rabbitmq_url, 5672)
        self.redis = proxy_to(f"redis://127.0.0.1:{self.redis_server.port}", 6379)
        for proxy in (self.postgres, self.rabbitmq, self.redis):
            self.callback(proxy.close)
        self.settings = self._settings()

    def start(self) -> None:
        web_log, worker_log = self.folder / "web.log", self.folder / "worker.log"
        self.callback(self._drop_queues)
        start_worker(self.settings, worker_log).stop()  # the queues are declared, and all imports work
        self.worker = Supervisor(lambda: Process(WORKER, self.settings, worker_log))
        self.callback(self.worker.close)
        self.web = Supervisor(lambda: Web(self.settings, web_log))
        self.callback(self.web.close)
        Web.wait(self.web.process)  # type: ignore[arg-type]

    def populate(self, users: int) -> dict[int, str]:
        """Migrate, and make people. Returns the token of each."""
        app = self._direct_app()
        with app.app_context():
            upgrade()
            tokens = {user_id: issue_token(user_id) for user_id in World().people(users)}
            dispose(app)
        return tokens

    def befriend(self, follows: set[tuple[int, int]]) -> None:
        """Follows from before the service started, without events."""
        app = self._direct_app()
        with app.app_context():
            for follower, followee in sorted(follows):
                store.insert_follow(follower, followee)
            commit()
            dispose(app)

    def heal(self) -> None:
        """End what a fault may have left; everybody is there again."""
        for proxy in (self.postgres, self.rabbitmq, self.redis):
            proxy.restore()
        self.worker.resume()
        self.web.resume()

    def sql(self, bind: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows, by a connection of its own that goes round the proxy."""
        with closing(psycopg2.connect(self.servers.postgres_url.format(self.databases[bind]))) as connection:
            cursor = connection.cursor()
            cursor.execute(query, parameters)
            return cursor.fetchall()

    def queue_counts(self) -> dict[str, int]:
        """Messages that are ready on each queue, by its name without the namespace."""
        counts = {}
        with closing(pika.BlockingConnection(pika.URLParameters(self.servers.rabbitmq_url))) as connection:
            channel = connection.channel()
            for name in _queue_names():
                declared = channel.queue_declare(f"{self.settings.broker_namespace}.{name}", passive=True)
                counts[name] = declared.method.message_count
        return counts

    def _settings(self) -> Settings:
        urls = {bind: self.servers.postgres_url.format(name) for bind, name in self.databases.items()}
        return Settings(
            users_database_url=through(urls[USERS], self.postgres),
            posts_database_url=through(urls[POSTS], self.postgres),
            redis_url=f"redis://127.0.0.1:{self.redis.port}/0",
            broker_url=through(self.servers.rabbitmq_url, self.rabbitmq),
            broker_namespace=f"lenta-chaos-{self.run}",
            jwt_secret_key="a key for chaos, which has more than 32 bytes",
            feed_cap=FEED_CAP,
            feed_fanout_batch=10,
            feed_bulk_followers=30,
            feed_pull_followers=self.pull_followers,
            port=free_port(),
        )

    def _direct_app(self) -> Flask:
        urls = {bind: self.servers.postgres_url.format(name) for bind, name in self.databases.items()}
        return create_app(replace(self.settings, users_database_url=urls[USERS], posts_database_url=urls[POSTS]))

    def _create_databases(self) -> None:
        with closing(psycopg2.connect(self.servers.postgres_url.format("postgres"))) as server:
            server.autocommit = True
            for name in self.databases.values():
                server.cursor().execute(f"CREATE DATABASE {name}")
        self.callback(self._drop_databases)

    def _drop_databases(self) -> None:
        with closing(psycopg2.connect(self.servers.postgres_url.format("postgres"))) as server:
            server.autocommit = True
            for name in self.databases.values():
                server.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _drop_queues(self) -> None:
        with closing(pika.BlockingConnection(pika.URLParameters(self.servers.rabbitmq_url))) as connection:
            for name in _queue_names():
                connection.channel().queue_delete(f"{self.settings.broker_namespace}.{name}")


def _queue_names() -> list[str]:
    return [queue + suffix for queue in QUEUES for suffix in ("", ".DQ", ".XQ")]


def dispose(app: Flask) -> None:
    for engine in db.engines.values():
        engine.dispose()
    hang_up(app)
