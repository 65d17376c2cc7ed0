"""Connections to one Redis server, shared by threads and greenlets.

redis-py's pool checks, locks and counts at each use, which costs nearly as much as a command.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any

import hiredis
import redis
from redis.sentinel import MasterNotFoundError, SentinelConnectionPool

MAX_CONNECTIONS = 64  # per process and server


class ConnectionCount:
    """The number of connections opened by this process. A new one may lead to another server."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.total += 1


CONNECTIONS = ConnectionCount()


class _ReadOnlyAware:
    """Notifies the pool if the server rejects a write as read-only. Counts how often it connects."""

    on_read_only: Callable[[], object]

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)  # type: ignore[misc]
        CONNECTIONS.add()  # here, as redis-py reconnects by itself

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except redis.ReadOnlyError:
            self.on_read_only()
            raise


@cache
def _read_only_aware(connection_class: Any) -> Any:
    return type(connection_class.__name__, (_ReadOnlyAware, connection_class), {})


class Pool(redis.ConnectionPool):
    """A LIFO connection pool. Closes all connections to a server that turns out read-only.

    Behind a virtual address an old connection may lead to a demoted primary, which serves reads from stale data.
    """

    def reset(self) -> None:
        self._idle: list[Any] = []
        self._made: set[Any] = set()
        self._freed = threading.Condition()
        self._waiting = 0
        super().reset()

    def get_connection(self, *_: Any, **__: Any) -> Any:
        """Return an open connection. Raises redis.ConnectionError, or redis.TimeoutError if all are in use."""
        connection = self._take()
        try:
            if not connection.is_connected:
                connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Take a connection back. Its caller may have been interrupted (a time limit), with replies unread."""
        interrupted = not isinstance(sys.exception(), Exception | None)
        if interrupted or connection.should_reconnect():
            connection.disconnect()
        self._idle.append(connection)
        if self._waiting:
            with self._freed:
                self._freed.notify()

    def execute(self, command: Sequence[Any]) -> Any:
        """Execute one command and return its raw reply. Retries once if the connection was lost."""
        [reply] = self.execute_all([pack(command)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def execute_all(self, packed: Sequence[bytes]) -> list[Any]:
        """Execute commands in one round trip, and return their raw replies, errors among them.

        Retries once if the connection was lost.
        """
        try:
            return self._execute(packed)
        except redis.ConnectionError:
            return self._execute(packed)

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close idle connections now, and those in use after their reply."""
        for connection in list(self._made):
            connection.mark_for_reconnect()
        for connection in list(self._idle):
            connection.disconnect()

    def _execute(self, packed: Sequence[bytes]) -> list[Any]:
        connection = self.get_connection()
        try:
            connection.send_packed_command([b"".join(packed)])
            return [_reply(connection) for _ in packed]
        except BaseException:  # also a time limit: an unread reply would be returned to the next command
            connection.disconnect()
            raise
        finally:
            self.release(connection)

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._freed:
            deadline = monotonic() + self.connection_kwargs.get("socket_timeout", 1.0)
            while True:
                if len(self._made) < MAX_CONNECTIONS:
                    connection = _read_only_aware(self.connection_class)(**self.connection_kwargs)
                    connection.on_read_only = self.disconnect
                    self._made.add(connection)
                    return connection
                self._waiting += 1  # from here on `release` notifies
                try:
                    with suppress(IndexError):
                        return self._idle.pop()
                    if not self._freed.wait(deadline - monotonic()):
                        raise redis.TimeoutError(f"all {MAX_CONNECTIONS} connections are in use")
                finally:
                    self._waiting -= 1


def pack(command: Sequence[Any]) -> bytes:
    """Return a command as it is sent. Raises redis.DataError."""
    try:
        packed: bytes = hiredis.pack_command(tuple(command))
    except TypeError as error:
        raise redis.DataError(error) from error
    return packed


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


class SentinelPool(Pool, SentinelConnectionPool):
    """A pool of connections to the primary that Sentinels name."""

    def look_for_failover(self) -> None:
        """Ask all Sentinels, and close connections to a server that was replaced."""
        self.sentinel_manager.look_for_failover(self.service_name)
        with suppress(MasterNotFoundError):  # no Sentinel replies, or the failover is under way
            self.get_master_address()  # type: ignore[no-untyped-call]
