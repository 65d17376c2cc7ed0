"""The broker from its URL, and the middleware that every actor runs in."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import sample
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import dramatiq
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import BrokerConnectionError
from dramatiq.middleware import Middleware, Retries, TimeLimit
from flask import Flask, current_app, g, has_app_context
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from app.settings import Settings, settings
from workers.measuring import Measured

# What a broker raises when it does not answer. A RabbitMQ that is frozen while a connection is made raises an error of
# pika that dramatiq does not know.
BROKER_AWAY = (BrokerConnectionError, AMQPConnectorException, redis.ConnectionError, redis.TimeoutError)

QUEUES = ("feed", "bulk", "warm")
RETRY_ENQUEUE_SECONDS = 1.0

# Options of a message, and of all that follow from it: the request and the moment of the write that it began with.
REQUEST_ID = "request_id"
WRITTEN_AT = "written_at"  # seconds since 1970
FOLLOWING = (REQUEST_ID, WRITTEN_AT)

# Without these a frozen RabbitMQ is noticed after minutes.
AMQP_DEFAULTS = {"heartbeat": "20", "blocked_connection_timeout": "20", "socket_timeout": "5", "stack_timeout": "10"}

log = logging.getLogger(__name__)


def make_broker(app: Flask, settings: Settings) -> dramatiq.Broker:
    """A broker whose actors run in `app`'s context. It is set as dramatiq's own: import the actors after."""
    # After a message they run from the last to the first: the time limit must end before a retry waits for the broker.
    middleware: list[Middleware] = [AppContext(app), Measured(), PatientRetries(), TimeLimit()]
    broker: Any
    if settings.broker_url.startswith("amqp"):
        # Without confirms dramatiq loses a message silently where its queue is missing.
        broker = RabbitmqBroker(url=_nodes(settings), confirm_delivery=True, middleware=middleware)
    else:
        broker = cast(Any, RedisBroker)(
            url=settings.broker_url, namespace=settings.broker_namespace, middleware=middleware
        )
    broker.lenta_namespace = settings.broker_namespace
    dramatiq.set_broker(broker)
    return cast(dramatiq.Broker, broker)


@contextmanager
def for_command() -> Iterator[Any]:
    """The broker of the current application for the time of a command, which says itself what pika would log."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    broker = make_broker(current_app._get_current_object(), settings())  # type: ignore[attr-defined]
    try:
        yield broker
    finally:
        broker.close()


def queue(name: str) -> str:
    """The name of a queue in the namespace of the present broker."""
    return f"{dramatiq.get_broker().lenta_namespace}.{name}"  # type: ignore[attr-defined]


def _nodes(settings: Settings) -> list[str]:
    """Each connection is to the first that answers: in an order of this process's own, so that all nodes serve."""
    urls = [_with_defaults(url) for url in settings.broker_urls()]
    return sample(urls, len(urls))


def _with_defaults(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode(AMQP_DEFAULTS | dict(parse_qsl(parts.query)))))


class AppContext(Middleware):
    """Runs each message in an application context of its own, so with a database session of its own.

    What a message follows from (FOLLOWING) is among its options, and goes on into what follows from it.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._local = threading.local()

    def before_enqueue(self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None) -> None:
        if has_app_context():
            for option in FOLLOWING:
                if g.get(option):
                    message.options.setdefault(option, g.get(option))

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._local.context = self._app.app_context()
        self._local.context.push()
        for option in FOLLOWING:
            setattr(g, option, message.options.get(option))

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self._local.context.pop()

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self._local.context.pop()


class PatientRetries(Retries):
    """Retries that wait for the broker.

    A message that failed is put back by enqueueing a copy, then acknowledged. Dramatiq acknowledges it even where
    the copy could not be enqueued, because it only logs what a middleware raises: with the broker away the message
    would be lost. So this waits. If the process dies meanwhile, the unacknowledged message is delivered again.
    """

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        options = dict(message.options)
        while True:
            try:
                super().after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]
                return
            except BROKER_AWAY as error:
                log.warning("cannot put message %s back, the broker is away: %s", message.message_id, error)
                message.options.clear()
                message.options.update(options)
                time.sleep(RETRY_ENQUEUE_SECONDS)
