"""Many writes at once: what a commit with an event costs, and the rate of POST /post/create."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class
from sqlalchemy import text

from app.auth.tokens import issue_token
from app.db.connections import session_options
from app.db.engine import POSTS, commit, execute
from app.settings import Settings
from benchmarks import datasets, load
from benchmarks.comparison import FLOOR, OURS, PEER, Contest, Goal, Unavailable
from benchmarks.environment import Stage
from benchmarks.processes import web

CLIENTS = 64
SPARE_CONNECTIONS = 50  # of the web, beside the clients
SECONDS, QUICK_SECONDS = 4.0, 1.0
SLOW_DISK = {"commit_delay": 2000, "commit_siblings": 0}  # every flush takes 2 ms more; only a superuser may set it

# The rows of POST /post/create.
SCRIPT = """
\\set author random({first}, {last})
BEGIN;
INSERT INTO posts (author_id, text) SELECT :author, '{text}' WHERE hold_user(:author) RETURNING id \\gset
INSERT INTO outbox (event, payload) VALUES ('post_created', jsonb_build_object('post_id', :id, 'author_id', :author));
COMMIT;
"""


def commits(stage: Stage) -> Iterator[Contest]:
    """Measure commits of a post and its event by sessions like those of the application.

    Beside the same without the trigger that may NOTIFY; and beside sessions for which it does, as the version before.
    Then once more as if the disk took 2 ms for a commit.
    """
    settings, bare = _settings(stage), stage.settings("without_notify", _drop_trigger)
    seconds = QUICK_SECONDS if stage.quick else SECONDS
    for name, disk in (("commits with an event", {}), ("the same, a commit takes 2 ms", SLOW_DISK)):
        sides = {
            OURS: lambda disk=disk: pgbench(settings, seconds, stage.folder, session_options(settings) | disk),
            FLOOR: lambda disk=disk: pgbench(bare, seconds, stage.folder, disk),
            PEER: lambda disk=disk: pgbench(settings, seconds, stage.folder, disk),
        }
        goals = [
            Goal(f"{name}, beside none to wake", "≥", (0.95,), FLOOR),
            Goal(f"{name}, beside NOTIFY", "≥", (1.5,), PEER),
        ]
        yield Contest("commits/s", sides, goals)


def posts(stage: Stage) -> Iterator[Contest]:
    """Measure POST /post/create by 64 clients.

    Beside the same rows by pgbench, in one transaction without NOTIFY. No worker runs: what follows a write is measured
    elsewhere.
    """
    settings, bare = _settings(stage), stage.settings("without_notify", _drop_trigger)
    seconds = QUICK_SECONDS if stage.quick else SECONDS
    with stage.app(settings):
        datasets.fill_feeds([datasets.user(0)], 1)  # on an empty Redis the start-up hook would ask for warming
        tokens = [issue_token(datasets.user(number)) for number in range(CLIENTS)]
    body = json.dumps({"text": datasets.TEXT.format(1)})
    with web(settings, stage.folder) as url:
        address = f"{url}/post/create"
        sides = {
            OURS: lambda: load.rate(address, tokens, seconds, stage.folder, CLIENTS, body),
            FLOOR: lambda: pgbench(bare, seconds, stage.folder, {}),
        }
        yield Contest("posts/s", sides, [Goal("create posts, beside their rows", "≥", (0.5,), FLOOR)])
    with stage.app(settings):  # or the next worker on these databases delivers them all
        execute(POSTS, text("TRUNCATE outbox"))
        commit()


def pgbench(settings: Settings, seconds: float, folder: Path, options: Mapping[str, object]) -> float:
    """Transactions a second of SCRIPT by CLIENTS connections whose sessions have these options."""
    script = folder / "post.sql"
    script.write_text(SCRIPT.format(first=datasets.user(0), last=datasets.user(CLIENTS), text=datasets.TEXT.format(1)))
    chosen = " ".join(f"-c {name}={value}" for name, value in options.items())
    command = ["pgbench", "-n", "-f", str(script), "-c", str(CLIENTS), "-j", "2", "-T", str(max(1, round(seconds)))]
    result = subprocess.run(
        [*command, settings.posts_database_url],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PGOPTIONS": chosen},
    )
    found = re.search(r"tps = ([\d.]+) \(without", result.stdout)
    if found is None:
        raise ValueError(result.stdout + result.stderr)
    return float(found[1])


def _settings(stage: Stage) -> Settings:
    """Return the settings of empty databases. Raises Unavailable."""
    if shutil.which("pgbench") is None:
        raise Unavailable("needs pgbench: PostgreSQL's package has it")
    settings = stage.settings("commits")
    with stage.app(settings):
        free = "SELECT current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity)"
        number = execute(POSTS, text(free)).scalar_one()
    if number < CLIENTS + SPARE_CONNECTIONS:
        raise Unavailable(f"needs {CLIENTS + SPARE_CONNECTIONS} free connections of PostgreSQL, and {number} are")
    return settings


def _drop_trigger(cursor: Cursor, _: bool) -> None:
    cursor.execute("DROP TRIGGER notify_outbox ON outbox")
