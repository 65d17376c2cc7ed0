"""The slot map of a Redis Cluster, loaded from its nodes."""

import threading
from collections.abc import Callable, Sequence
from random import shuffle
from time import monotonic
from typing import Any

import redis

Address = tuple[str, int]
Slots = list[redis.Redis | None]  # the primary of each

SLOTS = 16_384


class Topology:
    """A thread-safe slot map. `connect` creates a client of one server; loading takes up to about `timeout` seconds."""

    def __init__(self, seeds: Sequence[Address], connect: Callable[[str, int], redis.Redis], timeout: float) -> None:
        self._connect, self._timeout = connect, timeout
        self._nodes = list(seeds)
        self._unreachable: set[Address] = set()  # nodes that failed are tried last
        self._servers: dict[Address, redis.Redis] = {}
        self._slots: Slots | None = None
        self._epoch = 0  # the highest that a node has reported: it grows with each failover
        self._reading = threading.Lock()

    def slots(self) -> Slots:
        """Return the slot map, loading it if needed. Raises redis.RedisError if no node replies."""
        return self._slots or self._read()

    def invalidate(self) -> None:
        """Mark the slot map stale. It is reloaded before the next command."""
        self._slots = None

    def mark_unreachable(self, server: redis.Redis) -> None:
        """Try this server last at the next load."""
        self.invalidate()
        self._unreachable.update(address for address, one in self._servers.copy().items() if one is server)

    def server(self, address: Address) -> redis.Redis:
        if address not in self._servers:
            self._servers[address] = self._connect(*address)
        return self._servers[address]

    def any_server(self) -> redis.Redis:
        """Return any server; it may be unavailable."""
        return self.server(self._nodes[0])

    def close(self) -> None:
        for server in self._servers.values():
            server.close()

    def _read(self) -> Slots:
        if not self._reading.acquire(timeout=self._timeout):
            raise redis.TimeoutError("the slots of the Redis Cluster are still being loaded")
        try:
            slots = self._slots or self._fetch_slots()  # another thread may have been faster
            self._slots = slots
            return slots
        finally:
            self._reading.release()

    def _fetch_slots(self) -> Slots:
        """Ask the nodes until one knows of the newest failover.

        It must be in touch with most of the others, too: a primary that is cut off goes on naming itself. If there is
        no such node, the best one counts.
        """
        deadline, failure = monotonic() + self._timeout, "it has no slots"
        best: tuple[bool, int, Address, Sequence[Any]] | None = None
        for address in sorted(self._nodes, key=self._unreachable.__contains__):
            try:
                is_ok, epoch, ranges = self._ask(address)
            except redis.RedisError as error:
                failure = str(error)
                self._unreachable.add(address)
            else:
                self._unreachable.discard(address)
                if ranges and (best is None or (is_ok, epoch) > best[:2]):
                    best = is_ok, epoch, address, ranges
                if ranges and is_ok and epoch >= self._epoch:
                    break
            if monotonic() > deadline:
                break
        if best is None:
            raise redis.ConnectionError(f"no node of the Redis Cluster replies: {failure}")
        _, self._epoch, address, ranges = best
        return self._parse(ranges, address)

    def _ask(self, address: Address) -> tuple[bool, int, Sequence[Any]]:
        """Return whether a node is in touch with most primaries, its epoch, and its slots."""
        with self.server(address).pipeline(transaction=False) as pipe:
            pipe.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
            pipe.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
            info, ranges = pipe.execute()
        return info["cluster_state"] == "ok", int(info["cluster_current_epoch"]), ranges

    def _parse(self, ranges: Sequence[Any], asked: Address) -> Slots:
        """Parse CLUSTER SLOTS: [first slot, last slot, primary, replica, …] per range, a node is [host, port, …]."""
        slots: Slots = [None] * SLOTS
        nodes: list[Address] = []
        for first, last, *members in ranges:
            addresses = [((host or b"").decode() or asked[0], port) for host, port, *_ in members]
            slots[first : last + 1] = [self.server(addresses[0])] * (last + 1 - first)
            nodes += addresses
        nodes = list(dict.fromkeys(nodes))
        shuffle(nodes)
        self._nodes = nodes + [address for address in self._nodes if address not in nodes]
        return slots
