"""Measures search over a million imported people, by clients, with its indexes and without.

python -m benchmarks.searching
"""

import asyncio
import csv
import json
import statistics
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from random import Random
from urllib.parse import quote, urlsplit

import click
from sqlalchemy import text

from app.auth.tokens import issue_token
from app.db.engine import USERS, db
from app.settings import Settings
from app.users.indexes import INDEXES
from benchmarks.environment import Stage, open_stage
from benchmarks.processes import web
from workers.cli.import_users import import_users

PEOPLE, QUICK_PEOPLE = 1_000_000, 10_000
CLIENTS = (1, 10, 100, 1000)
QUERIES = 1000
DROPPED = ("ix_users_username", *INDEXES)

# fmt: off
SURNAMES = (
    "Абрамов", "Васильев", "Егоров", "Захаров", "Иванов", "Козлов", "Кузнецов", "Лебедев", "Морозов", "Новиков",
    "Павлов", "Петров", "Попов", "Семёнов", "Смирнов", "Соколов", "Фёдоров", "Adeyemi", "Almeida", "Bauer", "Castro",
    "Dubois", "Fischer", "Garcia", "Haddad", "Kim", "Lindgren", "Moreau", "Nakamura", "Okafor", "Rossi", "Weber",
)
NAMES = (
    "Алексей", "Анна", "Дарья", "Иван", "Ирина", "Мария", "Ольга", "Пётр", "Сулейман", "Юлия", "Ada", "Amina", "Boris",
    "Clara", "Elena", "Fatima", "Grace", "Hugo", "Jorge", "Kofi", "Lena", "Omar", "Priya", "Yuki",
)
CITIES = ("Воткинск", "Казань", "Москва", "Berlin", "Kyoto", "Lisbon")
ENDINGS = ("ba", "da", "ka", "la", "ma", "na", "во", "ди", "ко", "ми")  # up to three, so that surnames differ
# fmt: on


@click.command()
@click.option("--quick", is_flag=True, help="Ten thousand people: to see that it works.")
@click.option("--seconds", default=10, show_default=True, help="Length of each load.")
def main(quick: bool, seconds: int) -> None:
    """Import people, and print the time of their import and a table of loads."""
    with open_stage(quick=quick) as stage:
        settings = stage.settings("people")
        file = stage.folder / "people.csv"
        people = _write(file, QUICK_PEOPLE if quick else PEOPLE)
        with stage.app(settings) as app:
            app.cli.add_command(import_users)
            result = app.test_cli_runner().invoke(args=["import-users", str(file), "--json"])
            click.echo(f"imported in {json.loads(result.output)['seconds']} s")
            token = issue_token(1)
        click.echo("| indexes | clients | answers/s | median, ms | 99 %, ms | refused |\n|---|---|---|---|---|---|")
        _measure(stage, settings, "with", people, token, seconds)
        with stage.app(settings), db.engines[USERS].begin() as connection:
            connection.execute(text(f"DROP INDEX {', '.join(DROPPED)}"))
        _measure(stage, settings, "without", people, token, seconds)


def _write(file: Path, number: int) -> list[str]:
    """Write people, the same in each run. Returns the beginnings of some names."""
    random = Random(0)
    queries = []
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        for place in range(number):
            surname = random.choice(SURNAMES) + "".join(random.choices(ENDINGS, k=random.randrange(4)))
            name = f"{surname} {random.choice(NAMES)}"
            writer.writerow((name, date(1940, 1, 1) + timedelta(days=random.randrange(25_000)), random.choice(CITIES)))
            if place % (number // QUERIES) == 0:
                turned = " ".join(reversed(name.split()))
                queries.append(random.choice((name, turned))[: random.randint(1, 12)].strip())
    return queries


def _measure(stage: Stage, settings: Settings, indexes: str, people: list[str], token: str, seconds: int) -> None:
    with web(settings, stage.folder) as url:
        for clients in CLIENTS:
            times, refused = asyncio.run(_load(url, people, token, clients, seconds))
            median, late = (1000 * part for part in _parts(times))
            rate = len(times) / seconds
            click.echo(f"| {indexes} | {clients:,} | {rate:,.0f} | {median:,.0f} | {late:,.0f} | {refused} |")


def _parts(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), sorted(times)[int(len(times) * 0.99)]


async def _load(url: str, people: list[str], token: str, clients: int, seconds: int) -> tuple[list[float], int]:
    """Search by so many clients at once. Returns the times of the answers, and how many were refused (503)."""
    times: list[float] = []
    refused = 0
    end = time.perf_counter() + seconds

    async def client(queries: Iterator[str]) -> None:
        nonlocal refused
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while (began := time.perf_counter()) < end:
            target = f"/user/search?q={quote(next(queries))}"
            writer.write(f"GET {target} HTTP/1.1\r\nHost: lenta\r\nX-Auth: {token}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            if head.startswith(b"http/1.1 200"):
                times.append(time.perf_counter() - began)
            else:
                refused += 1
        writer.close()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(_endless(people, number)))
    return times, refused


def _endless(people: list[str], seed: int) -> Iterator[str]:
    random = Random(seed)
    while True:
        yield random.choice(people)


if __name__ == "__main__":
    main()
