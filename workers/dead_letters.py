"""Dead letters: messages that failed for good, that cannot be parsed, or that no actor of their time handled.

RabbitMQ lets nobody look without taking. So a letter is got without an acknowledgement, and whatever was not
acknowledged goes back to its place when the connection ends, however it ends. A letter leaves only after its copy was
confirmed in its queue: what dies in between leaves both, and everything downstream may happen twice.
"""

import hashlib
from collections.abc import Iterator
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

# What a message gathers while it fails. Left in, the first failure after a replay would be its last.
OF_ITS_LIFE = {"retries", "traceback", "requeue_timestamp", "eta", "redis_message_id"}
CHUNK = 200


@dataclass(frozen=True)
class Letter:
    """A dead letter. `queue` is the short name of where it was, `problem` why it cannot be replayed."""

    queue: str
    body: bytes
    died_at: datetime | None
    handle: Any  # what the box needs to remove it
    message: dramatiq.Message[Any] | None = None
    problem: str | None = None

    @property
    def id(self) -> str:
        """The message's own id; what cannot be parsed is known by its content."""
        return self.message.message_id if self.message else f"unreadable-{hashlib.sha256(self.body).hexdigest()[:12]}"


class Box(Protocol):
    """The dead letters of a broker."""

    def count(self, queue: str) -> int:
        """How many there are in the box of this queue."""

    def letters(self, queue: str) -> Iterator[Letter]:
        """Those that are there now, the oldest first."""

    def remove(self, letter: Letter) -> None:
        """Take it out for good."""


@contextmanager
def opened(broker: Any) -> Iterator[Box]:
    """The dead letters of this broker; what is not removed is there afterwards. Raises BROKER_AWAY."""
    if isinstance(broker, RabbitmqBroker):
        with amqp(broker) as connection:
            box = _RabbitmqBox(broker, connection)
            try:
                yield box
            finally:
                with suppress(AMQPError):  # then they come back with the connection's end
                    box.put_back()
    else:
        with redis_client(broker) as client:
            yield _RedisBox(broker, client)


def replay(broker: dramatiq.Broker, box: Box, letter: Letter) -> None:
    """Put a letter that has no problem back into its queue, as new, and then take it out of the dead ones."""
    assert letter.message, letter.problem
    options = {name: value for name, value in letter.message.options.items() if name not in OF_ITS_LIFE}
    broker.enqueue(replace(letter.message, queue_name=full_names(broker)[letter.queue], options=options))
    box.remove(letter)


def read(queue: str, body: bytes, died_at: datetime | None, handle: Any) -> Letter:
    try:
        message = dramatiq.Message.decode(body)
    except DecodeError as error:
        return Letter(queue, body, died_at, handle, None, f"it cannot be parsed: {error.error}")
    return Letter(queue, body, died_at, handle, message, _problem(message))


def _problem(message: dramatiq.Message[Any]) -> str | None:
    from workers import actors  # they keep the broker that is set when they are imported first

    actor = getattr(actors, message.actor_name, None) if isinstance(message.actor_name, str) else None
    if not isinstance(actor, dramatiq.Actor):
        return f"this version has no actor {message.actor_name!r}: it would be dead again at once"
    try:
        signature(actor.fn).bind(*message.args, **message.kwargs)
    except TypeError as error:
        return f"{message.actor_name} of this version does not take its arguments: {error}"
    return None


class _RabbitmqBox:
    def __init__(self, broker: RabbitmqBroker, connection: pika.BlockingConnection) -> None:
        self._queues, self._connection = full_names(broker), connection
        self._channel = connection.channel()

    def count(self, queue: str) -> int:
        return count(self._connection, xq_name(self._queues[queue]))

    def letters(self, queue: str) -> Iterator[Letter]:
        # No more than are there now: what is replayed may be dead again meanwhile.
        for _ in range(self.count(queue)):
            method, properties, body = self._channel.basic_get(xq_name(self._queues[queue]))
            if method is None:  # somebody else took it
                return
            deaths = (properties.headers or {}).get("x-death") or [{}]
            died_at = deaths[0].get("time")
            yield read(queue, body, died_at and died_at.replace(tzinfo=UTC), method.delivery_tag)

    def remove(self, letter: Letter) -> None:
        self._channel.basic_ack(letter.handle)

    def put_back(self) -> None:
        # The end of the connection would do, but a quorum queue counts that, and drops what was looked at 20 times.
        self._channel.basic_nack(0, multiple=True, requeue=True)


class _RedisBox:
    """Dramatiq's own keys, from the head of its dispatch.lua: a sorted set of ids by their death, a hash of bodies."""

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
                yield read(queue, body or b"", datetime.fromtimestamp(score / 1000, UTC), id_)

    def remove(self, letter: Letter) -> None:
        key = self._keys[letter.queue]
        with self._client.pipeline() as pipe:
            pipe.zrem(key, letter.handle)
            pipe.hdel(f"{key}.msgs", letter.handle)
            pipe.execute()
