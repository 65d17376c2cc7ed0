"""The Redis client, its time-outs, and the breaker that spares requests a Redis that does not answer.

`client` is one server or a Cluster, and what differs is said here: which keys may go together into one command, and
which servers there are.
"""

import threading
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, cast

import redis
from flask import Flask, current_app
from redis.exceptions import ClusterDownError

from app.cluster import Cluster, slot_of
from app.connect import connect, disconnect

# What is raised when Redis does not answer or cannot serve anybody: away, frozen, loading, read-only, full, or a
# Cluster between a primary's death and the promotion of its replica.
REDIS_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
    ClusterDownError,
)

BREAK_SECONDS = 1.0


class Breaker:
    """Open for a second or so after each failure, so that only one request in a while waits for the time-out."""

    def __init__(self) -> None:
        self._closed_from = 0.0

    @property
    def is_open(self) -> bool:
        return monotonic() < self._closed_from

    def trip(self, seconds: float = BREAK_SECONDS) -> None:
        self._closed_from = monotonic() + seconds


def init_app(app: Flask, url: str, timeout: float) -> None:
    """Keep a client and a breaker with the application; `timeout` in seconds."""
    one = connect(url, timeout)
    app.extensions["redis"] = one
    app.extensions["own_connection"] = one if isinstance(one, Cluster) else OwnConnection(one.connection_pool)
    app.extensions["redis_breaker"] = Breaker()


def hang_up(app: Flask) -> None:
    """Close the client's connections, and the thread's own."""
    disconnect(app.extensions["redis"])
    app.extensions["own_connection"].close()


class OwnConnection(threading.local):
    """A connection for each thread. To borrow one from the client's pool and to give it back, with all that the client
    does around a command, took nearly as long as the command: 40 of 93 µs for a page of a feed."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._connection = pool.connection_class(**pool.connection_kwargs)
        self._is_connected = False

    def call(self, command: Sequence[Any]) -> Any:
        """The answer to a command. Raises what the client raises; what a lost connection took is tried anew, once."""
        try:
            return self._call(command)
        except redis.ConnectionError:
            return self._call(command)

    def close(self) -> None:
        self._is_connected = False
        self._connection.disconnect()

    def _call(self, command: Sequence[Any]) -> Any:
        try:
            if not self._is_connected:
                self._connection.connect()  # to the server that Sentinels name, if there are any
                self._is_connected = True
            self._connection.send_command(*command)
            return self._connection.read_response()
        except redis.ResponseError:
            raise
        except BaseException:  # a time limit, too: the next command would take this one's answer for its own
            self.close()
            raise


def client() -> redis.Redis:
    return cast(redis.Redis, current_app.extensions["redis"])


def call(*command: Any) -> Any:
    """The answer to one command as Redis sends it, over the thread's own connection."""
    return current_app.extensions["own_connection"].call(command)


def breaker() -> Breaker:
    return cast(Breaker, current_app.extensions["redis_breaker"])


def is_cluster() -> bool:
    return isinstance(client(), Cluster)


def together(keys: Iterable[str]) -> Iterable[list[str]]:
    """Keys in the groups that one command may take: all of them, or on a Cluster those of one slot."""
    if not is_cluster():
        return [list(keys)]
    groups: dict[int, list[str]] = {}
    for key in keys:
        groups.setdefault(slot_of(key), []).append(key)
    return groups.values()


def primaries() -> dict[str, redis.Redis]:
    """All servers that hold keys, each under what tells it, since its start or its promotion, from every other.

    Raises redis.RedisError if any of them does not answer, or has just become a replica.
    """
    one = current_app.extensions["redis"]
    return {_identity(server): server for server in (one.primaries() if isinstance(one, Cluster) else [one])}


def identity() -> str:
    """Of all servers together: it changes when any of them is restarted or replaced."""
    return " ".join(sorted(primaries()))


def used_bytes() -> int:
    """The memory that all servers use."""
    return sum(int(server.info("memory")["used_memory"]) for server in primaries().values())


def _identity(server: redis.Redis) -> str:
    """The run id, and the offset at which it was promoted (-1: never): a primary that was deposed, followed another and
    is promoted again has lost what came between, and has the run id that it had.
    """
    with server.pipeline(transaction=False) as pipe:
        pipe.info("server")
        pipe.info("replication")
        about, replication = pipe.execute()
    if replication["role"] != "master":
        raise redis.ReadOnlyError("this Redis is a replica")
    return f"{about['run_id']}:{replication['second_repl_offset']}"
