"""What breaks. A fault lasts for its seconds, and leaves everything as it found it, or to the supervisor."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from app.db import POSTS, USERS
from tests.chaos.service import Service
from tests.chaos.supervisor import Supervisor
from tests.proxy import Proxy

Wait = Callable[[float], object]
Run = Callable[[Service, float, Wait, Random], None]

SHORT = 0.5, 4.0, 12.0  # at least, at most, and a long one: longer than a worker waits for Redis
BROKER = 0.5, 6.0, 30.0  # … than the heartbeat of AMQP
AT_ONCE = 2.0, 2.0, 2.0  # a moment; the time is for starting again

TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Kind:
    """`seconds`: the shortest, the longest, and a long one."""

    target: str
    run: Run
    seconds: tuple[float, float, float]


def _kill_worker(service: Service, seconds: float, wait: Wait, random: Random) -> None:
    _kill_child(service.worker, random)
    wait(seconds)


def _kill_master(service: Service, seconds: float, wait: Wait, _: Random) -> None:
    if service.worker.process is not None:
        os.kill(service.worker.process.pid, signal.SIGKILL)
    wait(seconds)


def _kill_web(service: Service, seconds: float, wait: Wait, random: Random) -> None:
    _kill_child(service.web, random)
    wait(seconds)


def _kill_child(supervisor: Supervisor, random: Random) -> None:
    with contextlib.suppress(OSError):
        if supervisor.process is not None and (children := list(filter(_works, supervisor.process.children()))):
            os.kill(random.choice(children), signal.SIGKILL)


def _works(pid: int) -> bool:
    """Whether it is more than multiprocessing's tracker of semaphores."""
    return b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def _through_proxy(name: str, action: str) -> Run:
    def run(service: Service, seconds: float, wait: Wait, _: Random) -> None:
        proxy: Proxy = getattr(service, name)
        getattr(proxy, action)()
        try:
            wait(seconds)
        finally:
            proxy.restore()

    return run


def _restart_rabbitmq(_: Service, seconds: float, wait: Wait, __: Random) -> None:
    subprocess.run(["rabbitmqctl", "stop_app"], check=True, capture_output=True)
    try:
        wait(seconds)
    finally:
        subprocess.run(["rabbitmqctl", "start_app"], check=True, capture_output=True)


def _empty_redis(service: Service, seconds: float, wait: Wait, _: Random) -> None:
    service.redis_server.empty()
    wait(seconds)


def _restart_redis(service: Service, seconds: float, wait: Wait, _: Random) -> None:
    service.redis_server.restart_empty()
    wait(seconds)


def _redis_state(name: str) -> Run:
    def run(service: Service, seconds: float, wait: Wait, _: Random) -> None:
        with getattr(service.redis_server, name)():
            wait(seconds)

    return run


def _set_redis_back(service: Service, seconds: float, wait: Wait, _: Random) -> None:
    dump = service.redis_server.save()
    wait(seconds)
    service.redis_server.go_back_to(dump)


def _terminate_connections(service: Service, seconds: float, wait: Wait, _: Random) -> None:
    for bind in (USERS, POSTS):
        service.sql(bind, TERMINATE)
    wait(seconds)


KINDS = {
    "kill-worker": Kind("workers", _kill_worker, AT_ONCE),
    "kill-master": Kind("workers", _kill_master, AT_ONCE),
    "kill-web": Kind("web", _kill_web, AT_ONCE),
    "broker-cut": Kind("broker", _through_proxy("rabbitmq", "cut"), AT_ONCE),
    "broker-refuse": Kind("broker", _through_proxy("rabbitmq", "refuse"), BROKER),
    "broker-refuse-new": Kind("broker", _through_proxy("rabbitmq", "refuse_new"), BROKER),
    "broker-freeze": Kind("broker", _through_proxy("rabbitmq", "freeze"), BROKER),
    "broker-restart": Kind("broker", _restart_rabbitmq, SHORT),
    "redis-empty": Kind("redis", _empty_redis, AT_ONCE),
    "redis-restart": Kind("redis", _restart_redis, AT_ONCE),
    "redis-freeze": Kind("redis", _redis_state("frozen"), SHORT),
    "redis-full": Kind("redis", _redis_state("full"), SHORT),
    "redis-replica": Kind("redis", _redis_state("replica"), SHORT),
    "redis-disk": Kind("redis", _redis_state("unable_to_save"), SHORT),
    "redis-cut": Kind("redis", _through_proxy("redis", "cut"), AT_ONCE),
    "snapshot": Kind("redis", _set_redis_back, SHORT),
    "postgres-terminate": Kind("postgres", _terminate_connections, AT_ONCE),
    "postgres-refuse": Kind("postgres", _through_proxy("postgres", "refuse"), SHORT),
}
ON_REQUEST = ("broker-restart",)


@dataclass(frozen=True)
class Planned:
    """A fault to come: `start` and `seconds` are counted from the start of its round."""

    start: float
    kind: str
    seconds: float

    @property
    def end(self) -> float:
        return self.start + self.seconds


class Running:
    """A fault in a thread of its own."""

    def __init__(self, planned: Planned, service: Service, random: Random) -> None:
        self.planned, self.error = planned, ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(service, random), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)

    def _run(self, service: Service, random: Random) -> None:
        kind = self.planned.kind
        try:
            KINDS[kind].run(service, self.planned.seconds, self._ended.wait, random)
        except Exception as error:
            self.error = f"the fault {kind} failed: {error!r}"
