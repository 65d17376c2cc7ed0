"""Background threads of each worker process: outbox relays, failover check, owed checks, metrics.

A thread lives exactly as long as its process. A process forked by a dramatiq middleware does not, and its death goes
unnoticed. If a worker process dies, dramatiq stops all of them, and the supervisor restarts it.
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

from app.feed import erase
from app.feed.cache import owed_checks
from app.feed.deliver import sweep
from app.feed.maintenance import failover
from workers.errors import BROKER_UNAVAILABLE
from workers.lost_queues import NoticingBroker
from workers.metrics_server import run_counting, run_scrape
from workers.relay import run_relay, run_relay_of_users

BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
RESET_BACKOFF_AFTER = 10.0  # a run this long resets the backoff
WATCH_SECONDS = 1.0
SWEEP_SECONDS = 2.0
FORGET_SECONDS = 3600.0
STOP_SECONDS = 10.0  # a hanging thread ends with its process

Task = Callable[[Flask, dramatiq.Broker, threading.Event], None]

log = logging.getLogger(__name__)


def run_watch(app: Flask, broker: dramatiq.Broker, stopping: threading.Event) -> None:
    """Check every second for lost writes of Redis or PostgreSQL, until `stopping` is set."""
    while not stopping.is_set():
        with app.app_context():
            if isinstance(broker, NoticingBroker):
                broker.remember_queues()
            if failover.check():
                log.warning("restart or failover of Redis or PostgreSQL detected: feeds dropped, warming requested")
        stopping.wait(WATCH_SECONDS)


def run_sweep(app: Flask, _: dramatiq.Broker, stopping: threading.Event) -> None:
    """Make the checks of deliveries that other workers owe, until `stopping` is set. One worker of all sweeps."""
    while not stopping.is_set():
        with app.app_context():
            if owed_checks.lock_sweep(SWEEP_SECONDS) and (number := sweep()):
                log.warning("made %d overdue checks of deliveries or claims: a worker died, froze or is slow", number)
        stopping.wait(SWEEP_SECONDS)


def run_forgetting(app: Flask, _: dramatiq.Broker, stopping: threading.Event) -> None:
    """Delete ids of gone users once their tokens have expired, until `stopping` is set."""
    while not stopping.is_set():
        with app.app_context():
            erase.forget_tombstones()
        stopping.wait(FORGET_SECONDS)


class BackgroundTasks(Middleware):
    """Runs the background tasks of a worker. A failed task is restarted with backoff."""

    tasks: tuple[Task, ...] = (
        run_relay,
        run_relay_of_users,
        run_watch,
        run_sweep,
        run_forgetting,
        run_scrape,
        run_counting,
    )

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._stopping.clear()
        for task in self.tasks:
            thread = threading.Thread(target=self._keep_running, args=(task, broker), name=task.__name__, daemon=True)
            self._threads.append(thread)
            thread.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._stopping.set()
        while self._threads:  # of each worker of this process
            self._threads.pop().join(STOP_SECONDS)

    def _keep_running(self, task: Task, broker: dramatiq.Broker) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                task(self._app, broker, self._stopping)
            except (SQLAlchemyError, psycopg2.Error, redis.RedisError, OSError, *BROKER_UNAVAILABLE) as error:
                log.warning("%s interrupted, retrying: %s", task.__name__, error)
            except Exception:
                log.exception("%s failed, restarting it", task.__name__)
            failures = 0 if time.monotonic() - started > RESET_BACKOFF_AFTER else failures + 1
            self._stopping.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
