"""The Redis client of the application: a single server or a Cluster.

Hides the differences: which keys may share a command, and which servers there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import redis
from flask import Flask, current_app
from gevent.monkey import is_module_patched

from app.redis.batches import Batches
from app.redis.circuit_breaker import CircuitBreaker
from app.redis.cluster import Cluster, slot_of
from app.redis.connect import connect, disconnect
from app.redis.pool import SentinelPool, pack


def init_app(app: Flask, url: str, timeout: float) -> None:
    """Create the client and the circuit breaker of `app`. `timeout` is in seconds."""
    one = connect(url, timeout)
    app.extensions["redis"] = one
    app.extensions["redis_executor"] = _executor(one)
    app.extensions["redis_breaker"] = CircuitBreaker()


def _executor(one: Any) -> Any:
    """Return what executes single commands of a client."""
    if isinstance(one, Cluster):
        return one
    return Batches(one.connection_pool) if is_module_patched("socket") else one.connection_pool


def close(app: Flask) -> None:
    """Close the client's connections."""
    disconnect(app.extensions["redis"])


def client() -> redis.Redis:
    return cast(redis.Redis, current_app.extensions["redis"])


def execute(*command: Any) -> Any:
    """Execute one command and return the raw reply, bypassing redis-py's client."""
    return current_app.extensions["redis_executor"].execute(command)


def execute_all(commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Execute commands on a single server in one round trip. Returns the raw replies, errors among them."""
    return cast(list[Any], current_app.extensions["redis"].connection_pool.execute_all([pack(one) for one in commands]))


def is_cluster() -> bool:
    return isinstance(client(), Cluster)


def group_by_slot(keys: Iterable[str]) -> Iterable[list[str]]:
    """Group keys that may share a command: all of them, or on a Cluster those of one slot."""
    if not is_cluster():
        return [list(keys)]
    groups: dict[int, list[str]] = {}
    for key in keys:
        groups.setdefault(slot_of(key), []).append(key)
    return groups.values()


def primaries() -> dict[str, redis.Redis]:
    """Return every primary, keyed by an id that changes when it restarts or is promoted.

    Raises redis.RedisError if one is unavailable or has just become a replica.
    """
    one = current_app.extensions["redis"]
    return {_replication_id(server): server for server in (one.primaries() if isinstance(one, Cluster) else [one])}


def look_for_failover() -> None:
    """Ask all Sentinels for the primary, and leave one that they have replaced: it may still reply.

    A Cluster needs no such look, as `primaries` reads its slots again.
    """
    one = current_app.extensions["redis"]
    if not isinstance(one, Cluster) and isinstance(one.connection_pool, SentinelPool):
        one.connection_pool.look_for_failover()


def replication_ids() -> str:
    """Return the ids of all primaries as one string. It changes with every restart or failover."""
    return " ".join(sorted(primaries()))


def slot_digests(present: Mapping[str, redis.Redis]) -> dict[str, str]:
    """Return a digest of the slots of each of these primaries, by their ids. Empty unless they are a Cluster."""
    one = current_app.extensions["redis"]
    digests = one.slot_digests() if isinstance(one, Cluster) else {}
    return {identity: digests[server] for identity, server in present.items() if server in digests}


def is_resharding(present: Iterable[redis.Redis]) -> bool:
    """Return whether a slot of the Cluster is moving, or was when a primary failed.

    True also while these primaries differ about which of them has which slots.
    """
    if not is_cluster():
        return False
    views = [cast(Any, server.cluster("NODES")).values() for server in present]
    owners = [{node["node_id"]: node["slots"] for node in view if node["slots"]} for view in views]
    return any(node["migrations"] for view in views for node in view) or any(seen != owners[0] for seen in owners)


def used_bytes() -> int:
    """Return the memory used by all servers, in bytes."""
    return sum(int(server.info("memory")["used_memory"]) for server in primaries().values())


def _replication_id(server: redis.Redis) -> str:
    """Return the run id and the offset of the last promotion (-1: none).

    A primary that was demoted and promoted again keeps its run id but has lost writes; the offset tells them apart.
    """
    with server.pipeline(transaction=False) as pipe:
        pipe.info("server")
        pipe.info("replication")
        about, replication = pipe.execute()
    if replication["role"] != "master":
        raise redis.ReadOnlyError("this Redis is a replica")
    return f"{about['run_id']}:{replication['second_repl_offset']}"
