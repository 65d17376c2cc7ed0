"""Configures gunicorn, which loads this file by default: `gunicorn wsgi:app`."""

# Before any other import. gunicorn's master uses the unpatched modules to fork, reap and wait for signals.
from gevent import monkey

monkey.patch_all(os=False, signal=False, subprocess=False, queue=False)

import resource  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import gunicorn.http.wsgi  # noqa: E402
import gunicorn.util  # noqa: E402

from app.db import cooperative  # noqa: E402
from app.http import server  # noqa: E402
from app.http.access_log import AccessLogger  # noqa: E402
from app.observability import logging as logs  # noqa: E402
from app.settings import Settings, SettingsError  # noqa: E402

try:
    settings = Settings.from_env()
except SettingsError as error:
    sys.exit(f"Invalid settings:\n{error}")

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.web_workers
worker_class = server.Worker
worker_connections = settings.web_connections
logger_class = AccessLogger
loglevel = settings.log_level
logconfig_dict = logs.config(settings)
timeout = 30
graceful_timeout = 30
keepalive = 30
http_parser = "python"  # app/http/parser.py extends it; the parser in C has no wheels for Linux
limit_request_line = server.MAX_REQUEST_LINE
# TRUSTED_PROXIES decides what is believed. So nothing of gunicorn's own is, and no address is compared.
forwarded_allow_ips, secure_scheme_headers, forwarder_headers = "*", {}, ""
control_socket_disable = True  # it would write to the home directory

# In place of functions that make the same value for each request.
gunicorn.util.http_date = server.http_date
gunicorn.http.wsgi.base_environ = server.base_environ
gunicorn.util.write_error = lambda connection, status, *_: connection.refuse(status)
cooperative.install(reply_seconds=settings.database_statement_timeout_ms / 1000 + 5)

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each connection takes a descriptor


def post_fork(server: Any, worker: Any) -> None:
    worker.queued_signals = server.SIG_QUEUE


def post_worker_init(worker: Any) -> None:
    from app.feed.maintenance import trust
    from app.observability import service

    service.join()
    trust.watch(worker.wsgi)


def worker_exit(server: Any, worker: Any) -> None:
    from app.observability import service

    worker.log.flush()
    service.write()


def when_ready(server: Any) -> None:
    """Check the databases, and request warming if Redis is empty. Failures do not prevent the start."""
    from app.db import requirements
    from app.db.engine import db
    from app.factory import create_app
    from app.feed.maintenance import failover
    from app.redis import replication
    from app.redis.client import close

    app = create_app(settings)
    with app.app_context():
        requirements.check_at_start()
        replication.check_at_start()
        try:
            asked = failover.warm_if_empty()
            server.log.info("no feeds in Redis: warming requested" if asked else "warming not needed")
        except Exception as error:
            server.log.warning("could not request warming, feeds are built when they are read: %s", error)
        finally:
            # Forked workers must not share these connections.
            for engine in db.engines.values():
                engine.dispose()
            close(app)
