"""Implements import-graph: loads a social graph with generated people and posts.

It writes no feeds; warm-cache builds them from the databases.
"""

import sys
import zlib
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import click
import psycopg2
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import POSTS, USERS, db
from app.users.folding import fold
from app.users.passwords import hash_password
from workers.cli.loading import MalformedLine, check_password, copy, name_of, open_bytes, text_of, vacuum

DEV_PASSWORD = "password123"  # of generated people, for development
SHOWN = 5

# fmt: off
FIRST_NAMES = (
    "Ada", "Alan", "Amina", "Boris", "Clara", "Daniel", "Donald", "Elena", "Emeka", "Fatima", "Grace", "Hana", "Hugo",
    "Ines", "Ivan", "Jorge", "Katya", "Kofi", "Lena", "Linus", "Lucia", "Mara", "Maxim", "Nina", "Oleg", "Olga", "Omar",
    "Pavel", "Priya", "Radia", "Sofia", "Tomas", "Vera", "Yuki",
)
SECOND_NAMES = (
    "Adeyemi", "Almeida", "Bauer", "Castro", "Dubois", "Fischer", "Garcia", "Haddad", "Hopper", "Jansen", "Kapoor",
    "Kaya", "Kim", "Lindgren", "Lovelace", "Marino", "Mensah", "Moreau", "Nakamura", "Novak", "Okafor", "Perlman",
    "Petrenko", "Rossi", "Santos", "Sato", "Schmidt", "Silva", "Tanaka", "Torvalds", "Weber", "Zhang",
)
CITIES = ("Accra", "Berlin", "Istanbul", "Kazan", "Kyoto", "Lisbon", "Mexico City", "Moscow", "Mumbai", "São Paulo")
PURSUITS = (
    "baking", "birdwatching", "chess", "climbing", "cycling", "film cameras", "gardening", "jazz", "old maps",
    "running", "sailing", "science fiction", "tea", "the piano", "train journeys", "woodwork",
)
OPENINGS = (
    "A whole evening of", "First weekend of", "I can't stop thinking about", "I owe a lot to", "Monday is for",
    "My neighbour got me into", "No one warned me about", "Ten years of", "Today was all about",
)
ENDINGS = (".", "!", "…", ", again.", ". More tomorrow.", ". Pictures soon.", ". Tell me yours.", ". Worth it.")
# fmt: on
BORN_FROM, BORN_DAYS = date(1955, 1, 1), 18_000  # until 2004

Graph = dict[int, set[int]]  # each node, and the nodes that it follows


class Person(NamedTuple):
    id: int
    first_name: str
    second_name: str
    birthdate: date
    biography: str
    city: str


@click.command("import-graph")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--mutual", is_flag=True, help="Treat each line as a friendship: both follow each other.")
@click.option("--posts-per-user", type=click.IntRange(0), default=0, show_default=True, help="Posts per user.")
@click.option(
    "--password", default=DEV_PASSWORD, show_default=True, callback=check_password, help="Password of all users."
)
def import_graph(file: Path, mutual: bool, posts_per_user: int, password: str) -> None:
    """Load the social graph in FILE, with generated people and posts. Existing data is kept.

    FILE, plain or gzipped, or - for standard input, has a line "a b" for each "a follows b", where a and b are node
    numbers; lines that start with # are comments. If a line is malformed, nothing is loaded.

    Feeds are not built: run warm-cache next.
    """
    graph = _read(file, mutual)
    try:
        people = _load(graph, posts_per_user, hash_password(password))
    except (SQLAlchemyError, psycopg2.Error) as error:
        raise click.ClickException(str(error)) from error
    vacuum(USERS, "users")
    vacuum(POSTS, "posts, follows")
    _report(graph, people, posts_per_user, password)


def _read(file: Path, mutual: bool) -> Graph:
    graph: Graph = {}
    number = 0
    name = name_of(file)
    try:
        # Invalid UTF-8 makes its line malformed, unless it is in a comment.
        with open_bytes(file) as raw, text_of(raw, errors="replace") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 - the error names it
                for follower, followee in _edges(line, mutual):
                    graph.setdefault(follower, set()).add(followee)
                    graph.setdefault(followee, set())
    except MalformedLine as error:
        raise click.ClickException(f"{name}, line {number}: {error}; nothing was loaded") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.ClickException(f"cannot read {name}: {reason}; nothing was loaded") from error
    if not graph:
        raise click.ClickException(f"{name} contains no follows; nothing was loaded")
    return graph


