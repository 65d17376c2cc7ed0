"""A streaming replica of a private PostgreSQL, which tests may cut off and promote."""

import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from local.postgres_binaries import BIN, prepare_user
from local.services import DATABASES, PostgreSQL, start_postgresql
from tests.factories import eventually

_, POSTS_DATABASE = DATABASES


def copy_of(server: PostgreSQL, folder: Path) -> PostgreSQL:
    """A streaming replica, running."""
    user = prepare_user(folder)
    folder.mkdir(mode=0o700)
    shutil.chown(folder, user, user)
    command = copy_command(server.url("postgres"), folder)
    subprocess.run(command, user=user, group=user, extra_groups=[], cwd=folder, check=True)
    (folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)  # the primary's
    return start_postgresql(folder)


def copy_command(url: str, folder: Path) -> list[str]:
    """A command that copies a server for a standby, which then follows `url`."""
    return [str(BIN / "pg_basebackup"), "-d", url, "-D", str(folder), "-R", "-c", "fast", "-X", "stream"]


def ask(server: PostgreSQL, query: str) -> Any:
    with closing(psycopg2.connect(server.url(POSTS_DATABASE))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchone() if cursor.description else None


def wait_until_current(primary: PostgreSQL, replica: PostgreSQL) -> None:
    [position] = ask(primary, "SELECT CAST(pg_current_wal_lsn() AS text)")
    query = f"SELECT pg_last_wal_replay_lsn() >= CAST('{position}' AS pg_lsn)"
    eventually(lambda: ask(replica, query) == (True,), "the replica has replayed all")


def cut_off(replica: PostgreSQL) -> None:
    """End its streaming, so that it lacks all later commits."""
    ask(replica, "ALTER SYSTEM SET primary_conninfo = ''")
    ask(replica, "SELECT pg_reload_conf()")
    eventually(lambda: ask(replica, "SELECT count(*) FROM pg_stat_wal_receiver") == (0,), "it receives nothing")


def promote(replica: PostgreSQL) -> None:
    ask(replica, "SELECT pg_promote()")
