"""A clone of the project with umask 077, and its docker compose services."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from local.ports import free_port
from tests.tools.processes import ROOT

MAXIMUM_SECONDS = 600
IMAGES = re.findall(
    r"^FROM (\S+:\S+)", "".join((ROOT / name).read_text() for name in ("Dockerfile", "deploy/Dockerfile")), re.M
)
PASSWORD = "correct horse"
PROFILE = {"first_name": "Ann", "second_name": "Lee", "birthdate": "1990-01-31", "password": PASSWORD}


class Project:
    """All of its names and ports are its own, and given by the environment: `.env` is a copy of `.env.example`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder / "lenta", f"lenta-test-{secrets.token_hex(3)}"
        self.secrets = [secrets.token_hex(32) for _ in range(4)]
        self.port, self.prometheus, self.grafana = free_port(), free_port(), free_port()
        names = ("JWT_SECRET_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "GRAFANA_PASSWORD")
        self._environ = _environ(folder) | dict(zip(names, self.secrets, strict=True))
        self._environ |= {"COMPOSE_PROJECT_NAME": self.name, "COMPOSE_PROFILES": "observability"}
        self._environ |= {"PORT": str(self.port), "RABBITMQ_UI_PORT": str(free_port())}
        self._environ |= {"PROMETHEUS_PORT": str(self.prometheus), "GRAFANA_PORT": str(self.grafana)}
        _clone(self.folder)

    def remove(self) -> None:
        images = self.run(
            "docker", "image", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={self.name}"
        )
        self.compose("down", "--volumes", "--timeout", "5")
        self.run("docker", "image", "rm", "--force", *set(images.split()))

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command and return its output. Raises CalledProcessError."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environ,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MAXIMUM_SECONDS,
        )
        if done.returncode:
            print(done.stdout[-5000:])  # noqa: T201 - pytest shows it
        done.check_returncode()
        return done.stdout

    def shell(self, page: str, chapter: str) -> str:
        """Run the `sh` blocks of a page's chapter. Returns their output."""
        text = (ROOT / page).read_text().partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert blocks
        script = "\n".join(blocks).replace("localhost:8000", f"localhost:{self.port}")
        return self.run("bash", "-euxc", script)

    def compose(self, *arguments: str, stdin: str = "") -> str:
        return self.run("docker", "compose", *arguments, stdin=stdin)

    def execute(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def psql(self, database: str, statement: str) -> str:
        return self.execute("postgres", "psql", "-U", "lenta", "-qtAc", statement, database).strip()

    def state(self, service: str) -> dict[str, Any]:
        """Return the engine's state of the service's first container."""
        container = self.compose("ps", "-aq", service).split()[0]
        return dict(json.loads(self.run("docker", "inspect", container))[0])

    def running(self) -> dict[str, int]:
        """How many containers of each service run."""
        lines = self.compose("ps", "--format", "{{.Service}}").split()
        return {service: lines.count(service) for service in set(lines)}

    def call(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        headers = {"Content-Type": "application/json", "X-Auth": token}
        data = None if body is None else json.dumps(body).encode()
        return _json(Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method))

    def ask_prometheus(self, path: str) -> Any:
        return _json(Request(f"http://127.0.0.1:{self.prometheus}/api/v1/{path}"))["data"]

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Ask on new connections all the time. Yields the list of when there was an answer, in seconds since 1970."""
        answered: list[float] = []
        over = threading.Event()

        def ask() -> None:
            while not over.wait(0.05):
                with suppress(OSError):
                    self.call("GET", "/health/live")
                    answered.append(time.time())

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield answered
            time.sleep(1)
        finally:
            over.set()
            thread.join()


class Person:
    def __init__(self, project: Project) -> None:
        self._project = project
        self.id = project.call("POST", "/user/register", PROFILE)["user_id"]
        self.log_in()

    def log_in(self) -> None:
        self._token = self._project.call("POST", "/login", {"id": self.id, "password": PASSWORD})["token"]

    def follow(self, other: "Person") -> None:
        self._project.call("PUT", f"/friend/set/{other.id}", token=self._token)

    def post(self, text: str) -> str:
        return str(self._project.call("POST", "/post/create", {"text": text}, self._token))

    def feed(self) -> list[str]:
        return [post["id"] for post in self._project.call("GET", "/post/feed", token=self._token)]


def last_before_gap(answered: list[float]) -> float:
    """The answer that the longest time without one follows."""
    return max(pairwise(answered), key=lambda two: two[1] - two[0])[0]


def missing() -> str:
    """Return why `docker compose` cannot run here; empty if it can."""
    if shutil.which("docker") is None or _fails("docker", "info"):
        return "no container engine answers"
    if not _plugin() and _fails("docker", "compose", "version"):
        return "no docker compose"
    images = [image for image in IMAGES if _fails("docker", "image", "inspect", image)]
    return f"not there: {', '.join(images)}; make compose gets them" if images else ""


def _fails(*command: str) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0


def _plugin() -> Path | None:
    """Compose as the wheel brings it (requirements-compose.txt)."""
    return next(Path(sys.prefix).glob("lib/python*/site-packages/compose/docker-compose"), None)


def _environ(folder: Path) -> Mapping[str, str]:
    if not _plugin():
        return os.environ.copy()
    plugins = folder / "docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(_plugin())
    return os.environ | {"DOCKER_CONFIG": str(plugins.parent)}


def _clone(folder: Path) -> None:
    """Check out the project like git with umask 077."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode & ~0o077)
    folder.chmod(0o700)


def _json(request: Request) -> Any:
    with urlopen(request, timeout=30) as response:
        return json.load(response)
