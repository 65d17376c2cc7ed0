"""`make run` as a person meets it: nothing is configured, and everything starts."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.environment import ROOT, VARIABLES
from local.managed_process import wait_until
from local.ports import free_port

START_SECONDS = 120
STOP_SECONDS = 90
ADA = {"first_name": "Ada", "second_name": "Lovelace", "birthdate": "1990-12-10", "password": "correct horse"}


class Run:
    """Start `python -m local run` with a separate data folder and no configured servers."""

    def __init__(self, data: Path, port: int, **variables: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._output = data.with_suffix(".output")
        environ = os.environ | dict.fromkeys(VARIABLES, "") | {"PORT": str(port), "LENTA_DATA": str(data)} | variables
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local", "run"],
                cwd=ROOT,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.output() or self.process.poll() is not None, START_SECONDS)
        assert text in self.output(), self.output()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def post(self, path: str, body: dict[str, str]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


@pytest.fixture
def data() -> Iterator[Path]:
    """Not pytest's own folder: PostgreSQL's user must reach it where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="lenta-run-"))
    folder.chmod(0o755)
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def start(data: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(port: int, **variables: str) -> Run:
        runs.append(Run(data, port, **variables))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.stop()


def test_everything_starts_stops_and_finds_its_data_again(start: Callable[..., Run]) -> None:
    run = start(free_port())
    run.wait_for("Lenta is ready")
    user_id = run.post("/user/register", ADA)["user_id"]

    assert run.stop() == 0
    again = start(free_port())
    again.wait_for("Lenta is ready")

    assert again.post("/login", {"id": user_id, "password": ADA["password"]})["token"]
    assert again.stop() == 0
    assert "PostgreSQL stopped" in again.output()


def test_no_other_user_reaches_the_servers(start: Callable[..., Run], data: Path) -> None:
    run = start(free_port())
    run.wait_for("Lenta is ready")

    for server in ("PostgreSQL", "Valkey"):
        process = psutil.Process(_pid(data, server))
        assert process.net_connections("inet") == []
        sockets = [Path(connection.laddr) for connection in process.net_connections("unix") if connection.laddr]
        assert sockets
        for path in sockets:
            assert path.stat().st_mode & 0o077 == 0
            assert path.parent.stat().st_mode & 0o077 == 0


def test_an_ipv6_address_can_be_listened_on(start: Callable[..., Run]) -> None:
    run = start(free_port(), HOST="::", METRICS_HOST="::1")

    run.wait_for("Lenta is ready: http://[::1]:")

    assert run.post("/user/register", ADA)["user_id"]  # IPv4 reaches it too


def test_a_named_broker_that_does_not_answer_is_no_start(start: Callable[..., Run]) -> None:
    run = start(free_port(), BROKER_URL=f"amqp://127.0.0.1:{free_port()}/")

    assert run.process.wait(START_SECONDS) == 1
    assert "servers that you named do not answer" in run.output()
    assert "broker: " in run.output()
    assert "ready" not in run.output()


def test_what_a_killed_run_left_does_not_block_the_next(start: Callable[..., Run]) -> None:
    port = free_port()
    killed = start(port)
    killed.wait_for("Lenta is ready")

    killed.process.kill()
    killed.process.wait()
    again = start(port)

    again.wait_for("Lenta is ready")
    assert "stopped its leftover processes: web, worker, Valkey, PostgreSQL" in again.output()


def test_a_worker_that_dies_is_started_again(start: Callable[..., Run], data: Path) -> None:
    run = start(free_port())
    run.wait_for("Lenta is ready")

    os.kill(_pid(data, "worker"), signal.SIGKILL)

    run.wait_for("The worker is started again")
    assert run.stop() == 0
    order = [line.split()[0] for line in run.output().splitlines() if line.endswith(" stopped")]
    assert order == ["web", "worker", "Valkey", "PostgreSQL"]


def test_all_stop_with_an_error_where_a_server_dies(start: Callable[..., Run], data: Path) -> None:
    run = start(free_port())
    run.wait_for("Lenta is ready")

    os.kill(_pid(data, "Valkey"), signal.SIGKILL)

    assert run.process.wait(STOP_SECONDS) == 1
    assert "Valkey ended by itself (exit code -9)" in run.output()
    assert "PostgreSQL stopped" in run.output()


def test_a_second_run_on_the_same_data_is_refused(start: Callable[..., Run], data: Path) -> None:
    run = start(free_port())
    run.wait_for("Lenta is ready")

    second = _python("run", data)

    assert second.returncode == 1
    assert "Lenta runs here already" in second.stderr


def test_flask_joins_the_run(start: Callable[..., Run], data: Path) -> None:
    run = start(free_port())
    run.wait_for("Lenta is ready")

    shown = _python("flask", data, "db", "current")

    assert shown.returncode == 0, shown.stderr
    assert "(head)" in shown.stdout


@pytest.mark.parametrize("command", ["demo", "flask"])
def test_without_a_run_the_others_say_so(command: str, data: Path) -> None:
    refused = _python(command, data)

    assert refused.returncode == 1
    assert "Nothing runs here" in refused.stderr


@pytest.mark.parametrize("variable", ["PORT", "METRICS_PORT"])
def test_a_taken_port_is_named_with_the_way_out(start: Callable[..., Run], variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        run = start(free_port(), METRICS_HOST="127.0.0.1", **{variable: str(port)})

        assert run.process.wait(START_SECONDS) == 1
    assert f"Port {port} on 127.0.0.1 is taken" in run.output()
    assert f" {variable}=" in run.output()


def test_a_setting_that_cannot_be_used_is_named_before_anything_starts(start: Callable[..., Run]) -> None:
    run = start(free_port(), FEED_CAP="many")

    assert run.process.wait(START_SECONDS) == 1
    assert "FEED_CAP" in run.output()
    assert "Starting" not in run.output()


def test_one_database_without_the_other_is_refused(start: Callable[..., Run]) -> None:
    run = start(free_port(), USERS_DATABASE_URL="postgresql://127.0.0.1/users")

    assert run.process.wait(START_SECONDS) == 1
    assert "POSTS_DATABASE_URL is not" in run.output()


def _python(command: str, data: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | dict.fromkeys(VARIABLES, "") | {"LENTA_DATA": str(data)}
    line = [sys.executable, "-m", "local", command, *arguments]
    return subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=START_SECONDS)


def _pid(data: Path, name: str) -> int:
    processes = json.loads((data / "processes").read_text())
    return next(int(pid) for part, pid, _ in processes if part == name)
