"""The parts of a run: how each is started, and what is said of it."""

import errno
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from sqlalchemy import make_url

from app.settings import Settings
from local import services
from local.environment import ROOT, Environ, child_environ, flask_command
from local.process import Failed, Process, shown

DATABASE_VARIABLES = ("USERS_DATABASE_URL", "POSTS_DATABASE_URL")
ORDER = ("PostgreSQL", "Valkey", "migrations", "worker", "web")  # of their start; they stop the other way round
PLACE = "  "  # between what came up and where it is

# The worker gives back what it has not finished by then.
WORKER_STOP_SECONDS = 25


class Part(NamedTuple):
    process: Process
    stop: Callable[[], None]


def check_databases(environ: Environ) -> None:
    """Raises Failed where one database is named and the other is not: that is a slip more often than a wish."""
    named = [name for name in DATABASE_VARIABLES if environ.get(name)]
    if len(named) == 1:
        (missing,) = set(DATABASE_VARIABLES) - set(named)
        raise Failed(f"{named[0]} is set, and {missing} is not: set both, or neither to have PostgreSQL started here.")


def check_ports(settings: Settings) -> None:
    """Raises Failed where something listens on one of them, with a port that is free."""
    for name, host, port in (
        ("PORT", settings.host, settings.port),
        ("METRICS_PORT", settings.metrics_host, settings.metrics_port),
    ):
        if port and not _is_free(host, port):
            other = _next_free(host, port)
            raise Failed(f"Port {port} on {host} is taken by another program. Choose another: {name}={other} make run")


def choose_metrics_port(environ: Environ) -> None:
    """Adds METRICS_PORT to `environ` where it is missing: beside another run, or another worker, the next free one."""
    usual = Settings.metrics_port
    if not environ.get("METRICS_PORT"):
        host = environ.get("METRICS_HOST", Settings.metrics_host)
        environ["METRICS_PORT"] = str(usual if _is_free(host, usual) else _next_free(host, usual))


def _next_free(host: str, port: int) -> int:
    return next((number for number in range(port + 1, 65_536) if _is_free(host, number)), 0)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise Failed(f"Cannot listen on {host}, port {port}: {error.strerror}") from error
    return True


def postgresql(data: Path, environ: Environ) -> tuple[Part | None, str]:
    """Adds both URLs to `environ` where they are missing. Returns the part, if it was started, and what to say."""
    if environ.get(DATABASE_VARIABLES[0]):
        urls = ", ".join(_bare(environ[name]) for name in DATABASE_VARIABLES)
        return None, f"  PostgreSQL  yours: {urls}"
    server = services.start_postgresql(data / "postgresql", data / "log" / "postgresql.log")
    for name, database in zip(DATABASE_VARIABLES, services.DATABASES, strict=True):
        environ[name] = server.url(database)
    part = Part(server.process, server.stop)
    return part, f"  PostgreSQL  in {shown(data / 'postgresql')}{PLACE}log {shown(server.process.log)}"


def valkey(data: Path, environ: Environ) -> tuple[Part | None, str]:
    """The same for the feeds and the queue, one Valkey for what is missing of both."""
    said = [f"{what} yours: {_bare(environ[name])}" for name, what in _VALKEY_USES if environ.get(name)]
    if len(said) == len(_VALKEY_USES):
        return None, f"  Valkey      not needed; {'; '.join(said)}"
    server = services.start_valkey(data / "valkey", data / "log" / "valkey.log", persist=True)
    for db, (name, _) in enumerate(_VALKEY_USES):
        environ.setdefault(name, server.url(db))
    text = f"  Valkey      in {shown(data / 'valkey')}{PLACE}log {shown(server.process.log)}"
    return Part(server.process, server.stop), "; ".join([text, *said])


_VALKEY_USES = (("REDIS_URL", "feeds"), ("BROKER_URL", "queue"))


def migration(data: Path, environ: Environ) -> Process:
    return _python("migrations", "migrate.log", flask_command("db", "upgrade"), data, environ)


def worker(data: Path, environ: Environ) -> Process:
    command = ["-m", "dramatiq", "workers.main", "--processes", "1", "--threads", "4"]
    command += ["--worker-shutdown-timeout", str(WORKER_STOP_SECONDS * 1000)]
    # Dramatiq asks an idle Redis only once in this many milliseconds, and a second if it is not told.
    return _python("worker", "worker.log", command, data, {"dramatiq_worker_timeout": "100"} | environ)


def web(data: Path, environ: Environ) -> Process:
    return _python("web", "web.log", ["-m", "gunicorn", "wsgi:app"], data, environ)


def _python(name: str, log: str, command: list[str], data: Path, environ: Environ) -> Process:
    environ = child_environ(environ)
    return Process(name, [sys.executable, *command], data / "log" / log, folder=ROOT, environ=environ, stop_seconds=35)


def address(settings: Settings) -> str:
    return _url(settings.host, settings.port)


def metrics(settings: Settings) -> str:
    """Where the web and the workers show theirs."""
    text = f"{address(settings)}/metrics"
    if settings.metrics_port:
        text += f"{PLACE}of the workers {_url(settings.metrics_host, settings.metrics_port)}/metrics"
    return text


def _url(host: str, port: int) -> str:
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"


def health(url: str) -> dict[str, Any] | None:
    """What the web says of itself; None while it is not ready."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as response:
            return cast(dict[str, Any], json.load(response))
    except OSError:
        return None


def invitation(url: str) -> str:
    """What to try, to be pasted as it stands."""
    as_json = "-H 'Content-Type: application/json'"
    person = '{"first_name":"Ada","second_name":"Lovelace","birthdate":"1990-12-10","password":"correct horse"}'
    login = r"{\"id\":\"$ID\",\"password\":\"correct horse\"}"
    place = os.environ.get("LENTA_DATA")
    demo = f"LENTA_DATA={place} make demo" if place else "make demo"
    return f"""
Lenta is ready: {url}   (Ctrl-C stops it)
Its documentation, to be tried out: {url}/docs
Register, log in, read the feed:

ID=$(curl -s {url}/user/register {as_json} -d '{person}' | tr -cd 0-9); echo $ID
TOKEN=$(curl -s {url}/login {as_json} -d "{login}" | cut -d'"' -f4); echo $TOKEN
curl -si {url}/post/feed -H "X-Auth: $TOKEN"

Or, in another terminal, let a whole social graph come to life: {demo}
"""


def _bare(url: str) -> str:
    """A URL without its password."""
    return make_url(url).set(password=None, query={}).render_as_string()
