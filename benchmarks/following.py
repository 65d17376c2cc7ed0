"""Following over HTTP: 16 clients follow one author, beside 16 clients that follow one author each."""

import http.client
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from urllib.parse import urlsplit

from sqlalchemy import text

from app.auth.tokens import issue_token
from app.db.engine import POSTS, USERS, commit, execute
from benchmarks import datasets
from benchmarks.comparison import FLOOR, OURS, Contest, Goal
from benchmarks.environment import Stage
from benchmarks.processes import web

CLIENTS = 16
FOLLOWS, QUICK_FOLLOWS = 60, 10  # by each client in a round

_PEOPLE = text("""
    INSERT INTO users (id, first_name, second_name, birthdate, biography, city, password_hash)
    SELECT id, 'Ann', 'Lee', '1990-01-01', '', '', '' FROM unnest(CAST(:ids AS bigint[])) AS person (id)
""")


def follow(stage: Stage) -> Iterator[Contest]:
    """Measure follows a second of one author by 16 clients, beside those of 16 authors.

    No worker runs. The difference is what followers of one author wait for each other.
    """
    settings = stage.settings("following")
    number = QUICK_FOLLOWS if stage.quick else FOLLOWS
    authors = [datasets.user(author) for author in range(CLIENTS + 1)]
    with stage.app(settings):
        execute(USERS, _PEOPLE, {"ids": authors})
        commit()
        followers = count(1_000_000)
        with web(settings, stage.folder) as url:
            sides = {
                OURS: lambda: _rate(url, authors[:1] * CLIENTS, number, followers),
                FLOOR: lambda: _rate(url, authors[1:], number, followers),
            }
            yield Contest("follows/s", sides, [Goal("follow one author, beside 16", "≥", (0.8,), FLOOR)])
        execute(POSTS, text("TRUNCATE outbox"))
        commit()


def _rate(url: str, authors: Sequence[int], number: int, followers: Iterator[int]) -> float:
    """Let a client for each author follow that author `number` times, as different users. Returns follows a second."""
    tokens = [[issue_token(datasets.user(next(followers))) for _ in range(number)] for _ in authors]
    started = time.perf_counter()
    with ThreadPoolExecutor(len(authors)) as clients:
        list(clients.map(_follow, [url] * len(authors), authors, tokens))
    return len(authors) * number / (time.perf_counter() - started)


def _follow(url: str, author: int, tokens: Sequence[str]) -> None:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
        for token in tokens:
            connection.request("PUT", f"/friend/set/{author}", headers={"X-Auth": token})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, f"the answer is {answer.status}"
