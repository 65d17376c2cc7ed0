"""Implements import-users: loads people from a CSV file, all of them or none."""

import csv
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from secrets import token_urlsafe
from time import monotonic
from typing import Any

import click
import psycopg2
from marshmallow import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import USERS, db
from app.errors import LentaError
from app.observability.logging import one_line
from app.users.folding import fold
from app.users.passwords import hash_password
from app.users.schemas import registration
from workers.cli.loading import STDIN, MalformedLine, check_password, copy, name_of, open_bytes, text_of, vacuum

COLUMNS = (
    *("second_name", "second_name_folded", "first_name", "first_name_folded"),
    *("birthdate", "city", "biography", "password_hash"),
)
CHECKED_VALUES = 100_000  # remembered; names, days and cities repeat


@click.command("import-users")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--password", callback=check_password, help="Password of all of them; otherwise a random one is made.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def import_users(file: Path, password: str | None, as_json: bool) -> None:
    """Load the people in FILE, all of them or none. Existing data is kept.

    FILE, plain or gzipped, or - for standard input, is CSV in UTF-8 with a line "Surname Name,birthdate,city" for each
    person: the surname ends at the first blank, and the date is ISO. If a line is wrong, it is named and nothing is
    loaded.

    All of them get one password and one argon2 hash: a million hashes would take a day. The password is printed. It
    logs in as any of them, so it is for test data, or to be changed before people use their accounts.
    """
    began = monotonic()
    chosen = password or token_urlsafe(12)
    try:
        number = _load(file, hash_password(chosen), hidden=as_json or file == STDIN or not sys.stdout.isatty())
    except (SQLAlchemyError, psycopg2.Error, LentaError) as error:
        raise click.ClickException(f"{one_line(error)}; nothing was loaded") from error
    try:
        vacuum(USERS, "users")
    except SQLAlchemyError as error:
        click.echo(f"everything was loaded; VACUUM ANALYZE users failed: {one_line(error)}", err=True)
    seconds = round(monotonic() - began, 1)
    if as_json:
        click.echo(json.dumps({"users": number, "seconds": seconds, "password": chosen}))
    else:
        click.echo(f"Loaded {number:,} users in {seconds:,} s, each with the password {chosen}")


def _load(file: Path, password_hash: str, *, hidden: bool) -> int:
    """Write everybody in one transaction, with a progress bar by the bytes read. Returns their number."""
    try:
        with open_bytes(file) as raw, closing(db.engines[USERS].raw_connection()) as connection:
            length = 0 if file == STDIN else file.stat().st_size
            bar: Any
            with click.progressbar(length=length, label="Users", hidden=hidden) as bar:
                number = 0
                for copied in _copy(connection.cursor(), raw, name_of(file), password_hash):
                    number += copied
                    bar.update(0 if hidden else raw.tell() - bar.pos)
            connection.commit()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(f"cannot read {name_of(file)}: {reason}; nothing was loaded") from error
    return number


def _copy(cursor: Any, raw: BufferedReader, name: str, password_hash: str) -> Iterator[int]:
    cursor.execute("SET LOCAL statement_timeout = 0")
    with text_of(raw, errors="surrogateescape") as lines:  # which no field takes
        reader = csv.reader(lines, strict=True)
        try:
            yield from copy(cursor, "users", COLUMNS, _rows(reader, password_hash))
        except (MalformedLine, csv.Error) as error:
            raise click.ClickException(f"{name}, line {reader.line_num}: {error}; nothing was loaded") from error


def _rows(records: Iterable[list[str]], password_hash: str) -> Iterator[tuple[object, ...]]:
    for record in records:
        if not record:
            continue  # a blank line
        if len(record) != 3:
            raise MalformedLine(f"expected Surname Name,birthdate,city, not {len(record)} fields")
        surname, _, name = record[0].strip().partition(" ")
        yield (
            *_name("second_name", surname),
            *_name("first_name", name),
            _checked("birthdate", record[1].strip()),
            _checked("city", record[2]),
            "",
            password_hash,
        )


@lru_cache(CHECKED_VALUES)
def _name(field: str, value: str) -> tuple[str, str]:
    """Check a name and fold it."""
    name = _checked(field, value)
    return name, fold(name)


@lru_cache(CHECKED_VALUES)
def _checked(field: str, value: str) -> Any:
    """Load a value as registering does. Raises MalformedLine."""
    try:
        return registration.fields[field].deserialize(value)
    except ValidationError as error:
        raise MalformedLine(f"{field}: {' '.join(error.messages)}") from error
