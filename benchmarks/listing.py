"""Measures pages of the lists of a user with ten million followers.

python -m benchmarks.listing
"""

import statistics
import time
from contextlib import closing
from typing import Any

import click
import psycopg2
from flask.testing import FlaskClient
from sqlalchemy import event, text

from app.auth.tokens import issue_token
from app.db.engine import POSTS, db
from app.settings import Settings
from benchmarks.datasets import without_indexes
from benchmarks.environment import open_stage

FOLLOWERS, QUICK_FOLLOWERS = 10_000_000, 200_000
PAGE = 100  # users
FAR = 10_000  # pages before the far one; a tenth of it in a quick run
REPEATS = 50
USER = 1  # follows all others, and they it

FILL_USERS = """
    INSERT INTO users (id, first_name, second_name, birthdate, biography, city, password_hash)
    SELECT n, 'Ann', 'Lee', '1990-01-01', '', '', '' FROM generate_series(1, %s) n
"""
FILL_FOLLOWS = """
    INSERT INTO follows (follower_id, followee_id, created_at)
    SELECT {pair}, now() - n * interval '1 second' FROM generate_series(2, %s) n
"""
FAR_CURSOR = """
    SELECT (extract(epoch FROM created_at) * 1000000)::bigint || '-' || {other} FROM follows
    WHERE {one} = :user ORDER BY created_at DESC, {other} DESC OFFSET :offset LIMIT 1
"""
LISTS = {"followers": ("followee_id", "follower_id"), "list": ("follower_id", "followee_id")}


@click.command()
@click.option("--quick", is_flag=True, help="Use small data.")
def main(quick: bool) -> None:
    """Print times of the first page and a far one, then their plans."""
    followers = QUICK_FOLLOWERS if quick else FOLLOWERS
    far = FAR // 10 if quick else FAR
    with open_stage(quick=quick) as stage:
        settings = stage.settings("lists")
        click.echo(f"filling: {followers:,} followers, {followers:,} followees")
        _fill(settings, followers)
        with stage.app(settings) as app:
            client = app.test_client()
            client.environ_base["HTTP_X_AUTH"] = issue_token(USER)
            click.echo("| list | page | median, ms | slowest, ms |\n|---|---|---|---|")
            plans = [
                _measure(client, kind, page, cursor)
                for kind, columns in LISTS.items()
                for page, cursor in ((1, ""), (far, _cursor(columns, far)))
            ]
        click.echo("\n\n".join(plans))


def _fill(settings: Settings, followers: int) -> None:
    with closing(psycopg2.connect(settings.users_database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(FILL_USERS, [followers])
        connection.commit()
    with closing(psycopg2.connect(settings.posts_database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # counts are not looked at
        with without_indexes(cursor):
            for pair in (f"n, {USER}", f"{USER}, n"):
                cursor.execute(FILL_FOLLOWS.format(pair=pair), [followers])
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE")


def _cursor(columns: tuple[str, str], page: int) -> str:
    one, other = columns
    found = db.session.execute(
        text(FAR_CURSOR.format(one=one, other=other)),
        {"user": USER, "offset": (page - 1) * PAGE - 1},
        bind_arguments={"bind": db.engines[POSTS]},
    ).scalar_one()
    db.session.rollback()
    return f"&cursor={found}"


def _measure(client: FlaskClient, kind: str, page: int, cursor: str) -> str:
    """Print the times of one page. Returns its plan."""
    target = f"/friend/{kind}/{USER}?limit={PAGE}{cursor}"
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        answer = client.get(target)
        times.append(1000 * (time.perf_counter() - began))
        if answer.status_code != 200 or len(answer.json or ()) != PAGE:
            raise click.ClickException(f"{target} is answered by {answer.status}: {answer.text}")
    click.echo(f"| `/friend/{kind}` | {page:,} | {statistics.median(times):.1f} | {max(times):.1f} |")
    return f"{kind}, page {page:,}:\n{_plan(client, target)}"


def _plan(client: FlaskClient, target: str) -> str:
    """Return the plan of the query that a request sends to the posts database."""
    plans: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {statement}", parameters)
            plans.append("\n".join(line for (line,) in cursor.fetchall()))

    event.listen(db.engines[POSTS], "before_cursor_execute", explain)
    try:
        client.get(target)
    finally:
        event.remove(db.engines[POSTS], "before_cursor_execute", explain)
    return "\n".join(plans)


if __name__ == "__main__":
    main()
