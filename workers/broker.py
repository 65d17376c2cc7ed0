"""Creates the broker from its URL, with the middleware of all actors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import sample
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware, TimeLimit
from flask import Flask, current_app, g

from app.settings import Settings, settings
from workers.lost_queues import NoticingBroker
from workers.middleware import AppContext, BlockingRetries, MessageMetrics

QUEUES = ("feed", "rebuild", "bulk", "warm")

# Without these, detecting a frozen RabbitMQ takes minutes.
AMQP_DEFAULTS = {"heartbeat": "20", "blocked_connection_timeout": "20", "socket_timeout": "5", "stack_timeout": "10"}


def make_broker(app: Flask, settings: Settings) -> dramatiq.Broker:
    """Create a broker whose actors run in `app`'s context, and set it as dramatiq's. Import the actors afterwards."""
    # After a message they run in reverse order: the time limit must end before a retry waits for the broker.
    middleware: list[Middleware] = [AppContext(app), MessageMetrics(), BlockingRetries(), TimeLimit()]
    broker: Any
    if settings.broker_url.startswith("amqp"):
        # Without confirms dramatiq silently loses a message if its queue is missing.
        options = {"url": _nodes(settings), "confirm_delivery": True, "middleware": middleware}
        broker = NoticingBroker(app, settings.broker_namespace, **options)
    else:
        broker = cast(Any, RedisBroker)(
            url=settings.broker_url, namespace=settings.broker_namespace, middleware=middleware
        )
    broker.lenta_namespace = settings.broker_namespace
    dramatiq.set_broker(broker)
    return cast(dramatiq.Broker, broker)


@contextmanager
def command_broker() -> Iterator[Any]:
    """Provide the broker to a command. Pika's logs are silenced, as the command reports errors itself."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    broker = make_broker(current_app._get_current_object(), settings())  # type: ignore[attr-defined]
    try:
        yield broker
    finally:
        broker.close()


def queue(name: str) -> str:
    """Return the full name of a queue in the namespace of the current broker."""
    return f"{dramatiq.get_broker().lenta_namespace}.{name}"  # type: ignore[attr-defined]


def put_back(name: str, delay: int | None = None) -> None:
    """Send the message that is being handled once more, to this queue, after `delay` ms. No try of it is counted.

    It keeps its id. Should the worker die before the message is acknowledged there are two of them, which is harmless.
    """
    message = g.message.copy(queue_name=queue(name))
    dramatiq.get_broker().enqueue(message, delay=delay)


def _nodes(settings: Settings) -> list[str]:
    """Return the node URLs, shuffled per process to spread load. A connection uses the first that responds."""
    nodes = []
    for url in map(urlsplit, settings.broker_urls()):
        query = urlencode(AMQP_DEFAULTS | dict(parse_qsl(url.query)))
        nodes.append(urlunsplit(url._replace(query=query)))
    return sample(nodes, len(nodes))
