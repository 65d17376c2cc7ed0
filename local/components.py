"""The components of a run: their start, readiness and messages."""

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

from app.settings import ON, Settings
from local import services
from local.environment import ROOT, Environ, child_environ, flask_command
from local.managed_process import Process, StartupError, display_path

DATABASE_VARIABLES = ("USERS_DATABASE_URL", "POSTS_DATABASE_URL")
# The order of their start; they stop the other way round.
ORDER = ("PostgreSQL", "Valkey", "servers", "migrations", "worker", "web")
GAP = "  "  # between a component and its location

ANSWER_SECONDS = 10  # for servers that are named: RabbitMQ takes about as long to start

# Then the worker requeues unfinished messages.
WORKER_STOP_SECONDS = 25


class Part(NamedTuple):
    process: Process
    stop: Callable[[], None]


def check_databases(environ: Environ) -> None:
    """Check that both databases are configured or neither. Raises StartupError."""
    named = [name for name in DATABASE_VARIABLES if environ.get(name)]
    if len(named) == 1:
        (missing,) = set(DATABASE_VARIABLES) - set(named)
        raise StartupError(
            f"{named[0]} is set, and {missing} is not: set both, or neither to have PostgreSQL started here."
        )


def check_ports(settings: Settings) -> None:
    """Check that the ports are free. Raises StartupError, which suggests a free one."""
    for name, host, port in (
        ("PORT", settings.host, settings.port),
        ("METRICS_PORT", settings.metrics_host, settings.metrics_port),
    ):
        if port and not _is_free(host, port):
            other = _next_free(host, port)
            raise StartupError(
                f"Port {port} on {host} is taken by another program. Choose another: {name}={other} make run"
            )


def choose_metrics_port(environ: Environ) -> None:
    """Add METRICS_PORT to `environ` if it is missing: the default, or the next free port."""
    usual = Settings.metrics_port
    if not environ.get("METRICS_PORT"):
        host = environ.get("METRICS_HOST", Settings.metrics_host)
        environ["METRICS_PORT"] = str(usual if _is_free(host, usual) else _next_free(host, usual))


def _next_free(host: str, port: int) -> int:
    return next((number for number in range(port + 1, 65_536) if _is_free(host, number)), 0)


def _is_free(host: str, port: int) -> bool:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise StartupError(f"Cannot listen on {host}, port {port}: {error.strerror}") from error
    return True


def postgresql(data: Path, environ: Environ) -> tuple[Part | None, str]:
    """Start PostgreSQL unless it is configured, and add its URLs to `environ`. Returns the part and a message."""
    if environ.get(DATABASE_VARIABLES[0]):
        urls = ", ".join(without_password(environ[name]) for name in DATABASE_VARIABLES)
        return None, f"  PostgreSQL  yours: {urls}"
    server = services.start_postgresql(data / "postgresql", data / "log" / "postgresql.log")
    for name, database in zip(DATABASE_VARIABLES, services.DATABASES, strict=True):
        environ[name] = server.url(database)
    part = Part(server.process, server.stop)
    return part, f"  PostgreSQL  in {display_path(data / 'postgresql')}{GAP}log {display_path(server.process.log)}"


def valkey(data: Path, environ: Environ) -> tuple[Part | None, str]:
    """Start one Valkey for feeds and queue, whichever is not configured."""
    said = [f"{what} yours: {without_password(environ[name])}" for name, what in _VALKEY_USES if environ.get(name)]
    if len(said) == len(_VALKEY_USES):
        return None, f"  Valkey      not needed; {'; '.join(said)}"
    server = services.start_valkey(data / "valkey", data / "log" / "valkey.log", persist=True)
    for db, (name, _) in enumerate(_VALKEY_USES):
        environ.setdefault(name, server.url(db))
    text = f"  Valkey      in {display_path(data / 'valkey')}{GAP}log {display_path(server.process.log)}"
    return Part(server.process, server.stop), "; ".join([text, *said])


_VALKEY_USES = (("REDIS_URL", "feeds"), ("BROKER_URL", "queue"))


def named_servers(environ: Environ) -> list[str]:
    """Return the names of configured servers to wait for, as `wait-for-services` knows them.

    Redis is not among them: without it feeds come from PostgreSQL.
    """
    needed = {"databases": DATABASE_VARIABLES[0], "broker": "BROKER_URL"}
    return [server for server, variable in needed.items() if environ.get(variable)]


def servers(names: list[str], data: Path, environ: Environ) -> Process:
    """Start a process that ends when all these servers respond, or fails after ANSWER_SECONDS."""
    command = flask_command("wait-for-services", "--timeout", str(ANSWER_SECONDS), "--for", ",".join(names))
    return _python("servers", "servers.log", command, data, environ)


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
    """Return the metrics addresses of web and workers."""
    text = f"{address(settings)}/metrics"
    if settings.metrics_port:
        text += f"{GAP}of the workers {_url(settings.metrics_host, settings.metrics_port)}/metrics"
    return text


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def health(url: str) -> dict[str, Any] | None:
    """Return the web's readiness report. None while it is not ready."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as response:
            return cast(dict[str, Any], json.load(response))
    except OSError:
        return None


def welcome_text(settings: Settings) -> str:
    """Build examples that can be pasted into a terminal."""
    url = address(settings)
    client = "for a browser; " if settings.web_client == ON else ""
    as_json = "-H 'Content-Type: application/json'"
    person = '{"first_name":"Ada","second_name":"Lovelace","birthdate":"1990-12-10","password":"correct horse"}'
    login = r"{\"id\":\"$ID\",\"password\":\"correct horse\"}"
    place = os.environ.get("LENTA_DATA")
    demo = f"LENTA_DATA={place} make demo" if place else "make demo"
    return f"""
Lenta is ready: {url}   ({client}Ctrl-C stops it)
The API, to be tried out: {url}/docs
Register, log in, read the feed:

ID=$(curl -s {url}/user/register {as_json} -d '{person}' | tr -cd 0-9); echo $ID
TOKEN=$(curl -s {url}/login {as_json} -d "{login}" | cut -d'"' -f4); echo $TOKEN
curl -si {url}/post/feed -H "X-Auth: $TOKEN"

Or, in another terminal, let a whole social graph come to life: {demo}
"""


def without_password(url: str) -> str:
    """Return a URL without its password."""
    return make_url(url).set(password=None, query={}).render_as_string()
