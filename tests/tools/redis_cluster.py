"""A private Redis Cluster on loopback: three primaries with a replica each, which may be killed and frozen."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep
from urllib.parse import quote

import redis
from redis.crc import key_slot

from local.ports import free_port
from tests.factories import eventually
from tests.tools.redis_server import RedisProcess

PRIMARIES = 3
SLOTS = 16_384
NODE_TIMEOUT_MS = 2000  # then a primary that is silent is replaced
PATIENT_MS = 5000  # where none is to be replaced, however busy the machine is
BUS = 10_000  # a node's bus listens on its port and this


class Node(RedisProcess):
    """One server; it keeps nothing but the map of the Cluster."""

    def __init__(
        self, folder: Path, port: int, certificate: Path | None, password: str | None, node_timeout_ms: int
    ) -> None:
        folder.mkdir()
        self._node_timeout_ms = node_timeout_ms
        self.port, self._folder, self._certificate, self._password = port, folder, certificate, password
        tls = {"ssl": True, "ssl_ca_certs": str(certificate)} if certificate else {}
        self.client = redis.Redis(host="127.0.0.1", port=port, socket_timeout=5, password=password, **tls)
        self.start()

    @property
    def id(self) -> str:
        """Its name in the Cluster."""
        return str(self.client.cluster("MYID").decode())

    def start(self) -> None:
        command = [program("redis-server"), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--port", "0", "--tls-port", str(self.port)] if self._certificate else ["--port", str(self.port)]
        if self._certificate:
            command += ["--tls-cert-file", str(self._certificate), "--tls-ca-cert-file", str(self._certificate)]
            command += ["--tls-key-file", str(self._certificate.with_suffix(".key")), "--tls-auth-clients", "no"]
            command += ["--tls-cluster", "yes", "--tls-replication", "yes"]
        if self._password:
            command += ["--requirepass", self._password, "--masterauth", self._password]
        command += [
            "--save",
            "",
            "--appendonly",
            "no",
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "nodes.conf",
        ]
        command += ["--cluster-node-timeout", str(self._node_timeout_ms), "--cluster-announce-ip", "127.0.0.1"]
        command += ["--repl-diskless-sync-delay", "0", "--loglevel", "notice"]
        with (self._folder / "redis.log").open("a") as log:
            self._popen = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually(self.answers, f"a node answers, {self._folder}/redis.log")


class RedisCluster:
    """Ready to be used: all slots are covered, and each primary has its replica."""

    def __init__(
        self,
        folder: Path,
        *,
        certificate: Path | None = None,
        password: str | None = None,
        node_timeout_ms: int = NODE_TIMEOUT_MS,
    ) -> None:
        """By TLS with a `certificate`, beside which its key lies."""
        folder.mkdir()
        self._certificate, self._password = certificate, password
        ports = free_ports(2 * PRIMARIES)
        self.nodes = [Node(folder / str(port), port, certificate, password, node_timeout_ms) for port in ports]
        create = [program("redis-cli"), "--cluster", "create", *[f"127.0.0.1:{port}" for port in ports]]
        create += ["--tls", "--cacert", str(certificate)] if certificate else []
        create += ["-a", password] if password else []
        done = subprocess.run(
            [*create, "--cluster-replicas", "1", "--cluster-yes"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.wait()

    @property
    def url(self) -> str:
        scheme, user = (
            ("rediss" if self._certificate else "redis"),
            f":{quote(self._password, safe='')}@" if self._password else "",
        )
        options = f"?ssl_ca_certs={self._certificate}" if self._certificate else ""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"{scheme}+cluster://{user}{hosts}/{options}"

    def primaries(self) -> list[Node]:
        return [node for node in self.nodes if node.is_primary]

    def primary_of(self, key: str) -> Node:
        """The node that has a key's slot, in the eyes of the others."""
        slot = key_slot(key.encode())
        for first, last, primary, *_ in self.primaries()[0].client.execute_command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError(f"no node has slot {slot}")

    def wait(self) -> None:
        eventually(self._is_whole, "all slots are covered, and all primaries have their replicas", 60)

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def promote(self, node: Node) -> None:
        """Have a replica take over, all nodes agreeing, and nothing lost."""

        def takes_over() -> bool:
            with suppress(redis.ResponseError):  # it was promoted just now
                node.client.cluster("FAILOVER")
            sleep(0.2)
            return node.is_primary

        eventually(takes_over, "the replica was promoted")
        self.wait()

    def fix(self) -> None:
        """Repair slots that are half-way between two servers, as operators do."""
        address = f"127.0.0.1:{self.primaries()[0].port}"
        command = [program("redis-cli"), "--cluster", "fix", address, "--cluster-yes"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "All 16384 slots covered" in done.stdout, done.stdout + done.stderr
        for node in self.primaries():  # the repair stops at a key that two servers have
            for state in node.client.cluster("NODES").values():
                for slot in state["migrations"]:
                    node.client.cluster("SETSLOT", slot["slot"], "STABLE")

    def _is_whole(self) -> bool:
        """Return whether all nodes agree on the primaries and all replicas are in sync."""
        primaries = {node.port for node in self.primaries()}
        return len(primaries) == PRIMARIES and all(
            node.client.cluster("INFO")["cluster_state"] == "ok"
            and _slots_of(node).keys() == primaries
            and sum(_slots_of(node).values()) == SLOTS
            and (replication := node.client.info("replication"))
            and (replication.get("master_link_status") == "up" or replication.get("connected_slaves") == 1)
            for node in self.nodes
        )


class MovingSlot:
    """A slot, by one of its keys, that moves from its primary to another."""

    def __init__(self, cluster: RedisCluster, key: str) -> None:
        self._cluster, self.number = cluster, key_slot(key.encode())
        self.source = cluster.primary_of(key)
        self.target = next(node for node in cluster.primaries() if node is not self.source)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have the slot move, in steps. At the end all its keys have moved, and the target has it."""
        self.begin()
        yield
        while keys := self.source.client.cluster("GETKEYSINSLOT", self.number, 100):
            self.move(*keys)
        for node in (self.target, self.source, *self._cluster.primaries()):
            node.client.cluster("SETSLOT", self.number, "NODE", self.target.id)

    def begin(self) -> None:
        self.target.client.cluster("SETSLOT", self.number, "IMPORTING", self.source.id)
        self.source.client.cluster("SETSLOT", self.number, "MIGRATING", self.target.id)

    def move(self, *keys: str | bytes) -> None:
        self.source.client.execute_command("MIGRATE", "127.0.0.1", self.target.port, "", 0, 5000, "KEYS", *keys)


def _slots_of(node: Node) -> dict[int, int]:
    """How many slots each primary has, by port, in the eyes of a node."""
    found: dict[int, int] = {}
    for first, last, primary, *_ in node.client.execute_command("CLUSTER SLOTS"):
        found[primary[1]] = found.get(primary[1], 0) + last - first + 1
    return found


def program(name: str) -> str:
    """Debian's program. Raises FileNotFoundError."""
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"there is no {name} on this machine")
    return found


def free_ports(number: int) -> list[int]:
    """Find distinct ports whose bus ports are free too."""
    ports: set[int] = set()
    while len(ports) < number:
        port = free_port(BUS)
        if ports.isdisjoint((port, port + BUS, port - BUS)):
            ports.add(port)
    return list(ports)
