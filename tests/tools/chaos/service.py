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

from app.auth.tokens import issue_token
from app.db.engine import POSTS, USERS, commit, db
from app.factory import create_app
from app.posts import store
from app.redis.client import close
from app.redis.connect import connect, disconnect
from app.settings import OFF, Settings
from app.users.passwords import hash_password
from local.ports import free_port
from tests.factories import Factory
from tests.tools.chaos.clients import PASSWORD
from tests.tools.chaos.servers import Servers, proxy_to, through
from tests.tools.chaos.supervisor import Supervisor
from tests.tools.network import Network
from tests.tools.postgres_pair import PostgresPair
from tests.tools.processes import Process, Web, start_worker
from tests.tools.proxy import Proxy
from tests.tools.redis_groups import ClusterGroup, Group, SentinelGroup
from tests.tools.redis_server import RedisServer

FEED_CAP = 50
SINGLE, SENTINEL, CLUSTER = TOPOLOGIES = ("single", "sentinel", "cluster")  # of Redis
QUEUES = ("feed", "rebuild", "bulk", "warm")
WORKER = ["dramatiq", "workers.main", "--processes", "2", "--threads", "4"]


class Service(ExitStack):
    """The service; leaving its context removes its databases and queues."""

    proxies: list[Proxy]
    network: Network  # with its group and the worker's host; only where Redis is not single
    group: Group
    pair: PostgresPair | None = None  # only where there is a network

    def __init__(self, servers: Servers, folder: Path, pull_followers: int = 0, topology: str = SINGLE) -> None:
        super().__init__()
        self.topology = topology
        self.pull_followers = pull_followers
        self.turns: set[tuple[int, int]] = set()  # of authors, at the last count
        self.servers, self.folder, self.run = servers, folder, uuid4().hex[:8]
        self.databases = {bind: f"lenta_chaos_{bind}_{self.run}" for bind in (USERS, POSTS)}
        address = self._start_redis()
        if topology == SINGLE:
            self.postgres = proxy_to(servers.postgres_url.format("postgres"), 5432, address)
            self.proxies.append(self.postgres)
        else:
            self.pair = PostgresPair(self.network, folder / "postgresql")
            self.callback(self.pair.close)
        self._create_databases()
        self.rabbitmq = proxy_to(servers.rabbitmq_url, 5672, address)
        self.proxies.append(self.rabbitmq)
        for proxy in self.proxies:
            self.callback(proxy.close)
        self.settings = self._settings()

    def start(self) -> None:
        web_log, worker_log = self.folder / "web.log", self.folder / "worker.log"
        self.callback(self._drop_queues)
        start_worker(self.settings, worker_log).stop()  # the queues are declared, and all imports work
        host = self.network.hosts["worker"].command([]) if self.topology != SINGLE else []
        self.worker = Supervisor(lambda: Process(WORKER, self.settings, worker_log, host))
        self.callback(self.worker.close)
        self.web = Supervisor(lambda: Web(self.settings, web_log))
        self.callback(self.web.close)
        Web.wait(self.web.process)  # type: ignore[arg-type]

    def populate(self, users: int) -> dict[int, str]:
        """Migrate, and make people. Returns the token of each."""
        app = self._direct_app()
        with app.app_context():
            upgrade()
            known = hash_password(PASSWORD)  # of all: a storm of log-ins is to cost what real ones cost
            tokens = {user_id: issue_token(user_id) for user_id in Factory().people(users, password_hash=known)}
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

    def write(self, author: int, texts: list[str]) -> list[int]:
        """Posts from before the service started, without events."""
        app = self._direct_app()
        with app.app_context():
            post_ids = [store.insert_post(author, text) for text in texts]
            commit()
            dispose(app)
        return [post_id for post_id in post_ids if post_id]

    def heal(self) -> None:
        """Revert all faults, so that everything runs again."""
        for proxy in self.proxies:
            proxy.restore()
        self.worker.resume()
        self.web.resume()

    def url(self, bind: str) -> str:
        """Return the URL of a database for which no fault is in the way."""
        return self._server_url(self.databases[bind])

    def sql(self, bind: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Query on a separate connection that bypasses the proxy."""
        with closing(psycopg2.connect(self.url(bind))) as connection:
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
        return Settings(
            users_database_url=self._service_url(USERS),
            posts_database_url=self._service_url(POSTS),
            redis_url=self._redis_url,
            broker_url=through(self.servers.rabbitmq_url, self.rabbitmq),
            broker_namespace=f"lenta-chaos-{self.run}",
            jwt_secret_key="a key for chaos, which has more than 32 bytes",
            feed_cap=FEED_CAP,
            feed_fanout_batch=10,
            feed_bulk_followers=30,
            feed_pull_followers=self.pull_followers,
            login_rate_per_account=OFF,
            login_rate_per_address=OFF,
            post_rate_per_account=OFF,
            edit_rate_per_account=OFF,
            follow_rate_per_account=OFF,
            port=free_port(),
        )

    def _start_redis(self) -> str:
        """Start it in its topology. Returns the address at which the service reaches the other servers."""
        if self.topology == SINGLE:
            self.redis_server = RedisServer(self.folder / "redis")
            self.callback(self.redis_server.close)
            self.redis = proxy_to(f"redis://127.0.0.1:{self.redis_server.port}", 6379)
            self.proxies = [self.redis]
            self.redis_client, self._redis_url = self.redis_server.client, f"redis://127.0.0.1:{self.redis.port}/0"
            return "127.0.0.1"
        self.network, self.proxies = self.enter_context(Network()), []
        self.network.host("worker")
        kind = SentinelGroup if self.topology == SENTINEL else ClusterGroup
        self.group = kind(self.network, self.folder / "redis")
        self.callback(self.group.close)
        self.redis_client, self._redis_url = connect(self.group.url, 5), self.group.url
        self.callback(disconnect, self.redis_client)
        return self.network.here.ip

    def _direct_app(self) -> Flask:
        urls = {"users_database_url": self.url(USERS), "posts_database_url": self.url(POSTS)}
        return create_app(replace(self.settings, **urls))

    def _service_url(self, bind: str) -> str:
        return self.pair.url(self.databases[bind]) if self.pair else through(self.url(bind), self.postgres)

    def _server_url(self, database: str) -> str:
        return self.pair.primary.url(database) if self.pair else self.servers.postgres_url.format(database)

    def _create_databases(self) -> None:
        with closing(psycopg2.connect(self._server_url("postgres"))) as server:
            server.autocommit = True
            for name in self.databases.values():
                server.cursor().execute(f"CREATE DATABASE {name}")
        self.callback(self._drop_databases)

    def _drop_databases(self) -> None:
        with closing(psycopg2.connect(self._server_url("postgres"))) as server:
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
    close(app)
