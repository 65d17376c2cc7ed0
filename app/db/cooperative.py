"""Makes psycopg2 wait cooperatively, so that a query blocks its greenlet and not its process.

Like psycogreen, but with timeouts: libpq waits forever for an unresponsive server.
"""

import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

import gevent
import gevent.socket
import psycopg2
from gevent.monkey import is_module_patched
from psycopg2.extensions import POLL_OK, POLL_READ, STATUS_SETUP, set_wait_callback

CONNECT_SECONDS = 3.0


def install(reply_seconds: float) -> None:
    """Make all connections of this process cooperative. A reply may take `reply_seconds`."""
    set_wait_callback(partial(_wait, reply_seconds))


def resolve(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Add the addresses of the hosts to connection parameters, if this process is cooperative.

    libpq would look them up itself, and a slow name server would stop the whole process.
    """
    hosts = str(parameters.get("host") or "")
    if not is_module_patched("socket") or not hosts or "/" in hosts or "hostaddr" in parameters:
        return dict(parameters)
    ports = str(parameters.get("port") or "5432").split(",")
    names = hosts.split(",")
    ports = ports * len(names) if len(ports) == 1 else ports
    if len(ports) != len(names):
        return dict(parameters)  # libpq reports it
    found: list[tuple[str, str, str]] = []
    for name, port in zip(names, ports, strict=True):
        found += [(name, address, port) for address in _addresses(name)]
    host, address, port = (",".join(column) for column in zip(*found, strict=True))
    return {**parameters, "host": host, "hostaddr": address, "port": port}


def _addresses(name: str) -> list[str]:
    """Look a host up. Raises psycopg2.OperationalError."""
    try:
        with gevent.Timeout(CONNECT_SECONDS, psycopg2.OperationalError("no answer of the name server in time")):
            answers = gevent.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise psycopg2.OperationalError(f"could not look up {name}: {error}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


def _wait(reply_seconds: float, connection: Any) -> None:
    """Wait for the server's reply. Raises psycopg2.OperationalError; the connection is then closed."""
    seconds = CONNECT_SECONDS if connection.status == STATUS_SETUP else reply_seconds
    while (state := connection.poll()) != POLL_OK:
        wait = gevent.socket.wait_read if state == POLL_READ else gevent.socket.wait_write
        wait(connection.fileno(), seconds, psycopg2.OperationalError("no reply in time"))
