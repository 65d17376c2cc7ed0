"""gunicorn reads this by itself: `gunicorn wsgi:app`."""

import os
import sys
from typing import Any

import gunicorn.util

import metrics_folder

metrics_folder.choose(os.getpid())

from app import logs, stopping, unreadable  # noqa: E402 - they import prometheus_client
from app.settings import Settings, SettingsError  # noqa: E402

try:
    settings = Settings.from_env()
except SettingsError as error:
    sys.exit(f"The settings cannot be used:\n{error}")

bind = f"{settings.host}:{settings.port}"
workers = settings.web_workers
threads = settings.web_threads
worker_class = stopping.Worker
loglevel = settings.log_level
logconfig_dict = logs.config(settings)
access_log_format = '%(h)s "%(r)s" %(s)s %(B)s bytes %(M)s ms'
timeout = 30
graceful_timeout = 30
keepalive = 30
limit_request_line = unreadable.LONGEST_LINE
control_socket_disable = True  # it would write into the home directory


gunicorn.util.write_error = unreadable.refuse


def on_starting(server: Any) -> None:
    metrics_folder.choose(os.getpid())  # as a daemon it is another process by now
    metrics_folder.sweep()


def post_worker_init(worker: Any) -> None:
    from app import measuring

    measuring.keep_flushing()


def worker_exit(server: Any, worker: Any) -> None:
    from app import metrics

    metrics.flush()


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def when_ready(server: Any) -> None:
    """The start-up hook: have the feeds warmed if Redis holds none. The service starts whatever comes of it."""
    from app import create_app
    from app.db import POSTS, USERS, db
    from app.feed import watch
    from app.redis import hang_up

    app = create_app(settings)
    with app.app_context():
        try:
            asked = watch.warm_if_empty()
            server.log.info("no feed in Redis: warming asked for" if asked else "warming not needed")
        except Exception as error:
            server.log.warning("could not ask for warming, feeds are built when they are read: %s", error)
        finally:
            # Workers are forked from here: they must not share these connections.
            for bind_key in (USERS, POSTS):
                db.engines[bind_key].dispose()
            hang_up(app)
