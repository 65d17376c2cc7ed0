"""Which server of a Redis Cluster has which slot, as its nodes say."""

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
    """`connect` makes a client of one server. Used by many threads. Reading takes `timeout` seconds at most, about."""

    def __init__(self, seeds: Sequence[Address], connect: Callable[[str, int], redis.Redis], timeout: float) -> None:
        self._connect, self._timeout = connect, timeout
        self._nodes = list(seeds)  # whom to ask
        self._silent: set[Address] = set()  # those of them that did not answer are asked last
        self._servers: dict[Address, redis.Redis] = {}
        self._slots: Slots | None = None
        self._reading = threading.Lock()

    def slots(self) -> Slots:
        """Read when first asked, and when it was forgotten. Raises redis.RedisError where no node answers."""
        return self._slots or self._read()

    def forget(self) -> None:
        """It may be wrong: have it read before the next command."""
        self._slots = None

    def missed(self, server: redis.Redis) -> None:
        """It did not answer."""
        self.forget()
        self._silent.update(address for address, one in self._servers.copy().items() if one is server)

    def server(self, address: Address) -> redis.Redis:
        if address not in self._servers:
            self._servers[address] = self._connect(*address)
        return self._servers[address]

    def any_server(self) -> redis.Redis:
        """Perhaps one that does not answer."""
        return self.server(self._nodes[0])

    def close(self) -> None:
        for server in self._servers.values():
            server.close()

    def _read(self) -> Slots:
        if not self._reading.acquire(timeout=self._timeout):
            raise redis.TimeoutError("the nodes of the Redis Cluster are still being asked")
        try:
            slots = self._slots or self._ask()  # another thread may have been quicker
            self._slots = slots
            return slots
        finally:
            self._reading.release()

    def _ask(self) -> Slots:
        deadline, failure = monotonic() + self._timeout, "it has no slots"
        for address in sorted(self._nodes, key=self._silent.__contains__):
            try:
                ranges = self.server(address).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
            except redis.RedisError as error:
                failure = str(error)
                self._silent.add(address)
            else:
                self._silent.discard(address)
                if ranges:
                    return self._parse(ranges, address)
            if monotonic() > deadline:
                break
        raise redis.ConnectionError(f"no node of the Redis Cluster answers: {failure}")

    def _parse(self, ranges: Sequence[Any], asked: Address) -> Slots:
        """From [first slot, last slot, primary, replica, …] for each range, where a member is [host, port, …]."""
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
