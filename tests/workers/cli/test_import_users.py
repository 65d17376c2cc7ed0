# ruff: noqa: RUF001 - names in Cyrillic
"""import-users: the database contains everybody in the file, or nothing of it."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskCliRunner
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import USERS, db
from app.users import service as users
from tests.workers.cli.conftest import Load
from workers.cli import import_users, loading

LOADED = ("import-users", "people.csv")

PEOPLE = "Абрамов Сулейман,1996-09-28,Воткинск\nLee Ann,1990-01-31,Oslo\n"


def rows(columns: str) -> list[Any]:
    with db.engines[USERS].connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM users ORDER BY birthdate"))]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_a_line_is_a_user_with_the_surname_first(load: Load, pack: Callable[[bytes], bytes]) -> None:
    result = load(pack(PEOPLE.encode()))

    assert result.exit_code == 0, result.output
    assert "Loaded 2 users" in result.output
    assert rows("first_name, second_name, birthdate::text, city, biography, username") == [
        ("Ann", "Lee", "1990-01-31", "Oslo", "", None),
        ("Сулейман", "Абрамов", "1996-09-28", "Воткинск", "", None),
    ]


def test_a_dash_reads_people_from_standard_input(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["import-users", "-"], input=PEOPLE)

    assert result.exit_code == 0, result.output
    assert len(rows("id")) == 2


def test_imported_people_are_found(load: Load) -> None:
    load(PEOPLE)

    found, _ = users.search_box("СУЛЕЙМАН аб", 10)
    assert [user.second_name for user in found] == ["Абрамов"]
    assert [user.first_name for user in users.search("AN", "LE")] == ["Ann"]


def test_values_are_trimmed_and_quoted_ones_taken_as_in_csv(load: Load) -> None:
    result = load('\ufeff\r\n" Lee  Ann Mary ", 1990-01-31 ," Oslo, \\N\t""East"" "\r\n\n')

    assert result.exit_code == 0, result.output
    assert rows("first_name, second_name, city") == [("Ann Mary", "Lee", 'Oslo, \\N\t"East"')]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("Lee", "fields"),
        ("Lee Ann,1990-01-31", "fields"),
        ("Lee Ann,1990-01-31,Oslo,Norway", "fields"),
        ("name,birthdate,city", "first_name"),
        ("Lee,1990-01-31,Oslo", "first_name"),
        (f"{'L' * 101} Ann,1990-01-31,Oslo", "second_name"),
        ("Lee Ann,31.01.1990,Oslo", "birthdate"),
        ("Lee Ann,1990-02-30,Oslo", "birthdate"),
        ("Lee Ann,1899-12-31,Oslo", "birthdate"),
        (f"Lee Ann,1990-01-31,{'O' * 101}", "city"),
        ("Lee Ann,1990-01-31,Os\0lo", "city"),
        (b"Lee Ann,1990-01-31,Os\xfflo", "city"),
        ('Lee Ann,1990-01-31,"Os"lo', "expected after"),
    ],
)
def test_a_wrong_line_is_named_and_nobody_is_loaded(
    load: Load, monkeypatch: pytest.MonkeyPatch, bad: str | bytes, named: str
) -> None:
    monkeypatch.setattr(loading, "COPY_ROWS", 1)
    line = bad if isinstance(bad, bytes) else bad.encode()

    result = load(PEOPLE.encode() + b"\n" + line + b"\n" + PEOPLE.encode())

    assert result.exit_code == 1
    assert "people.csv, line 4: " in result.output
    assert named in result.output
    assert "nothing was loaded" in result.output
    assert rows("id") == []


@pytest.mark.parametrize("content", [gzip.compress(PEOPLE.encode() * 9)[:-9], b"\x1f\x8bnot gzip at all"])
def test_a_broken_archive_is_an_error_and_nobody_is_loaded(load: Load, content: bytes) -> None:
    result = load(content)

    assert result.exit_code == 1
    assert "Error: cannot read" in result.output
    assert rows("id") == []


def test_a_missing_file_of_people_is_an_error(runner: FlaskCliRunner, tmp_path: Path) -> None:
    result = runner.invoke(args=["import-users", str(tmp_path / "missing.csv")])

    assert result.exit_code == 1
    assert "missing.csv: No such file or directory; nothing was loaded" in result.output


def test_an_empty_file_loads_nobody(load: Load) -> None:
    assert "Loaded 0 users" in load("").output


def test_one_hash_is_made_and_the_printed_password_logs_everybody_in(load: Load) -> None:
    result = json.loads(load(PEOPLE, "--json").output)

    assert result.keys() == {"users", "seconds", "password"}
    assert result["users"] == 2
    assert len({password_hash for (password_hash,) in rows("password_hash")}) == 1
    assert all(users.log_in(user_id, result["password"]) for (user_id,) in rows("id"))


def test_a_password_can_be_given(load: Load) -> None:
    result = load(PEOPLE, "--password", "open sesame")

    assert "open sesame" in result.output
    assert users.log_in(rows("id")[0][0], "open sesame")


def test_a_given_password_that_could_not_be_registered_is_refused(load: Load) -> None:
    result = load(PEOPLE, "--password", "short")

    assert result.exit_code == 2
    assert rows("id") == []


def test_a_vacuum_that_fails_is_not_taken_for_a_failed_import(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: str) -> None:
        raise SQLAlchemyError("no vacuum")

    monkeypatch.setattr(import_users, "vacuum", fail)

    result = load(PEOPLE, "--password", "open sesame")

    assert (result.exit_code, len(rows("id"))) == (0, 2)
    assert "everything was loaded; VACUUM ANALYZE users failed: no vacuum" in result.output
    assert "open sesame" in result.output


def test_users_who_were_there_stay(load: Load) -> None:
    load(PEOPLE)
    load(PEOPLE)

    assert len(rows("id")) == 4
