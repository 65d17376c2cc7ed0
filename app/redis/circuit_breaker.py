"""A circuit breaker, so that requests do not wait for an unavailable Redis."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import TypeVar, cast

import redis
from flask import current_app
from redis.exceptions import ClusterDownError

# Raised if Redis is unavailable: gone, frozen, loading, read-only, full, or a Cluster between a primary's failure and
# the promotion of its replica.
REDIS_UNAVAILABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    ClusterDownError,
)
NO_REPLICAS = "NOREPLICAS"  # from a primary that is cut off, as min-replicas-to-write demands
OPEN_SECONDS = 1.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class CircuitBreaker:
    """Stays open for OPEN_SECONDS after a failure, so that few requests wait for the timeout."""

    def __init__(self) -> None:
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        return monotonic() < self._open_until

    def trip(self, seconds: float = OPEN_SECONDS) -> None:
        self._open_until = monotonic() + seconds


def breaker() -> CircuitBreaker:
    return cast(CircuitBreaker, current_app.extensions["redis_breaker"])


def attempt(operation: Callable[[], T], otherwise: T, consequence: str) -> T:
    """Run `operation`. Return `otherwise` if Redis fails or the circuit is open.

    `consequence` is logged with the failure.
    """
    circuit = breaker()
    if circuit.is_open:
        return otherwise
    try:
        return operation()
    except redis.RedisError as error:
        if isinstance(error, REDIS_UNAVAILABLE) or str(error).startswith(NO_REPLICAS):
            circuit.trip()
        log.warning("%s: Redis: %s", consequence, error)
        return otherwise
