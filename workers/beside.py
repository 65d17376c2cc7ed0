"""What runs beside the workers, each in a thread of every worker process: the outbox relay, the watch on Redis, and
what Prometheus asks for.

A thread lives exactly as long as its process. Dramatiq's own way, a process forked by a middleware, does not: nobody
notices when it dies. When a worker process dies dramatiq stops everything, for its supervisor to start again.
"""

import logging
import threading
import time
from collections.abc import Callable

import dramatiq
import psycopg2
import redis
from dramatiq.middleware import Middleware
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.feed import watch
from workers.broker import BROKER_AWAY
from workers.relay import run_relay
from workers.scrape import run_counting, run_scrape

BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
STEADY_SECONDS = 10.0  # a failure after so long is a first one
WATCH_SECONDS = 1.0
STOP_SECONDS = 10.0  # one that hangs ends with its process

Task = Callable[[Flask, dramatiq.Broker, threading.Event], None]

log = logging.getLogger(__name__)


def run_watch(app: Flask, _: dramatiq.Broker, stopping: threading.Event) -> None:
    """Look every second whether Redis went back in time, until `stopping` is set."""
    while not stopping.is_set():
        with app.app_context():
            if watch.check():
                log.warning("a Redis server is new, or not the one that its feeds were written on: warming asked for")
        stopping.wait(WATCH_SECONDS)


class Beside(Middleware):
    """Runs these tasks while a worker runs; one that fails is started again."""

    tasks: tuple[Task, ...] = (run_relay, run_watch, run_scrape, run_counting)

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._stopping.clear()
        self._threads = [
            threading.Thread(target=self._keep_running, args=(task, broker), name=task.__name__, daemon=True)
            for task in self.tasks
        ]
        for thread in self._threads:
            thread.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _keep_running(self, task: Task, broker: dramatiq.Broker) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                task(self._app, broker, self._stopping)
            except (SQLAlchemyError, psycopg2.Error, redis.RedisError, OSError, *BROKER_AWAY) as error:
                log.warning("%s interrupted, it goes on: %s", task.__name__, error)
            except Exception:
                log.exception("%s failed, it is started again", task.__name__)
            failures = 0 if time.monotonic() - started > STEADY_SECONDS else failures + 1
            self._stopping.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
