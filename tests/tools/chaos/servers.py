"""Where PostgreSQL and RabbitMQ are: as for the tests, TEST_* variables, this machine, or a wheel."""

import os
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import click
import psycopg2

from tests.tools.proxy import Proxy


@dataclass(frozen=True)
class Servers:
    postgres_url: str  # with {} for the database
    rabbitmq_url: str


def find(folder: Path, at_end: Callable[[Callable[[], None]], object]) -> Servers:
    """Find or start the servers; `at_end` stops started ones."""
    rabbitmq_url = os.environ.get("TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672/")
    parts = urlsplit(rabbitmq_url)
    if not _answers(parts.hostname or "127.0.0.1", parts.port or 5672):
        raise click.ClickException(f"no RabbitMQ at {parts.hostname}:{parts.port}: name one in TEST_BROKER_URL")
    return Servers(_find_postgres(folder, at_end), rabbitmq_url)


def _find_postgres(folder: Path, at_end: Callable[[Callable[[], None]], object]) -> str:
    if named := os.environ.get("TEST_POSTGRES_URL"):
        return named
    if _answers("127.0.0.1", 5432):
        for user in ("postgres", os.environ.get("PGUSER", "postgres")):
            url = f"postgresql://{user}@127.0.0.1:5432/{{}}"
            try:
                psycopg2.connect(url.format("postgres")).close()
            except psycopg2.OperationalError:
                continue
            return url
    from local.services import start_postgresql

    server = start_postgresql(folder / "postgresql")
    at_end(server.stop)
    return server.url("DATABASE").replace("DATABASE", "{}")


def proxy_to(url: str, default_port: int, address: str = "127.0.0.1") -> Proxy:
    parts = urlsplit(url)
    host = parts.hostname or parse_qs(parts.query).get("host", ["127.0.0.1"])[0]
    return Proxy(host, parts.port or default_port, address)


def through(url: str, proxy: Proxy) -> str:
    """`url` with the proxy in place of the server."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    query = "" if parts.query.startswith("host=") else parts.query
    return parts._replace(netloc=f"{user}{at}{proxy.address}:{proxy.port}", query=query).geturl()


def _answers(host: str, port: int) -> bool:
    try:
        with closing(socket.create_connection((host, port), timeout=1)):
            return True
    except OSError:
        return False
