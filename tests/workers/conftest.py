"""Actors on a real broker, in this process."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, xq_name
from flask import Flask
from pika.exceptions import AMQPConnectionError

from app.feed.maintenance import trust
from app.redis.client import client
from app.settings import Settings
from tests.tools.proxy import Proxy
from workers.background import BackgroundTasks
from workers.broker import make_broker


def load_actors(app: Flask) -> ModuleType:
    """The actors on a new broker of `app`."""
    settings: Settings = app.extensions["settings"]
    make_broker(app, settings).add_middleware(BackgroundTasks(app))
    if "workers.actors" in sys.modules:
        return importlib.reload(sys.modules["workers.actors"])
    return importlib.import_module("workers.actors")


@pytest.fixture(params=["rabbitmq", "redis"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """Every test that takes this runs on both brokers."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def make_actors(make_app: Callable[..., Flask], broker_url: str) -> Iterator[Callable[..., ModuleType]]:
    """Provide the actors in an application context; keyword arguments replace settings."""
    contexts: list[Any] = []
    brokers: list[Any] = []

    def make(**changes: Any) -> ModuleType:
        app = make_app(**{"broker_url": broker_url} | changes)
        contexts.append(app.app_context())
        contexts[-1].push()
        # Or a worker takes the servers for new ones, drops all feeds, and requests erasures again.
        client().set(trust.TRUSTED_KEY, " ".join(trust.identities()))
        actors = load_actors(app)
        brokers.append(dramatiq.get_broker())
        return actors

    yield make
    for broker in brokers:
        _drop_queues(broker)
        broker.close()
    for context in reversed(contexts):
        context.pop()


@pytest.fixture
def actors(make_actors: Callable[..., ModuleType]) -> ModuleType:
    return make_actors()


@pytest.fixture
def make_worker() -> Iterator[Callable[[], dramatiq.Worker]]:
    workers: list[dramatiq.Worker] = []

    def make() -> dramatiq.Worker:
        workers.append(dramatiq.Worker(dramatiq.get_broker(), worker_threads=2, worker_timeout=100))
        workers[-1].start()
        return workers[-1]

    yield make
    for worker in workers:
        worker.stop()


@pytest.fixture
def behind() -> Iterator[Callable[[str], tuple[Proxy, str]]]:
    """Puts a server behind a proxy: the proxy, and the server's URL there."""
    proxies: list[Proxy] = []

    def put(url: str) -> tuple[Proxy, str]:
        parts = urlsplit(url)
        proxies.append(Proxy(parts.hostname or "127.0.0.1", parts.port or 5672))
        user, at, _ = parts.netloc.rpartition("@")
        return proxies[-1], parts._replace(netloc=f"{user}{at}127.0.0.1:{proxies[-1].port}").geturl()

    yield put
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def proxied_rabbitmq(rabbitmq_url: str, behind: Callable[[str], tuple[Proxy, str]]) -> tuple[Proxy, str]:
    return behind(rabbitmq_url)


def _drop_queues(broker: dramatiq.Broker) -> None:
    if not isinstance(broker, RabbitmqBroker):
        return
    with contextlib.suppress(AMQPConnectionError):  # a test took the broker away
        for queue in broker.queues:
            for name in (queue, dq_name(queue), xq_name(queue)):
                broker.channel.queue_delete(name)
