"""The Redis client, its time-outs, and the breaker that spares requests a Redis that does not answer."""

import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any, cast

import redis
from flask import Flask, current_app
from redis.backoff import NoBackoff
from redis.retry import Retry

# What is raised when Redis does not answer or cannot serve anybody: away, frozen, loading, read-only, full.
REDIS_AWAY = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, redis.OutOfMemoryError)

BREAK_SECONDS = 1.0


class Breaker:
    """Open for a second after each failure, so that only one request in a while waits for the time-out."""

    def __init__(self) -> None:
        self._closed_from = 0.0

    @property
    def is_open(self) -> bool:
        return monotonic() < self._closed_from

    def trip(self) -> None:
        self._closed_from = monotonic() + BREAK_SECONDS


def init_app(app: Flask, url: str, timeout: float) -> None:
    """Keep a client and a breaker with the application; `timeout` in seconds."""
    # One retry and only of a lost connection: it mends what a restarted Redis leaves in the pool.
    retry = Retry(NoBackoff(), retries=1, supported_errors=(redis.ConnectionError,))
    app.extensions["redis"] = redis.Redis.from_url(
        url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry, client_name="lenta"
    )
    app.extensions["own_connection"] = OwnConnection(app.extensions["redis"].connection_pool)
    app.extensions["redis_breaker"] = Breaker()


class OwnConnection(threading.local):
    """A connection for each thread. To borrow one from the client's pool and to give it back, with all that the client
    does around a command, took nearly as long as the command: 40 of 93 µs for a page of a feed."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._connection = pool.connection_class(**pool.connection_kwargs)

    def call(self, command: Sequence[Any]) -> Any:
        """The answer to a command. Raises what the client raises; what a lost connection took is tried anew, once."""
        try:
            return self._call(command)
        except redis.ConnectionError:
            return self._call(command)

    def _call(self, command: Sequence[Any]) -> Any:
        try:
            self._connection.send_command(*command)
            return self._connection.read_response()
        except redis.ResponseError:
            raise
        except BaseException:  # a time limit, too: the next command would take this one's answer for its own
            self._connection.disconnect()
            raise


def client() -> redis.Redis:
    return cast(redis.Redis, current_app.extensions["redis"])


def call(*command: Any) -> Any:
    """The answer to one command as Redis sends it, over the thread's own connection."""
    return current_app.extensions["own_connection"].call(command)


def breaker() -> Breaker:
    return cast(Breaker, current_app.extensions["redis_breaker"])


def server_run_id() -> str:
    """What tells this server, since its start, from every other."""
    return cast(str, client().info("server")["run_id"])
