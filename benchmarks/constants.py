"""The constants of deploy/capacity: processor time for each thing that is done, bytes for each thing that is kept.

    python -m benchmarks.constants [NAME…]       # JSON, after some three minutes

PostgreSQL (a wheel's) and Redis are the run's own. RabbitMQ is the machine's: nobody else should use it meanwhile.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psycopg2

from app.settings import Settings
from benchmarks import costs, sizes, world
from benchmarks.costs import Meter
from benchmarks.stage import Stage, open_stage
from local.services import start_postgresql

Measure = Callable[[Stage, Settings, Meter], object]

MEASURES: dict[str, Measure] = {
    "rows": lambda stage, _, __: sizes.rows(stage),
    "memory": lambda stage, village, _: sizes.memory(stage, village),
    "rebuild": costs.rebuilds,
    "read": costs.reads,
    "warm": costs.warms,
    "delivery": lambda stage, _, meter: costs.deliveries(stage, stage.settings("crowds", world.crowds), meter),
    "message": costs.messages,
    "write": costs.writes,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*MEASURES]))
def main(names: tuple[str, ...]) -> None:
    """Measure what deploy/capacity/constants.py holds: microseconds of a core, and bytes. All, or those NAMES."""
    result: dict[str, object] = {}
    with own_postgresql() as postgresql, open_stage(quick=False) as stage:
        meter, village = Meter(postgresql), _village(stage)
        for name in names or MEASURES:
            click.echo(name, err=True)
            result[name] = MEASURES[name](stage, village, meter)
    click.echo(json.dumps(result, indent=2))


@contextmanager
def own_postgresql() -> Iterator[int]:
    """A server of the run, which the stage will take. Yields its process id."""
    folder = Path(tempfile.mkdtemp(prefix="lenta-constants-"))
    folder.chmod(0o755)
    server = start_postgresql(folder / "postgresql")
    os.environ["TEST_POSTGRES_URL"] = server.url("DATABASE").replace("DATABASE", "{}")
    try:
        yield server.process.pid
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _village(stage: Stage) -> Settings:
    """20,000 users who write and follow, and an author whom a few of them follow."""
    village = stage.settings("village", world.village)
    sizes.fill_users(village)
    connection = psycopg2.connect(village.posts_database_url)
    with connection, connection.cursor() as cursor:
        world.insert_follows(cursor, ((follower, costs.AUTHOR) for follower in range(costs.FEW)))
    connection.autocommit = True
    connection.cursor().execute("VACUUM ANALYZE")
    connection.close()
    return village


if __name__ == "__main__":
    main()
