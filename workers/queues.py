"""Queue depths, read on separate connections with short timeouts.

Messages prefetched by a worker are not counted; neither broker reports them.
"""

import copy
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import dramatiq
import pika
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, xq_name
from dramatiq.errors import ConnectionClosed
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ChannelClosedByBroker
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.broker import QUEUES

TIMEOUT_SECONDS = 3.0
HEARTBEAT_SECONDS = 2  # pika detects a frozen server after 5 s
NOT_FOUND = 404

logging.getLogger("pika.channel").setLevel(logging.ERROR)  # a missing queue is no reason for a warning


class Depth(NamedTuple):
    """The numbers of ready, delayed and dead messages of a queue."""

    ready: int
    delayed: int
    dead: int


def depths(broker: dramatiq.Broker) -> dict[str, Depth]:
    """The depth of each queue (feed, rebuild, bulk, warm). A queue that was never declared is empty.

    On RabbitMQ a delayed message that a worker holds is not counted. Raises BROKER_UNAVAILABLE.
    """
    if isinstance(broker, RabbitmqBroker):
        with amqp(broker) as connection:
            return {
                name: Depth(*(count(connection, queue) for queue in (full, dq_name(full), xq_name(full))))
                for name, full in full_names(broker).items()
            }
    with redis_client(broker) as client:
        return {name: _redis_depth(client, broker, full) for name, full in full_names(broker).items()}


def check(broker: dramatiq.Broker) -> None:
    """Check that the broker responds. Raises BROKER_UNAVAILABLE."""
    if isinstance(broker, RabbitmqBroker):
        with amqp(broker):
            return
    with redis_client(broker) as client:
        client.ping()


def full_names(broker: Any) -> dict[str, str]:
    """Return the full names of the queues, by short name."""
    return {name: f"{broker.lenta_namespace}.{name}" for name in QUEUES}


@contextmanager
def amqp(broker: RabbitmqBroker) -> Iterator[pika.BlockingConnection]:
    """Open a connection to RabbitMQ. Raises BROKER_UNAVAILABLE, also for errors in the block."""
    several = broker.parameters if isinstance(broker.parameters, list) else [broker.parameters]
    try:
        with closing(
            pika.BlockingConnection([_with_short_timeouts(parameters) for parameters in several])
        ) as connection:
            yield connection
    except (AMQPError, AMQPConnectorException, OSError) as error:
        raise ConnectionClosed(_root_message(error)) from error  # type: ignore[no-untyped-call]


def _root_message(error: BaseException) -> str:
    """Return the message of the error that pika has wrapped, often twice."""
    inner = getattr(error, "exception", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _root_message(inner)
    return str(error) or type(error).__name__


def _with_short_timeouts(parameters: pika.ConnectionParameters) -> pika.ConnectionParameters:
    changed = copy.copy(parameters)
    changed.socket_timeout = changed.stack_timeout = changed.blocked_connection_timeout = TIMEOUT_SECONDS
    changed.heartbeat, changed.connection_attempts = HEARTBEAT_SECONDS, 1
    return changed


def count(connection: pika.BlockingConnection, queue: str) -> int:
    """Count the ready messages of a queue."""
    channel = connection.channel()  # one each: a missing queue closes the channel
    try:
        return int(channel.queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return 0


@contextmanager
def redis_client(broker: Any) -> Iterator[redis.Redis]:
    """Open a separate client of dramatiq's Redis broker."""
    pool = broker.client.connection_pool
    options = pool.connection_kwargs | {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), retries=0),
    }
    client = redis.Redis(connection_pool=type(pool)(connection_class=pool.connection_class, **options))
    try:
        yield client
    finally:
        client.close()
        client.connection_pool.disconnect()


def _redis_depth(client: redis.Redis, broker: Any, queue: str) -> Depth:
    """Read dramatiq's keys, documented in its dispatch.lua."""
    key = f"{broker.namespace}:{queue}"
    with client.pipeline(transaction=False) as pipe:
        pipe.llen(key)
        pipe.hlen(f"{key}.DQ.msgs")  # includes messages held by a worker
        pipe.zcard(f"{key}.XQ")
        return Depth(*pipe.execute())
