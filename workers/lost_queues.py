"""Notices queues that RabbitMQ has lost, and has all feeds dropped and built again. Owns the key:

queues:<namespace>   set   names of the queues that were declared once; without expiry, like the trust in servers. Each
                           process writes those that it has declared again and again, as Redis may lose them

Events leave the outbox when the broker has confirmed their messages. If it loses them after that (a queue was deleted,
a disk is gone), no one knows which feeds they were about. So before a queue is declared, the broker is asked whether it
has it; and so whenever a consumer starts again. One that is missing although it was declared before is lost: no feed is
trusted any more. That is said before the queue is declared, so that no process takes the new one for the old.
"""

import logging
from contextlib import suppress
from typing import Any

import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, q_name
from dramatiq.errors import ConnectionClosed
from flask import Flask
from pika.exceptions import ChannelClosedByBroker

from app.feed.maintenance import failover
from app.redis.client import client

NOT_FOUND, NO_QUEUE = 404, "no queue"  # with another text the node of a classic queue is down, which is not lost

log = logging.getLogger(__name__)


class NoticingBroker(RabbitmqBroker):
    """A RabbitMQ that is asked for a queue before it is declared."""

    def __init__(self, app: Flask, namespace: str, **options: Any) -> None:
        super().__init__(**options)
        self._app, self._key = app, f"queues:{namespace}"
        self._declared: set[str] = set()

    def consume(self, queue_name: str, *arguments: Any, **options: Any) -> Any:
        """Create a consumer, after its queue was declared again if it is missing."""
        self.queues_pending.add(q_name(queue_name))
        return super().consume(queue_name, *arguments, **options)

    def remember_queues(self) -> None:
        """Write the names of the declared queues to Redis again. Raises redis.RedisError."""
        if declared := self._declared.copy():  # other threads add to it
            client().sadd(self._key, *declared)

    def _declare_queue(self, queue_name: str) -> Any:
        return self._notice_and(super()._declare_queue, queue_name, queue_name)

    def _declare_dq_queue(self, queue_name: str) -> Any:
        return self._notice_and(super()._declare_dq_queue, queue_name, dq_name(queue_name))

    def _notice_and(self, declare: Any, queue_name: str, full_name: str) -> Any:
        with self._app.app_context():
            is_known = self._is_known(full_name)  # first: another process may declare it just now
            if not self._exists(full_name):
                self._invalidate_if(is_known, full_name)
            declared = declare(queue_name)
            self._declared.add(full_name)
            with suppress(redis.RedisError):
                self.remember_queues()
            return declared

    def _is_known(self, name: str) -> bool | redis.RedisError:
        if name in self._declared:
            return True
        try:
            return bool(client().sismember(self._key, name))
        except redis.RedisError as error:
            return error

    def _exists(self, name: str) -> bool:
        channel = self.connection.channel()
        try:
            channel.queue_declare(name, passive=True)
        except ChannelClosedByBroker as error:
            if error.reply_code != NOT_FOUND or NO_QUEUE not in error.reply_text:
                raise
            return False
        channel.close()
        return True

    def _invalidate_if(self, is_known: bool | redis.RedisError, name: str) -> None:
        """Invalidate all feeds if a missing queue was known. Raises ConnectionClosed while Redis is unavailable."""
        try:
            if isinstance(is_known, redis.RedisError):
                raise is_known
            if is_known:
                log.error("RabbitMQ has lost the queue %s: all feeds are dropped and built again", name)
                failover.invalidate_all()
        except redis.RedisError as error:
            raise ConnectionClosed(error) from error  # type: ignore[no-untyped-call]
