"""A PostgreSQL primary and its standby, on hosts of a network. Replication is asynchronous.

The caller asks them through their sockets, which no cut parts.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import psycopg2

from local.postgres_binaries import BIN, SYSTEM_USER
from local.services import SUPERUSER, start_postgresql
from tests.factories import eventually
from tests.tools.network import Host, Network
from tests.tools.postgres_replica import copy_command

PORT = 5432
CONNECT_SECONDS = 10
CONFIGURATION = """
fsync = off  # no machine dies here
wal_keep_size = 512MB
wal_sender_timeout = 3s
wal_receiver_timeout = 3s
wal_retrieve_retry_interval = 200ms
"""
ACCESS = """
host all all samenet trust
host replication all samenet trust
"""
_AS_USER = ("setpriv", f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--clear-groups")


class Member:
    """One server, and its folder."""

    def __init__(self, host: Host, folder: Path) -> None:
        folder.mkdir()
        shutil.chown(folder, SYSTEM_USER, SYSTEM_USER)
        self.host, self._folder, self.data = host, folder, folder / "data"
        self._popen: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{database}?host={self._folder}"

    def start(self) -> None:
        command = [*_AS_USER, BIN / "postgres", "-D", self.data, "-c", f"listen_addresses={self.host.ip}"]
        command += ["-c", f"unix_socket_directories={self._folder}"]
        with (self._folder / "postgresql.log").open("a") as log:
            self._popen = self.host.popen(command, stdout=log, stderr=log, cwd=self._folder)
        eventually(self._answers, f"PostgreSQL replies, {self._folder}/postgresql.log")

    def copy(self, other: "Member") -> None:
        """Become a standby of another server."""
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"postgresql://{SUPERUSER}@{other.host.ip}:{PORT}/{SUPERUSER}"
        command = self.host.command([*_AS_USER, *copy_command(source, self.data)])
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True, timeout=60)
        self.start()

    def stop(self, how: signal.Signals) -> None:
        """Stop it: SIGINT is in order, SIGQUIT like a crash."""
        if self._popen is not None:
            self._popen.send_signal(how)
            self._popen.wait(30)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        main = psutil.Process(self._popen.pid)  # type: ignore[union-attr]
        main.suspend()  # the first, as it starts the others
        processes = [main, *main.children()]
        try:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def ask(self, query: str) -> Any:
        """Return the first value of a row."""
        with closing(psycopg2.connect(self.url(SUPERUSER), connect_timeout=CONNECT_SECONDS)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(query)
            return cursor.fetchone()[0]  # type: ignore[index]

    def _answers(self) -> bool:
        with suppress(psycopg2.OperationalError):
            return self.ask("SELECT true") is True
        return False


class PostgresPair:
    """The two, ready to be used."""

    def __init__(self, network: Network, folder: Path) -> None:
        folder.mkdir()
        source = start_postgresql(folder / "first")
        source.stop()
        self.primary, self.standby = (
            Member(network.host(f"postgres{number}"), folder / f"postgres{number}") for number in range(2)
        )
        (folder / "first").rename(self.primary.data)
        for name, text in (("postgresql.conf", CONFIGURATION), ("pg_hba.conf", ACCESS)):
            with (self.primary.data / name).open("a") as file:
                file.write(text)
        self._hosts = [self.primary.host, self.standby.host]  # in the order of URLs, whichever is the primary
        self.current_at = 0.0
        self.primary.start()
        self.standby.copy(self.primary)
        self.wait()

    def url(self, database: str) -> str:
        """Return the URL of a client that looks for the primary."""
        hosts, ports = ",".join(host.ip for host in self._hosts), ",".join(str(PORT) for _ in self._hosts)
        return f"postgresql://{SUPERUSER}@/{database}?host={hosts}&port={ports}&target_session_attrs=read-write"

    def wait(self) -> None:
        """Wait until the standby streams, and has all that the primary had at `current_at`."""
        self._reconnect()
        at = monotonic()
        position = self.primary.ask("SELECT CAST(pg_current_wal_flush_lsn() AS text)")
        query = f"""
            SELECT pg_last_wal_replay_lsn() >= CAST('{position}' AS pg_lsn)
                AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')
        """
        eventually(lambda: self.standby.ask(query), "the standby has replayed all", 60)
        self.current_at = at

    def safe_at(self) -> float:
        """Return the latest moment whose acknowledged commits the standby has all. Its link must be cut.

        A commit takes its time before it is written, and is acknowledged after: so none from before the time of the
        last one that was replayed is missing.
        """
        now = monotonic()
        age = self.standby.ask(
            "SELECT CAST(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) AS float)"
        )
        return self.current_at if age is None else max(self.current_at, now - age)

    def promote(self) -> None:
        """Make the standby the primary. The old one must be fenced."""
        self.standby.ask("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    def timeline(self) -> str:
        return str(self.primary.ask("SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"))

    def close(self) -> None:
        for member in (self.primary, self.standby):
            member.stop(signal.SIGQUIT)

    def _reconnect(self) -> None:
        """Have a standby that waits for a lost packet connect again."""
        self.standby.ask("""
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE backend_type = 'walreceiver'
                AND pid NOT IN (SELECT pid FROM pg_stat_wal_receiver WHERE status = 'streaming')
        """)
