"""The faults. Each lasts for its seconds, and leaves everything as it found it, or to the supervisor."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from app.db.engine import POSTS, USERS
from tests.tools.chaos import pair, partitions, pressure
from tests.tools.chaos.clients import World
from tests.tools.chaos.scene import Scene
from tests.tools.chaos.service import SINGLE, Service
from tests.tools.chaos.supervisor import Supervisor
from tests.tools.proxy import Proxy

Run = Callable[[Scene], None]

SHORT = 0.5, 4.0, 12.0  # at least, at most, and a long one: longer than a worker waits for Redis
BROKER = 0.5, 6.0, 30.0  # … than the heartbeat of AMQP
AT_ONCE = 2.0, 2.0, 2.0  # a moment; the time is for starting again
PRESSURE = 2.0, 6.0, 12.0
PARTITION = 1.0, 8.0, 20.0  # a failover takes five

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


def _kill_worker(scene: Scene) -> None:
    _kill_child(scene.service.worker, scene.random)
    scene.wait()


def _kill_master(scene: Scene) -> None:
    if scene.service.worker.process is not None:
        os.kill(scene.service.worker.process.pid, signal.SIGKILL)
    scene.wait()


def _kill_web(scene: Scene) -> None:
    _kill_child(scene.service.web, scene.random)
    scene.wait()


def _kill_child(supervisor: Supervisor, random: Random) -> None:
    with contextlib.suppress(OSError):
        if supervisor.process is not None and (children := list(filter(_works, supervisor.process.children()))):
            os.kill(random.choice(children), signal.SIGKILL)


def _works(pid: int) -> bool:
    """Whether it is more than multiprocessing's tracker of semaphores."""
    return b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def _through_proxy(name: str, action: str) -> Run:
    def run(scene: Scene) -> None:
        proxy: Proxy = getattr(scene.service, name)
        getattr(proxy, action)()
        try:
            scene.wait()
        finally:
            proxy.restore()

    return run


def _restart_rabbitmq(scene: Scene) -> None:
    subprocess.run(["rabbitmqctl", "stop_app"], check=True, capture_output=True)
    try:
        scene.wait()
    finally:
        subprocess.run(["rabbitmqctl", "start_app"], check=True, capture_output=True)


def _empty_redis(scene: Scene) -> None:
    scene.service.redis_server.empty()
    scene.wait()


def _restart_redis(scene: Scene) -> None:
    scene.service.redis_server.restart_empty()
    scene.wait()


def _redis_state(name: str) -> Run:
    def run(scene: Scene) -> None:
        with getattr(scene.service.redis_server, name)():
            scene.wait()

    return run


def _set_redis_back(scene: Scene) -> None:
    dump = scene.service.redis_server.save()
    scene.wait()
    scene.service.redis_server.go_back_to(dump)


def _terminate_connections(scene: Scene) -> None:
    for bind in (USERS, POSTS):
        scene.service.sql(bind, TERMINATE)
    scene.wait()


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
    "table-lock": Kind("postgres", pressure.lock_table, PRESSURE),
    "log-in-storm": Kind("clients", pressure.log_in, PRESSURE),
    "follow-storm": Kind("clients", pressure.toggle_follows, PRESSURE),
    "silent-clients": Kind("clients", pressure.keep_silent, PRESSURE),
}
ON_REQUEST = ("broker-restart",)

# Of Redis, with Sentinels or as a Cluster, in place of the target `redis`.
PARTITIONS = {
    "cut-primary": Kind("network", partitions.cut_primary, PARTITION),
    "cut-pair": Kind("network", partitions.cut_pair, PARTITION),
    "cut-worker": Kind("network", partitions.cut_worker, PARTITION),
    "flap": Kind("network", partitions.flap, PARTITION),
    "redis-freeze-primary": Kind("network", partitions.freeze, PARTITION),
    "redis-kill-primary": Kind("network", partitions.kill, PARTITION),
    "redis-failover": Kind("network", partitions.fail_over, PARTITION),
}
# Of PostgreSQL, where it is a pair on hosts, in place of `postgres-refuse`.
PAIR = {
    "postgres-failover": Kind("postgres", pair.fail_over, PARTITION),
    "postgres-freeze": Kind("postgres", pair.freeze, SHORT),
    "postgres-restart": Kind("postgres", pair.restart, SHORT),
    "postgres-cut-standby": Kind("postgres", pair.cut_standby, PARTITION),
    "postgres-cut-web": Kind("postgres", pair.cut_web, PARTITION),
    "postgres-cut-worker": Kind("postgres", pair.cut_worker, PARTITION),
}
ON_HOSTS = PARTITIONS | PAIR
KINDS |= ON_HOSTS


def kinds_of(topology: str) -> list[str]:
    """The kinds of faults that a topology can have."""
    if topology == SINGLE:
        return [name for name in KINDS if name not in ON_HOSTS]
    return [name for name, kind in KINDS.items() if kind.target != "redis" and name != "postgres-refuse"]


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
    """Run a fault in a thread."""

    def __init__(self, planned: Planned, service: Service, world: World, random: Random) -> None:
        self.planned, self.error = planned, ""
        scene = Scene(service, world, planned.seconds, random)
        self._thread = threading.Thread(target=self._run, args=(scene,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(120)

    def _run(self, scene: Scene) -> None:
        kind = self.planned.kind
        try:
            KINDS[kind].run(scene)
        except Exception as error:
            self.error = f"the fault {kind} failed: {error!r}"
