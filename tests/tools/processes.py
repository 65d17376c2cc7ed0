"""Starts the service as in production: gunicorn and dramatiq as processes."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.settings import Settings
from tests.factories import eventually
from tests.tools import documented

ROOT = Path(__file__).parents[2]
START_SECONDS = 90  # of a busy machine


class Process:
    """A command in a new session, with the environment of `settings`; output goes to `log`.

    `host` is a program that runs it, with arguments: in a network namespace, for one.
    """

    def __init__(self, command: list[str], settings: Settings, log: Path, host: Sequence[str] = ()) -> None:
        self.command, self.log = command, log
        with log.open("a") as output:
            self._popen = subprocess.Popen(
                [*host, sys.executable, "-m", *command],
                cwd=ROOT,
                env=environ_of(settings),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def children(self) -> list[int]:
        """The process's own children, the oldest first."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def send(self, signal_: int) -> None:
        self._popen.send_signal(signal_)

    def stop(self, signal_: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Stop a process and its leftovers. Returns the exit code."""
        if self.is_running():
            self._popen.send_signal(signal_)
        try:
            return self._popen.wait(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)


class Web(Process):
    """gunicorn, ready to be asked."""

    def __init__(self, settings: Settings, log: Path) -> None:
        super().__init__(["gunicorn", "wsgi:app"], settings, log)
        self.port = settings.port

    def wait(self) -> "Web":
        eventually(self._is_ready, f"gunicorn is ready, {self.log}", START_SECONDS)
        return self

    def _is_ready(self) -> bool:
        try:
            return self.get("/health/live")[0] == 200
        except OSError:
            return False

    def get(self, path: str, token: str = "") -> tuple[int, Any, dict[str, str]]:
        return self.call("GET", path, token)

    def call(self, method: str, path: str, token: str = "", body: Any = None) -> tuple[int, Any, dict[str, str]]:
        """Send one request on a new connection. Returns (status, JSON, headers)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"X-Auth": token} | ({"Content-Type": "application/json"} if body is not None else {})
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            data, given = response.read(), dict(response.getheaders())
            documented.check(method, urlsplit(path).path, response.status, given, data)
            return response.status, json.loads(data), given
        finally:
            connection.close()


def start_worker(settings: Settings, log: Path, *options: str) -> Process:
    """One worker process; ready when it says so."""
    earlier = log.stat().st_size if log.exists() else 0  # of another worker with the same log
    worker = Process(["dramatiq", "workers.main", "--processes", "1", "--threads", "4", *options], settings, log)
    eventually(lambda: b"ready for action" in log.read_bytes()[earlier:], f"the worker is ready, {log}", START_SECONDS)
    return worker


def environ_of(settings: Settings) -> dict[str, str]:
    """The environment of a process that has these settings."""
    return os.environ | {field.name.upper(): str(getattr(settings, field.name)) for field in fields(Settings)}


def flask(settings: Settings, *arguments: str) -> str:
    """Run a command and return its output. Exit code 1 is a finding, 2 a failure."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ_of(settings), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout
