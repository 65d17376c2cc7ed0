"""Work on a large table beside the service, outside of the transaction of a migration. It may be interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep

from sqlalchemy import Connection, Engine, text

WAIT_SECONDS = 0.2


@contextmanager
def exclusive_connection(engine: Engine, lock: int) -> Iterator[Connection]:
    """Yield a connection without time limits, to one process at a time; others wait."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # the lock and these settings end with the connection
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET lock_timeout = 0"))
        # A statement that waited for the lock would keep the index from being built.
        while not connection.scalar(text(f"SELECT pg_try_advisory_lock({lock})")):
            sleep(WAIT_SECONDS)
        yield connection


def build_index(connection: Connection, name: str, table: str, columns: str, *, unique: bool = False) -> bool:
    """Build an index without locking its table, unless it is there. Returns whether it was built."""
    is_valid = connection.scalar(text(f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{name}')"))
    if is_valid:
        return False
    if is_valid is False:  # building it was interrupted
        connection.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
    kind = "UNIQUE INDEX" if unique else "INDEX"
    connection.execute(text(f"CREATE {kind} CONCURRENTLY {name} ON {table} ({columns})"))
    return True
