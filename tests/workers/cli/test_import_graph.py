"""import-graph: the databases contain the whole file, or nothing of it."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy import text

from app.db.engine import POSTS, USERS, db
from app.users import service as users
from tests.factories import eventually
from tests.workers.cli.conftest import Load
from workers.cli import import_graph

LOADED = ("import-graph", "graph.txt")


def rows(bind: str, query: str) -> list[Any]:
    with db.engines[bind].connect() as connection:
        return list(connection.execute(text(query)))


def people() -> list[int]:
    """Ids in the order of the nodes."""
    return [row.id for row in rows(USERS, "SELECT id FROM users ORDER BY id")]


def follows() -> set[tuple[int, int]]:
    """Follower and followee, as places among the people, counted from 0."""
    place = {user_id: number for number, user_id in enumerate(people())}
    return {(place[a], place[b]) for a, b in rows(POSTS, "SELECT follower_id, followee_id FROM follows")}


def left() -> int:
    """Rows in all the tables."""
    posts = rows(
        POSTS, "SELECT id FROM posts UNION ALL SELECT follower_id FROM follows UNION ALL SELECT id FROM outbox"
    )
    return len(people()) + len(posts)


def test_the_first_of_a_line_follows_the_second(load: Load) -> None:
    result = load("10 30\n20 10\n")

    assert result.exit_code == 0, result.output
    assert follows() == {(0, 2), (1, 0)}


def test_mutual_makes_both_follow_each_other(load: Load) -> None:
    load("1 2\n2 3\n", "--mutual")

    assert follows() == {(0, 1), (1, 0), (1, 2), (2, 1)}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_a_dash_reads_standard_input(runner: FlaskCliRunner, pack: Callable[[bytes], bytes]) -> None:
    result = runner.invoke(args=["import-graph", "-"], input=pack(b"1 2\n"))

    assert result.exit_code == 0, result.output
    assert follows() == {(0, 1)}


def test_a_malformed_line_of_standard_input_is_named(runner: FlaskCliRunner) -> None:
    result = runner.invoke(args=["import-graph", "-"], input="1 2\n1\n")

    assert result.exit_code == 1
    assert "standard input, line 2" in result.output


@pytest.mark.parametrize("options", [(), ("--mutual",)])
def test_a_repeated_edge_counts_once(load: Load, options: tuple[str, ...]) -> None:
    result = load("1 2\n1 2\n2 1\n", *options)

    assert follows() == {(0, 1), (1, 0)}
    assert "2 users, 2 follows and 0 posts" in result.output


def test_comments_blank_lines_and_any_white_space_are_fine(load: Load) -> None:
    load("# Nodes: 3 Größe\r\n\r\n  1\t2\r\n   # more\n3   1")

    assert follows() == {(0, 1), (2, 0)}


def test_a_gzipped_file_is_known_by_its_content_not_its_name(load: Load) -> None:
    result = load(gzip.compress(b"1 2\n"))

    assert result.exit_code == 0, result.output
    assert follows() == {(0, 1)}


@pytest.mark.parametrize("bad", ["1", "1 2 3", "1 x", "-1 2", "1.5 2", "1 ²", "1,2", "7 7", "007 7", "1 " + 20 * "9"])
def test_a_malformed_line_is_named_and_nothing_is_kept(load: Load, bad: str) -> None:
    result = load(f"# heading\n1 2\n\n{bad}\n2 3\n", "--posts-per-user", "1")

    assert result.exit_code == 1
    assert "line 4:" in result.output
    assert left() == 0


def test_bytes_that_are_no_text_are_a_malformed_line(load: Load) -> None:
    result = load(b"1 2\n\xff\xfe\n")

    assert result.exit_code == 1
    assert "line 2:" in result.output


@pytest.mark.parametrize("content", [gzip.compress(b"1 2\n" * 9, mtime=0)[:-9], b"\x1f\x8bnot gzip at all"])
def test_a_broken_archive_is_an_error_and_nothing_is_kept(load: Load, content: bytes) -> None:
    result = load(content)

    assert result.exit_code == 1
    assert "Error: cannot read" in result.output
    assert left() == 0


def test_a_file_without_edges_is_an_error(load: Load) -> None:
    result = load("# nothing\n")

    assert result.exit_code == 1
    assert "contains no follows" in result.output


def test_a_missing_file_is_an_error(runner: FlaskCliRunner, tmp_path: Path) -> None:
    result = runner.invoke(args=["import-graph", str(tmp_path / "missing.txt")])

    assert result.exit_code == 1
    assert "missing.txt: No such file or directory" in result.output


def test_authors_take_turns(load: Load) -> None:
    load("1 2\n2 3\n", "--posts-per-user", "4")

    authors = [row.author_id for row in rows(POSTS, "SELECT author_id FROM posts ORDER BY id")]
    assert authors == people() * 4


def test_turns_hold_where_the_sequence_of_ids_wraps(load: Load) -> None:
    load("1 2\n", "--posts-per-user", "5000")

    authors = [row.author_id for row in rows(POSTS, "SELECT author_id FROM posts ORDER BY id")]
    assert authors == people() * 5000


def test_posts_and_people_are_presentable(load: Load) -> None:
    load("1 2\n", "--posts-per-user", "20")

    for person in rows(USERS, "SELECT first_name, second_name, city, biography FROM users"):
        assert all(value.strip() == value != "" for value in person)
    posts = [row.text for row in rows(POSTS, "SELECT text FROM posts")]
    assert len(set(posts)) > 10
    assert all(10 < len(post) < 100 for post in posts)


def test_the_same_file_gives_the_same_people(load: Load) -> None:
    names = "SELECT first_name, second_name, birthdate, biography, city FROM users ORDER BY id"
    load("1 2\n3 4\n")
    first = rows(USERS, names)

    load("3 4\n1 2\n")

    assert rows(USERS, names) == first * 2


def test_no_events_are_written(load: Load) -> None:
    load("1 2\n", "--posts-per-user", "3")

    assert rows(POSTS, "SELECT id FROM outbox") == []


def test_nothing_is_written_to_redis(app: Flask, load: Load) -> None:
    before = app.extensions["redis"].keys()

    load("1 2\n", "--posts-per-user", "3")

    assert app.extensions["redis"].keys() == before


def test_the_best_connected_are_printed_first(load: Load) -> None:
    star = "".join(f"{leaf} 50\n" for leaf in range(20))

    result = load(star + "0 1\n1 2\n1 3\n")

    ids = people()
    printed = re.findall(r"^  (\d+)  (\S+ \S+) +(\d+) followers, follows (\d+)$", result.output, re.MULTILINE)
    assert [(int(user_id), int(a), int(b)) for user_id, _, a, b in printed[:3]] == [
        (ids[20], 20, 0),
        (ids[1], 1, 3),
        (ids[0], 0, 2),
    ]
    assert printed[0][1] == " ".join(rows(USERS, f"SELECT first_name, second_name FROM users WHERE id = {ids[20]}")[0])


def test_the_last_line_says_how_to_warm_the_feeds(load: Load) -> None:
    result = load("1 2\n")

    assert "`warm-cache --wait` is next" in result.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "password"), [((), import_graph.DEV_PASSWORD), (("--password", "open sesame"), "open sesame")]
)
def test_everybody_logs_in_with_the_password_printed(load: Load, options: tuple[str, ...], password: str) -> None:
    result = load("1 2\n", *options)

    assert password in result.output
    assert all(users.log_in(user_id, password) for user_id in people())


def test_a_password_that_could_not_be_registered_is_refused(load: Load) -> None:
    result = load("1 2\n", "--password", "short")

    assert result.exit_code == 2
    assert left() == 0


def test_what_was_there_before_stays(load: Load) -> None:
    load("1 2\n", "--posts-per-user", "1")

    load("1 2\n", "--posts-per-user", "1")

    assert follows() == {(0, 1), (2, 3)}
    assert len(rows(POSTS, "SELECT id FROM posts")) == 4


def test_a_failure_in_posts_leaves_no_users(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_graph, "_text", lambda _random: "a NUL\0, which PostgreSQL refuses")

    result = load("1 2\n", "--posts-per-user", "1")

    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert left() == 0


def test_it_vacuums_and_analyzes_each_table_it_fills(load: Load) -> None:
    # The counts, not relallvisible: a snapshot of any other session may hold that back for a while.
    query = """
        SELECT relname, vacuum_count, analyze_count FROM pg_stat_user_tables
        WHERE relname IN ('users', 'follows', 'posts') ORDER BY relname
    """

    def counts() -> list[tuple[str, int, int]]:
        return [tuple(row) for bind in (USERS, POSTS) for row in rows(bind, query)]

    once_more = [(table, vacuums + 1, analyses + 1) for table, vacuums, analyses in counts()]

    load("1 2\n2 3\n", "--posts-per-user", "2")

    assert [table for table, *_ in once_more] == ["users", "follows", "posts"]
    eventually(lambda: counts() == once_more, "one VACUUM ANALYZE of each table")
