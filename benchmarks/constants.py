"""Measures the constants of benchmarks/capacity: processor time per operation, bytes per object.

    python -m benchmarks.constants [NAME…]       # JSON, after some three minutes

PostgreSQL (a wheel's) and Redis belong to the run. RabbitMQ is the machine's, and should be otherwise idle.
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
from benchmarks import cpu_time, datasets, memory
from benchmarks.cpu_time import Meter
from benchmarks.environment import Stage, open_stage
from local.services import start_postgresql

Measure = Callable[[Stage, Settings, Meter], object]

MEASURES: dict[str, Measure] = {
    "rows": lambda stage, _, __: memory.rows(stage),
    "memory": lambda stage, dataset, _: memory.memory(stage, dataset),
    "rebuild": cpu_time.rebuilds,
    "read": cpu_time.reads,
    "warm": cpu_time.warms,
    "delivery": lambda stage, _, meter: cpu_time.deliveries(
        stage, stage.settings("by_follower_count", datasets.by_follower_count), meter
    ),
    "message": cpu_time.messages,
    "write": cpu_time.writes,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*MEASURES]))
def main(names: tuple[str, ...]) -> None:
    """Measure benchmarks/capacity/constants.py: microseconds of a core, and bytes. All, or those NAMES."""
    result: dict[str, object] = {}
    with own_postgresql() as postgresql, open_stage(quick=False) as stage:
        meter, dataset = Meter(postgresql), _uniform(stage)
        for name in names or MEASURES:
            click.echo(name, err=True)
            result[name] = MEASURES[name](stage, dataset, meter)
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


def _uniform(stage: Stage) -> Settings:
    """Create 20,000 users that write and follow, and an author with a few followers."""
    dataset = stage.settings("uniform", datasets.uniform)
    memory.fill_users(dataset)
    connection = psycopg2.connect(dataset.posts_database_url)
    with connection, connection.cursor() as cursor:
        datasets.insert_follows(cursor, ((follower, cpu_time.AUTHOR) for follower in range(cpu_time.FEW)))
    connection.autocommit = True
    connection.cursor().execute("VACUUM ANALYZE")
    connection.close()
    return dataset


if __name__ == "__main__":
    main()
