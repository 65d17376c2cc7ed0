"""Reads files and writes rows for commands that import."""

import csv
import gzip
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, StringIO, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, Any

import click
from sqlalchemy import text

from app.db.engine import db
from app.users.schemas import Registration

STDIN = Path("-")
GZIP_MAGIC = b"\x1f\x8b"
COPY_ROWS = 10_000  # in one COPY; the progress bar moves this often


class MalformedLine(ValueError):
    pass


def check_password(_context: click.Context, _option: click.Parameter, password: str | None) -> str | None:
    """Refuse a password that could not be registered."""
    problems = Registration(only=("password",)).validate({"password": password}) if password is not None else {}
    if problems:
        raise click.BadParameter(" ".join(problems["password"]))
    return password


def name_of(file: Path) -> str:
    return "standard input" if file == STDIN else str(file)


def open_bytes(file: Path) -> BufferedReader:
    if file == STDIN:
        stdin: Any = sys.stdin.buffer
        return BufferedReader(stdin)
    return file.open("rb")


@contextmanager
def text_of(raw: BufferedReader, errors: str) -> Iterator[IO[str]]:
    """Read UTF-8, plain or gzipped. `errors` says what becomes of other bytes."""
    zipped = raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
    with TextIOWrapper(gzip.open(raw) if zipped else raw, encoding="utf-8-sig", errors=errors, newline="") as lines:
        yield lines


def copy(cursor: Any, table: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[int]:
    """COPY the rows in batches. Yields the size of each. No value may be None."""
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT csv)"
    left = iter(rows)
    while batch := list(islice(left, COPY_ROWS)):
        lines = StringIO()
        csv.writer(lines, quoting=csv.QUOTE_ALL).writerows(batch)  # unquoted and empty would be NULL
        lines.seek(0)
        cursor.copy_expert(statement, lines)
        yield len(batch)


def vacuum(bind: str, tables: str) -> None:
    """Update the visibility map, for index-only scans, and the planner's statistics."""
    with db.engines[bind].connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(f"VACUUM ANALYZE {tables}"))
        connection.detach()  # the setting ends with the connection