def _edges(line: str, mutual: bool) -> Iterable[tuple[int, int]]:
    """Parse a line into pairs of follower and followee. Comments have none. Raises MalformedLine."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return ()
    if len(words) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 20 for word in words):
        raise MalformedLine(f"expected two node numbers, not {line.strip()[:60]!r}")
    follower, followee = map(int, words)
    if follower == followee:
        raise MalformedLine(f"{follower} cannot follow itself")
    return ((follower, followee), (followee, follower)) if mutual else ((follower, followee),)


def _load(graph: Graph, posts_per_user: int, password_hash: str) -> dict[int, Person]:
    """Write users, follows and posts. Returns the people by node.

    Both transactions stay open until all rows are written, so that a failure leaves nothing. Users are committed first:
    if the second commit fails, there are users without follows, never follows of missing users.
    """
    random = Random(0)  # the same file gives the same people
    with closing(db.engines[USERS].raw_connection()) as users, closing(db.engines[POSTS].raw_connection()) as posts:
        people = _copy_people(users.cursor(), graph, password_hash, random)
        _copy_follows(posts.cursor(), graph, people)
        _copy_posts(posts.cursor(), people, posts_per_user, random)
        users.commit()
        posts.commit()
    return people


def _copy_people(cursor: Any, graph: Graph, password_hash: str, random: Random) -> dict[int, Person]:
    ids = _ids(cursor, len(graph))
    people = {node: _person(user_id, random) for node, user_id in zip(sorted(graph), ids, strict=True)}
    columns = (*Person._fields, "password_hash", "first_name_folded", "second_name_folded")
    rows = ((*person, password_hash, fold(person.first_name), fold(person.second_name)) for person in people.values())
    _copy(cursor, "users", columns, rows, len(people))
    return people


def _copy_follows(cursor: Any, graph: Graph, people: dict[int, Person]) -> None:
    rows = ((people[follower].id, people[followee].id) for follower in people for followee in graph[follower])
    _copy(cursor, "follows", ("follower_id", "followee_id"), rows, sum(map(len, graph.values())))


def _copy_posts(cursor: Any, people: dict[int, Person], each: int, random: Random) -> None:
    """Write posts in rounds, so that authors alternate in every feed."""
    ids = _ids(cursor, len(people) * each)
    authors = (person.id for _ in range(each) for person in people.values())
    rows = ((post_id, author, _text(random)) for post_id, author in zip(ids, authors, strict=True))
    _copy(cursor, "posts", ("id", "author_id", "text"), rows, len(ids))


def _ids(cursor: Any, number: int) -> list[int]:
    """Generate ids and sort them, as their sequence wraps within a millisecond."""
    cursor.execute("SELECT next_id() AS id FROM generate_series(1, %s) ORDER BY id", (number,))
    return [row[0] for row in cursor]


def _copy(cursor: Any, table: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]], number: int) -> None:
    """COPY `number` rows with a progress bar."""
    hidden = number == 0 or not sys.stdout.isatty()
    with click.progressbar(length=number, label=f"{table.capitalize():7}", hidden=hidden) as bar:
        for copied in copy(cursor, table, columns, rows):
            bar.update(copied)


def _person(user_id: int, random: Random) -> Person:
    one, other = random.sample(PURSUITS, 2)
    return Person(
        user_id,
        random.choice(FIRST_NAMES),
        random.choice(SECOND_NAMES),
        BORN_FROM + timedelta(days=random.randrange(BORN_DAYS)),
        f"{one.capitalize()} and {other}.",
        random.choice(CITIES),
    )


def _text(random: Random) -> str:
    opening, ending = random.choice(OPENINGS), random.choice(ENDINGS)
    return f"{opening} {random.choice(PURSUITS)}{ending}"


def _report(graph: Graph, people: dict[int, Person], posts_per_user: int, password: str) -> None:
    followers = Counter(followee for followees in graph.values() for followee in followees)
    follows, posts = followers.total(), len(people) * posts_per_user
    click.echo(f"Loaded {len(people):,} users, {follows:,} follows and {posts:,} posts.\n")

    click.echo(f"The best connected, each with the password {password}")
    best = sorted(people, key=lambda node: (-followers[node] - len(graph[node]), node))[:SHOWN]
    for node in best:
        person = people[node]
        name = f"{person.first_name} {person.second_name}"
        click.echo(f"  {person.id}  {name:20}  {followers[node]:,} followers, follows {len(graph[node]):,}")

    click.echo("\nFeeds are still cold: `warm-cache --wait` is next.")
