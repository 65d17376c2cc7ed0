"""Dead letters: messages that failed permanently, cannot be parsed, or had no actor.

RabbitMQ cannot peek: messages are fetched without acknowledgement and requeued when the connection closes. A letter is
removed only after the broker confirmed its copy; a crash in between leaves both, which is safe as actors are
idempotent.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from inspect import signature
from typing import Any, Protocol, cast

import dramatiq
import pika
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import xq_name
from dramatiq.errors import DecodeError
from pika.exceptions import AMQPError

from workers.queues import amqp, count, full_names, redis_client

# Retry bookkeeping, removed on replay so that the message gets its full retries again.
RETRY_OPTIONS = {"retries", "traceback", "requeue_timestamp", "eta", "redis_message_id"}
CHUNK = 200


@dataclass(frozen=True)
class Letter:
    """A dead letter. `queue`: short name of its queue. `problem`: why it cannot be replayed, or None."""

    queue: str
    body: bytes
    died_at: datetime | None
    handle: Any  # identifies it to `remove`
    message: dramatiq.Message[Any] | None = None
    problem: str | None = None

    @property
    def id(self) -> str:
        """Return the message's id, or a hash of the content if it cannot be parsed."""
        return self.message.message_id if self.message else f"unreadable-{hashlib.sha256(self.body).hexdigest()[:12]}"


class DeadLetterQueue(Protocol):
    """The dead letters of a broker."""

    def count(self, queue: str) -> int:
        """Count the dead letters of a queue."""

    def letters(self, queue: str) -> Iterator[Letter]:
        """Yield the current dead letters of a queue, oldest first."""

    def remove(self, letter: Letter) -> None:
        """Remove a letter permanently."""


@contextmanager
def open_queue(broker: Any) -> Iterator[DeadLetterQueue]:
    """Open the dead letters of a broker. Letters not removed stay. Raises BROKER_UNAVAILABLE."""
    if isinstance(broker, RabbitmqBroker):
        with amqp(broker) as connection:
            dead = _RabbitmqDeadLetters(broker, connection)
            try:
                yield dead
            finally:
                with suppress(AMQPError):  # then the closed connection requeues them
                    dead.requeue()
    else:
        with redis_client(broker) as client:
            yield _RedisDeadLetters(broker, client)


def replay(broker: dramatiq.Broker, dead: DeadLetterQueue, letter: Letter) -> None:
    """Send a letter without a problem to its queue again, then remove it."""
    assert letter.message, letter.problem
    options = {name: value for name, value in letter.message.options.items() if name not in RETRY_OPTIONS}
    broker.enqueue(replace(letter.message, queue_name=full_names(broker)[letter.queue], options=options))
    dead.remove(letter)


def remove_naming(broker: Any, ids: Iterable[int]) -> int:
    """Remove the letters that name one of these users or posts. Returns how many.

    Nothing is lost with them: the feeds of a dead letter were evicted.
    """
    wanted, removed = set(ids), 0
    with open_queue(broker) as dead:
        for queue in full_names(broker):
            for letter in dead.letters(queue):
                if not wanted.isdisjoint(map(int, re.findall(rb"\d+", letter.body))):
                    dead.remove(letter)
                    removed += 1
    return removed


def parse(queue: str, body: bytes, died_at: datetime | None, handle: Any) -> Letter:
    try:
        message = dramatiq.Message.decode(body)
    except DecodeError as error:
        return Letter(queue, body, died_at, handle, None, f"cannot be parsed: {error.error}")
    return Letter(queue, body, died_at, handle, message, _problem(message))


def _problem(message: dramatiq.Message[Any]) -> str | None:
    from workers import actors  # actors bind to the broker at import

    actor = getattr(actors, message.actor_name, None) if isinstance(message.actor_name, str) else None
    if not isinstance(actor, dramatiq.Actor):
        return f"this version has no actor {message.actor_name!r}, so it would fail again immediately"
    try:
        signature(actor.fn).bind(*message.args, **message.kwargs)
    except TypeError as error:
        return f"{message.actor_name} of this version does not accept its arguments: {error}"
    return None


class _RabbitmqDeadLetters:
    def __init__(self, broker: RabbitmqBroker, connection: pika.BlockingConnection) -> None:
        self._queues, self._connection = full_names(broker), connection
        self._channel = connection.channel()

    def count(self, queue: str) -> int:
        return count(self._connection, xq_name(self._queues[queue]))

    def letters(self, queue: str) -> Iterator[Letter]:
        # Bounded by the current count: a replayed letter may return.
        for _ in range(self.count(queue)):
            method, properties, body = self._channel.basic_get(xq_name(self._queues[queue]))
            if method is None:  # another consumer took it
                return
            deaths = (properties.headers or {}).get("x-death") or [{}]
            died_at = deaths[0].get("time")
            yield parse(queue, body, died_at and died_at.replace(tzinfo=UTC), method.delivery_tag)

    def remove(self, letter: Letter) -> None:
        self._channel.basic_ack(letter.handle)

    def requeue(self) -> None:
        # Closing the connection would do, but a quorum queue counts that as a delivery and drops a message after 20.
        self._channel.basic_nack(0, multiple=True, requeue=True)


class _RedisDeadLetters:
    """Reads dramatiq's keys, documented in its dispatch.lua: a sorted set of ids by time, a hash of bodies."""

    def __init__(self, broker: Any, client: redis.Redis) -> None:
        self._client = client
        self._keys = {name: f"{broker.namespace}:{full}.XQ" for name, full in full_names(broker).items()}

    def count(self, queue: str) -> int:
        return int(self._client.zcard(self._keys[queue]))

    def letters(self, queue: str) -> Iterator[Letter]:
        key = self._keys[queue]
        ids = cast(list[tuple[bytes, float]], self._client.zrange(key, 0, -1, withscores=True))
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            bodies = cast(list[bytes | None], self._client.hmget(f"{key}.msgs", [id_ for id_, _ in chunk]))
            for (id_, score), body in zip(chunk, bodies, strict=True):
                yield parse(queue, body or b"", datetime.fromtimestamp(score / 1000, UTC), id_)

    def remove(self, letter: Letter) -> None:
        key = self._keys[letter.queue]
        with self._client.pipeline() as pipe:
            pipe.zrem(key, letter.handle)
            pipe.hdel(f"{key}.msgs", letter.handle)
            pipe.execute()
