"""Two web instances behind a balancer and two workers, restarted as by systemd or Kubernetes."""

import asyncio
import json
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

from app.settings import Settings
from local.ports import free_port
from tests.factories import eventually
from tests.tools.chaos.servers import Servers
from tests.tools.chaos.service import Service
from tests.tools.processes import Process, Web, flask, start_worker
from tests.tools.proxy import Proxy

STOP_SECONDS = 35  # as stop_grace_period of the web in docker-compose.yml
WORKER = ("--worker-shutdown-timeout", "30000")


class Balancer(Proxy):
    """Passes each connection to the next of these ports that takes it. It knows nothing of HTTP or of health."""

    def __init__(self, ports: list[int]) -> None:
        self._ports, self._turns = ports, count()
        super().__init__("127.0.0.1", 0)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        turn = next(self._turns)
        for port in (self._ports[(turn + step) % len(self._ports)] for step in range(len(self._ports))):
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                continue
        raise ConnectionRefusedError("no instance accepts the connection")


class Fleet(Service):
    """`stops` has the seconds that each stop took."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(servers, folder)
        self.stops: dict[str, list[float]] = {"web": [], "worker": [], "reload": []}
        self.worker = self  # for waits until nothing is pending: see pause and resume
        self._logs = count()

    def start(self) -> None:
        self.callback(self._drop_queues)
        self.workers = [self._start_worker() for _ in range(2)]
        self.callback(self.pause)
        ports = [free_port() for _ in range(2)]
        self.webs = [Web(replace(self.settings, port=port), self.folder / f"web-{port}.log") for port in ports]
        for web in self.webs:
            self.callback(web.stop)
            web.wait()
        self.balancer = Balancer(ports)
        self.callback(self.balancer.close)

    def restart_web(self, number: int) -> None:
        """Restart an instance while the other one serves."""
        old = self.webs[number]
        self._stop("web", old)
        self.webs[number] = Web(replace(self.settings, port=old.port), old.log)
        self.callback(self.webs[number].stop)
        self.webs[number].wait()

    def reload_web(self, number: int) -> None:
        """By HUP: new worker processes, then the old ones end."""
        web, started = self.webs[number], monotonic()
        old = set(web.children())
        web.send(signal.SIGHUP)
        eventually(
            lambda: not old & set(web.children()) and len(web.children()) == len(old), "it has new workers only", 60
        )
        self.stops["reload"].append(monotonic() - started)

    def restart_worker(self, number: int) -> None:
        self._stop("worker", self.workers[number])
        self.workers[number] = self._start_worker()

    def flask(self, *arguments: str) -> Any:
        """Run a command with --json and return its result."""
        return json.loads(flask(self.settings, *arguments))

    def pause(self) -> None:
        for worker in self.workers:
            worker.stop(seconds=STOP_SECONDS)

    def resume(self) -> None:
        self.workers = [self._start_worker() for _ in range(2)]

    def _stop(self, kind: str, process: Process) -> None:
        started = monotonic()
        code = process.stop(seconds=STOP_SECONDS)
        assert code == 0, f"{kind} ended with {code}, see {process.log}"
        self.stops[kind].append(monotonic() - started)

    def _start_worker(self) -> Process:
        return start_worker(self.settings, self.folder / f"worker-{next(self._logs)}.log", *WORKER)

    def _settings(self) -> Settings:
        """A feed holds all accepted posts. Two threads: at a HUP six processes share the server's 100 connections."""
        return replace(super()._settings(), metrics_port=0, feed_cap=5000)
