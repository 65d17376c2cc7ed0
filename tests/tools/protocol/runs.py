"""Runs real code step by step: it stops before each round trip, and may die there.

A run is a function in a thread with a separate application context. Only one thread is awake at a time, so the order is
decided by the caller, and is reproducible.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from flask import Flask
from sqlalchemy import Engine, event
from sqlalchemy.orm import scoped_session

from app.redis.client import primaries

_local = threading.local()


class Died(BaseException):
    """Raised where a run stood when its process died."""


class Run:
    """`work`, one round trip after the other. A writer stops only before it commits."""

    def __init__(
        self,
        app: Flask,
        work: Callable[[], Any],
        *,
        writes: bool = False,
        locks: Hashable = None,
        owner: Any = None,
    ) -> None:
        self.writes, self.locks, self.owner = writes, locks, owner
        self.result: Any = None
        self.is_over = False
        self._app, self._work = app, work
        self._error: BaseException | None = None
        self._is_dead = False
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._main, daemon=True).start()

    def advance(self, trips: int) -> None:
        """Let a run do this many round trips. Raises its exceptions."""
        while trips and not self.is_over:
            trips -= 1
            self._wake()
        if self._error:
            raise self._error

    def die(self) -> None:
        """Its process is killed: it does nothing more, and its transaction is rolled back."""
        if not self.is_over:
            self._is_dead = True
            self._wake()

    def stop(self) -> None:
        """Called by the run itself, where it is cut."""
        if self._is_dead:
            raise Died
        self._stopped.release()
        self._go.acquire()
        if self._is_dead:
            raise Died

    def _wake(self) -> None:
        self._go.release()
        self._stopped.acquire()

    def _main(self) -> None:
        self._go.acquire()
        _local.run = self
        try:
            with self._app.app_context():
                if not self.writes:
                    self.stop()  # taken from the broker, and nothing done yet
                self.result = self._work()
        except Died:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self.is_over = True
            self._stopped.release()


@contextmanager
def cut(app: Flask, engines: Sequence[Engine], session: scoped_session[Any]) -> Iterator[None]:
    """Have runs stop before each round trip of `app` through these pools and to Redis."""
    for server in primaries().values():
        pool = server.connection_pool
        pool.disconnect()
        pool.reset()  # a connection that is closed keeps its class
        pool.connection_class = type("CutConnection", (_CutConnection, pool.connection_class), {})
    app.extensions["redis_trust"].comparing = _CutLock()
    for engine in engines:
        event.listen(engine, "before_execute", _before_execute)
    event.listen(session, "before_commit", _before_commit)
    yield
    event.remove(session, "before_commit", _before_commit)
    for engine in engines:
        event.remove(engine, "before_execute", _before_execute)


def _before_execute(*_: object) -> None:
    stop()


def _before_commit(_: object) -> None:
    stop(commits=True)


class _CutLock:
    """A lock for which runs wait in steps, so that its holder goes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        while not self._lock.acquire(blocking=False):
            assert getattr(_local, "run", None), "only a run can wait for a run"
            stop()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _CutConnection(redis.Connection):
    is_greeting = False  # a run that died here would leave a connection to the wrong database

    def on_connect_check_health(self, check_health: bool = True) -> None:
        self.is_greeting = True
        super().on_connect_check_health(check_health)
        self.is_greeting = False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self.is_greeting and not _is_upkeep(b"".join(command)):
            stop()
        super().send_packed_command(command, check_health)


def _is_upkeep(sent: bytes) -> bool:
    """Return whether no feed depends on it: a client loads scripts, maps a Cluster, or wakes the relay."""
    loads = b"\r\nSCRIPT\r\n" in sent and b"\r\nEVALSHA\r\n" not in sent
    return loads or b"\r\nCLUSTER\r\n" in sent or b"\r\noutbox:" in sent


def stop(*, commits: bool = False) -> None:
    """Stop the run that is awake, if there is one, before a round trip."""
    run: Run | None = getattr(_local, "run", None)
    if run is not None and (commits or not run.writes):
        run.stop()
