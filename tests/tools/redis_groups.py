"""A Redis behind Sentinels, and a Redis Cluster, on the hosts of a network."""

import subprocess
from contextlib import suppress
from pathlib import Path

import redis

from tests.factories import eventually
from tests.tools.network import Host, Network
from tests.tools.redis_cluster import SLOTS, program
from tests.tools.redis_server import RedisProcess

SERVICE = "feeds"
PORT, SENTINEL_PORT = 6379, 26379
DOWN_MS = 3000  # then a primary is taken for dead
LAG_SECONDS = 1  # then a primary without a replica takes no more writes: less than DOWN_MS
SAFE = ("--min-replicas-to-write", 1, "--min-replicas-max-lag", LAG_SECONDS)
OPTIONS = ("--protected-mode", "no", "--save", "", "--repl-diskless-sync-delay", 0, "--repl-timeout", 10)


class Server(RedisProcess):
    """redis-server on a host."""

    def __init__(self, host: Host, folder: Path, *arguments: object, port: int = PORT) -> None:
        folder.mkdir()
        self.host, self._log = host, folder / "redis.log"
        self._command = [program("redis-server"), *arguments, "--dir", folder, "--logfile", self._log]
        self.client = redis.Redis(host=host.ip, port=port, socket_timeout=2, socket_connect_timeout=1)
        self.start()

    def start(self) -> None:
        self._popen = self.host.popen(self._command)
        eventually(self.answers, f"Redis replies, {self._log}")

    def is_in_sync(self, replicas: int) -> bool:
        """Whether it is a primary with so many replicas, or one of them."""
        with suppress(redis.RedisError):
            found = self.client.info("replication")
            return bool(found["connected_slaves"] == replicas or found.get("master_link_status") == "up")
        return False


class SentinelGroup:
    """A primary and two replicas, watched by three Sentinels. With one, its successor would take no writes alone."""

    def __init__(self, network: Network, folder: Path, safe: tuple[object, ...] = SAFE) -> None:
        folder.mkdir()
        first, *others = [network.host(f"redis{number}") for number in range(3)]
        self.servers = [Server(first, folder / first.name, *OPTIONS, *safe)]
        for host in others:
            self.servers.append(Server(host, folder / host.name, *OPTIONS, *safe, "--replicaof", first.ip, PORT))
        self._sentinels = []
        for number in range(3):
            configuration = folder / f"sentinel{number}.conf"
            configuration.write_text(
                f"port {SENTINEL_PORT}\nprotected-mode no\nsentinel monitor {SERVICE} {first.ip} {PORT} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}\nsentinel failover-timeout {SERVICE} 6000\n"
            )
            host = network.host(f"sentinel{number}")
            arguments = (configuration, "--sentinel")
            self._sentinels.append(Server(host, folder / host.name, *arguments, port=SENTINEL_PORT))
        self.wait()

    @property
    def url(self) -> str:
        hosts = ",".join(f"{sentinel.host.ip}:{SENTINEL_PORT}" for sentinel in self._sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def hosts(self) -> list[Host]:
        return [server.host for server in self.servers + self._sentinels]

    def primaries(self) -> list[Server]:
        """The server that most Sentinels name."""
        named = [self._named_by(sentinel) for sentinel in self._sentinels]
        return [server for server in self.servers if named.count(server.host.ip) > 1]

    def fail_over(self) -> None:
        """Have a replica promoted on purpose."""
        self._sentinels[0].client.execute_command("SENTINEL FAILOVER", SERVICE)

    def wait(self) -> None:
        eventually(self._is_whole, "the Sentinels agree, and the replicas are in sync", 90)

    def close(self) -> None:
        for server in self.servers + self._sentinels:
            server.close()

    def _named_by(self, sentinel: Server) -> str:
        with suppress(redis.RedisError):
            return str(sentinel.client.sentinel_master(SERVICE)["ip"])
        return ""

    def _is_whole(self) -> bool:
        with suppress(redis.RedisError):
            states = [sentinel.client.sentinel_master(SERVICE) for sentinel in self._sentinels]
            agree = len({state["ip"] for state in states}) == 1 and not any(state["is_sdown"] for state in states)
            know = all((state["num-slaves"], state["num-other-sentinels"]) == (2, 2) for state in states)
            in_sync = all(server.is_in_sync(2) for server in self.servers)
            return agree and know and in_sync and self.primaries()[0].is_primary
        return False


class ClusterGroup:
    """Three primaries with a replica each. One that is cut off takes no more commands, by the rules of the Cluster."""

    def __init__(self, network: Network, folder: Path) -> None:
        folder.mkdir()
        self.servers = []
        for number in range(6):
            host = network.host(f"redis{number}")
            cluster = ("--cluster-enabled", "yes", "--cluster-node-timeout", DOWN_MS)
            self.servers.append(Server(host, folder / host.name, *OPTIONS, *cluster))
        addresses = [f"{host.ip}:{PORT}" for host in self.hosts]
        create = [program("redis-cli"), "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(create, check=True, capture_output=True, timeout=60)
        self.wait()

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'{host.ip}:{PORT}' for host in self.hosts)}/"

    @property
    def hosts(self) -> list[Host]:
        return [server.host for server in self.servers]

    def primaries(self) -> list[Server]:
        """The servers named by a node that is in touch with most others."""
        for server in self.servers:
            with suppress(redis.RedisError):
                if server.client.cluster("INFO")["cluster_state"] == "ok":
                    named = {node[0].decode() for _, _, node, *_ in server.client.execute_command("CLUSTER SLOTS")}
                    return [one for one in self.servers if one.host.ip in named]
        return []

    def fail_over(self) -> None:
        """Have a replica promoted on purpose."""
        next(server for server in self.servers if not server.is_primary).client.cluster("FAILOVER")

    def wait(self) -> None:
        eventually(self._is_whole, "all nodes agree, and all replicas are in sync", 90)

    def close(self) -> None:
        for server in self.servers:
            server.close()

    def _is_whole(self) -> bool:
        with suppress(redis.RedisError):
            infos = [server.client.cluster("INFO") for server in self.servers]
            roles = [server.is_primary for server in self.servers]
            return (
                all(info["cluster_state"] == "ok" and int(info["cluster_slots_ok"]) == SLOTS for info in infos)
                and len({info["cluster_current_epoch"] for info in infos}) == 1
                and sum(roles) == len(self.servers) // 2
                and all(server.is_in_sync(1) for server in self.servers)
            )
        return False


Group = SentinelGroup | ClusterGroup
