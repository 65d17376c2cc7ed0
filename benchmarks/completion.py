"""Knowing when a worker has finished its messages, without asking it."""

from typing import Any, cast

import dramatiq
import redis
from dramatiq.middleware import Middleware

KEY = "bench:finished"  # a list with an element for each message that was carried out and acknowledged
PATIENCE_SECONDS = 120


class Finished(Middleware):
    """Reports each completed message to Redis with one RPUSH."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def after_ack(self, broker: dramatiq.Broker, message: Any) -> None:
        self._client.rpush(KEY, b"")


def wait_for(client: redis.Redis, number: int) -> None:
    """Until so many messages are finished."""
    for _ in range(number):
        if cast(Any, client.blpop([KEY], PATIENCE_SECONDS)) is None:
            raise TimeoutError(f"no message was finished for {PATIENCE_SECONDS} s")
