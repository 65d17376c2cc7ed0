"""How much waits in the queues. Asked on connections of its own with short time-outs: nobody hangs with the broker.

What a worker holds is not counted as ready: neither broker tells.
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
HEARTBEAT_SECONDS = 2  # pika notices a frozen server 5 s later
NOT_FOUND = 404

logging.getLogger("pika.channel").setLevel(logging.ERROR)  # a queue that is not there is no warning


class Depth(NamedTuple):
    """Messages that wait in a queue, wait there for their next try, and are dead."""

    ready: int
    delayed: int
    dead: int


def depths(broker: dramatiq.Broker) -> dict[str, Depth]:
    """The depth of each queue (feed, bulk, warm). A queue that was never declared is empty.

    On RabbitMQ a delayed message that a worker holds until its time is not counted. Raises BROKER_AWAY.
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
    """Returns if the broker answers. Raises BROKER_AWAY."""
    if isinstance(broker, RabbitmqBroker):
        with amqp(broker):
            return
    with redis_client(broker) as client:
        client.ping()


def full_names(broker: Any) -> dict[str, str]:
    """The name that each queue has at the broker."""
    return {name: f"{broker.lenta_namespace}.{name}" for name in QUEUES}


@contextmanager
def amqp(broker: RabbitmqBroker) -> Iterator[pika.BlockingConnection]:
    """A connection of its own to RabbitMQ. Raises BROKER_AWAY, also for what fails within."""
    several = broker.parameters if isinstance(broker.parameters, list) else [broker.parameters]
    try:
        with closing(pika.BlockingConnection([_impatient(parameters) for parameters in several])) as connection:
            yield connection
    except (AMQPError, AMQPConnectorException, OSError) as error:
        raise ConnectionClosed(_plain(error)) from error  # type: ignore[no-untyped-call]


def _plain(error: BaseException) -> str:
    """What pika has wrapped, often twice."""
    inner = getattr(error, "exception", None) or next(iter(error.args), None)
    if isinstance(inner, BaseException):
        return _plain(inner)
    return str(error) or type(error).__name__


def _impatient(parameters: pika.ConnectionParameters) -> pika.ConnectionParameters:
    changed = copy.copy(parameters)
    changed.socket_timeout = changed.stack_timeout = changed.blocked_connection_timeout = TIMEOUT_SECONDS
    changed.heartbeat, changed.connection_attempts = HEARTBEAT_SECONDS, 1
    return changed


def count(connection: pika.BlockingConnection, queue: str) -> int:
    """Messages of a queue that are in nobody's hands."""
    channel = connection.channel()  # one each: asking for a queue that is not there closes the channel
    try:
        return int(channel.queue_declare(queue, passive=True).method.message_count)
    except ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return 0


@contextmanager
def redis_client(broker: Any) -> Iterator[redis.Redis]:
    """A client of its own for dramatiq's Redis broker."""
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
    """Dramatiq's own keys, from the head of its dispatch.lua."""
    key = f"{broker.namespace}:{queue}"
    with client.pipeline(transaction=False) as pipe:
        pipe.llen(key)
        pipe.hlen(f"{key}.DQ.msgs")  # what a worker holds until its time too
        pipe.zcard(f"{key}.XQ")
        return Depth(*pipe.execute())
