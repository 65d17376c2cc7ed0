"""Sets up the connections of the pools, and discards those that the server has closed."""

import select
from collections.abc import Mapping
from typing import Any

from gevent.monkey import get_original
from sqlalchemy.exc import DisconnectionError

from app.db import cooperative
from app.redis.pool import ConnectionCount
from app.settings import Settings

CONNECTIONS = ConnectionCount()  # through the pools
IDLE_TRANSACTION_MS = 15_000

# The version before relies on NOTIFY. A trigger sends it in sessions without this setting; the next version drops it.
WAKES_RELAY = "lenta.wakes_relay"

_poll = get_original("select", "poll")  # never waits, so it need not be cooperative


def session_options(settings: Settings) -> dict[str, object]:
    """Return the options of a session. A timeout of 0 disables it.

    The server's keepalives and idle timeout release locks of a vanished client in seconds instead of hours.
    """
    idle_ms = IDLE_TRANSACTION_MS if settings.database_statement_timeout_ms else 0
    return {
        "jit": "off",  # on overestimated plans (a feed of 5,000 authors) it triples the time
        "statement_timeout": settings.database_statement_timeout_ms,
        "lock_timeout": settings.database_lock_timeout_ms,
        "idle_in_transaction_session_timeout": idle_ms,
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        WAKES_RELAY: "on",
    }


def connect(dialect: object, record: object, arguments: object, parameters: dict[str, Any]) -> Any:
    return cooperative.connect(parameters)


def on_connect(session_options: Mapping[str, object], connection: Any, record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(";".join(f"SET {name} = {value}" for name, value in session_options.items()))
    connection.commit()
    CONNECTIONS.add()
    record.info["is_new"] = True  # for discard_closed_connection


def discard_closed_connection(connection: Any, record: Any, _: object) -> None:
    """Discard a pooled connection that the server has closed.

    Unexpected input on an idle socket means EOF. Polls the socket instead of `pool_pre_ping`, which costs a round trip
    and hangs on a frozen server. A new connection is not checked: after two invalid ones SQLAlchemy raises an error
    that is not a DBAPIError.
    """
    if record.info.pop("is_new", False):
        return
    poll = _poll()
    if not connection.closed:
        poll.register(connection, select.POLLIN)
    if connection.closed or poll.poll(0):
        raise DisconnectionError("the server has closed the connection")
