"""Makes psycopg2 wait cooperatively, so that a query blocks its greenlet and not its process.

Like psycogreen, but with timeouts: libpq waits forever for an unresponsive server.
"""

import socket
from collections.abc import Mapping, Sequence
from functools import partial
from random import shuffle
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


def connect(parameters: Mapping[str, Any]) -> Any:
    """Connect to the first of several servers that answers. Returns None if libpq is to do it.

    In an asynchronous connection libpq waits for the first server without an end.
    """
    if not is_module_patched("socket"):
        return None
    failures = []
    for server in each_server(parameters):
        try:
            return psycopg2.connect(**server)
        except psycopg2.OperationalError as error:
            failures.append(error)
    raise all_of(failures)


def all_of(failures: Sequence[psycopg2.OperationalError]) -> psycopg2.OperationalError:
    """Return one error for those of all servers."""
    if len(failures) == 1:
        return failures[0]
    return psycopg2.OperationalError("; ".join(str(failure).strip() for failure in failures))


def each_server(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the connection parameters of each server, in the order in which libpq tries them.

    A cooperative process looks the hosts up: libpq would do so itself, and a slow name server would stop all of it. A
    host without an address is left out. Raises psycopg2.OperationalError if none has one.
    """
    columns = {key: str(parameters[key]).split(",") for key in ("host", "hostaddr", "port") if parameters.get(key)}
    number = max(map(len, columns.values()), default=1)
    if any(len(column) not in (1, number) for column in columns.values()):
        return [dict(parameters)]  # libpq reports it
    common = {key: value for key, value in parameters.items() if key not in columns}
    found: list[dict[str, Any]] = []
    failures = []
    for index in range(number):
        one = {key: column[index % len(column)] for key, column in columns.items()}
        try:
            found += _resolved(common | {key: value for key, value in one.items() if value})
        except psycopg2.OperationalError as error:
            failures.append(error)
    if not found:
        raise all_of(failures)
    return _ordered(found)


def _ordered(servers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep what libpq decides with all hosts in view: their order, and a second choice."""
    if servers[0].get("load_balance_hosts") == "random":
        shuffle(servers)
    if servers[0].get("target_session_attrs") == "prefer-standby":
        first, second = ([{**one, "target_session_attrs": kind} for one in servers] for kind in ("standby", "any"))
        return first + second
    return servers


def _resolved(server: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the server once for each of its addresses."""
    name = server.get("host", "")
    if not is_module_patched("socket") or not name or "/" in name or "hostaddr" in server:
        return [server]
    return [{**server, "hostaddr": address} for address in _addresses(name)]


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
