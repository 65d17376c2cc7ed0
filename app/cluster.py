"""A client of a Redis Cluster: as much of one as Lenta needs, made of redis-py's client of one server.

redis-py has its own, and it does not suit a service that goes on without Redis: it connects when it is made, sends what
a node did not answer again command by command, each with a time-out of its own, and raises what is no RedisError.

A command goes to the primary of its keys' slot. Those of a pipeline go to all their primaries, in a round trip to each.
Where a server answers that a slot is another's (MOVED), the map is read again and what was refused is sent again. When
one does not answer, that is raised at once, and the map is read before the next command.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import shuffle
from time import monotonic
from typing import Any

import redis
from redis.commands.core import CoreCommands, Script
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

Address = tuple[str, int]
Command = tuple[tuple[Any, ...], dict[str, Any]]  # as execute_command takes it
Map = list[redis.Redis | None]  # the primary of each slot

SLOTS = 16_384
ATTEMPTS = 4  # of a command that is sent from one server to another

# What is sent to all primaries. Everything else has a key.
EVERYWHERE = ("PING", "SCRIPT LOAD", "FLUSHDB")

# After these the map of slots may be wrong.
LOST = (redis.ConnectionError, redis.TimeoutError, ClusterDownError)


class Cluster(CoreCommands):
    """`connect` makes a client of one server. It is used by many threads. Waits for `timeout` seconds, at most, twice:
    for the map and for the answer.
    """

    _event_dispatcher: Any = None  # CoreCommands wants one, for what is not used here

    def __init__(self, seeds: Sequence[Address], connect: Callable[[str, int], redis.Redis], timeout: float) -> None:
        self._connect, self._timeout = connect, timeout
        self._nodes = list(seeds)  # whom to ask for the map
        self._silent: set[Address] = set()  # those of them that did not answer are asked last
        self._servers: dict[Address, redis.Redis] = {}
        self._map: Map | None = None
        self._reading = threading.Lock()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] in EVERYWHERE:
            answers = [_execute(server, (args, options)) for server in self.primaries()]
            return answers[0]
        return self.send([(args, options)])[0]

    def call(self, command: Sequence[Any]) -> Any:
        return self.execute_command(*command)

    def pipeline(self, transaction: bool = True) -> "Pipeline":
        if transaction:
            raise redis.DataError("there are no transactions on a Redis Cluster: pipeline(transaction=False)")
        return Pipeline(self)

    def send(self, commands: Sequence[Command], scripts: Iterable[Script] = ()) -> list[Any]:
        """The answers, in order. `scripts` are loaded first, for a server may have been promoted without them.

        Raises the first answer that is an error, when all were sent.
        """
        answers: list[Any] = [None] * len(commands)
        waiting = list(range(len(commands)))
        for _ in range(ATTEMPTS):
            for server, numbers in self._by_server(commands, waiting).items():
                some = self._answers(server, [commands[n] for n in numbers], scripts)
                for n, answer in zip(numbers, some, strict=True):
                    answers[n] = self._asked(answer, commands[n], scripts) if type(answer) is AskError else answer
            waiting = [n for n in waiting if isinstance(answers[n], MovedError)]
            if not waiting:
                break
            self._map = None
        for answer in answers:
            if isinstance(answer, Exception):
                self._forget_map(answer)
                raise answer
        return answers

    def primaries(self) -> list[redis.Redis]:
        """All servers that have slots, by a map that is read anew."""
        self._map = None
        return list(dict.fromkeys(server for server in self._read_map() if server is not None))

    # What takes keys of many slots.

    def mget(self, keys: Iterable[str], *args: str) -> list[bytes | None]:  # type: ignore[override]
        by_slot: dict[int, list[str]] = {}
        for key in (*keys, *args):
            by_slot.setdefault(slot_of(key), []).append(key)
        answers = self.send([(("MGET", *some), {}) for some in by_slot.values()])
        found: dict[str, bytes | None] = {}
        for some, values in zip(by_slot.values(), answers, strict=True):
            found.update(zip(some, values, strict=True))
        return [found[key] for key in (*keys, *args)]

    def delete(self, *names: Any) -> int:  # type: ignore[override]
        return sum(self.send([(("DEL", name), {}) for name in names]))

    def unlink(self, *names: Any) -> int:  # type: ignore[override]
        return sum(self.send([(("UNLINK", name), {}) for name in names]))

    def scan_iter(self, *args: Any, **options: Any) -> Iterator[Any]:
        for server in self.primaries():
            yield from server.scan_iter(*args, **options)

    def get_encoder(self) -> Any:
        return self._server(self._nodes[0]).get_encoder()

    def close(self) -> None:
        for server in self._servers.values():
            server.close()

    # How a command finds its server.

    def _by_server(self, commands: Sequence[Command], numbers: Sequence[int]) -> dict[redis.Redis, list[int]]:
        slots = self._map or self._read_map()
        found: dict[redis.Redis, list[int]] = {}
        for n in numbers:
            slot = _slot(commands[n][0])
            server = slots[slot]
            if server is None:
                self._map = None
                raise ClusterDownError(f"no server of the Redis Cluster has slot {slot}")
            found.setdefault(server, []).append(n)
        return found

    def _answers(self, server: redis.Redis, commands: Sequence[Command], scripts: Iterable[Script] = ()) -> list[Any]:
        """What a server answers, errors too. Raises where it does not answer."""
        try:
            if len(commands) == 1 and not scripts:
                try:
                    return [_execute(server, commands[0])]
                except redis.ResponseError as error:
                    return [error]
            with server.pipeline(transaction=False) as pipe:
                loads = [pipe.script_load(script.script) for script in scripts]
                for args, options in commands:
                    pipe.execute_command(*args, **options)  # type: ignore[no-untyped-call]
                return pipe.execute(raise_on_error=False)[len(loads) :]
        except LOST as error:
            self._forget_map(error, server)
            raise

    def _asked(self, error: AskError, command: Command, scripts: Iterable[Script]) -> Any:
        """The answer of the server that a slot is just moving to."""
        asking: Command = (("ASKING",), {})
        return self._answers(self._server((error.host, error.port)), [asking, command], scripts)[1]

    def _forget_map(self, error: Exception, server: redis.Redis | None = None) -> None:
        if isinstance(error, LOST):
            self._map = None
            self._silent.update(address for address, one in self._servers.copy().items() if one is server)

    def _read_map(self) -> Map:
        if not self._reading.acquire(timeout=self._timeout):
            raise redis.TimeoutError("the map of the Redis Cluster is still being read")
        try:
            slots = self._map or self._ask_for_map()  # another thread may have been quicker
            self._map = slots
            return slots
        finally:
            self._reading.release()

    def _ask_for_map(self) -> Map:
        deadline, failure = monotonic() + self._timeout, "it has no slots"
        for address in sorted(self._nodes, key=self._silent.__contains__):
            try:
                ranges = _execute(self._server(address), (("CLUSTER SLOTS",), {}))
            except redis.RedisError as error:
                failure = str(error)
                self._silent.add(address)
            else:
                self._silent.discard(address)
                if ranges:
                    return self._map_of(ranges, address)
            if monotonic() > deadline:
                break
        raise redis.ConnectionError(f"no node of the Redis Cluster answers: {failure}")

    def _map_of(self, ranges: Sequence[Any], asked: Address) -> Map:
        """From what CLUSTER SLOTS answers: [first slot, last slot, primary, replica, …], a member [host, port, …]."""
        slots: Map = [None] * SLOTS
        nodes: list[Address] = []
        for first, last, *members in ranges:
            addresses = [((host or b"").decode() or asked[0], port) for host, port, *_ in members]
            slots[first : last + 1] = [self._server(addresses[0])] * (last + 1 - first)
            nodes += addresses
        nodes = list(dict.fromkeys(nodes))
        shuffle(nodes)
        self._nodes = nodes + [address for address in self._nodes if address not in nodes]
        return slots

    def _server(self, address: Address) -> redis.Redis:
        if address not in self._servers:
            self._servers[address] = self._connect(*address)
        return self._servers[address]


class Pipeline(CoreCommands):
    """Commands that are sent together; each goes where its keys are. No transaction."""

    _event_dispatcher: Any = None

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._commands: list[Command] = []
        self.scripts: set[Script] = set()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self._commands, self.scripts = [], set()

    def execute_command(self, *args: Any, **options: Any) -> "Pipeline":
        self._commands.append((args, options))
        return self

    def execute(self) -> list[Any]:
        commands, scripts = self._commands, self.scripts
        self._commands, self.scripts = [], set()
        return self._cluster.send(commands, scripts)


def _execute(server: redis.Redis, command: Command) -> Any:
    args, options = command
    return server.execute_command(*args, **options)  # type: ignore[no-untyped-call]


def _slot(args: Sequence[Any]) -> int:
    """Of a command's first key; that the others share its slot the server sees to."""
    if args[0] in ("EVALSHA", "EVAL"):
        key = args[3]
    elif len(args) > 1:
        key = args[1]
    else:
        raise redis.DataError(f"{args[0]} has no key: send it to one of primaries()")
    return slot_of(key)


def slot_of(key: str | bytes) -> int:
    return int(key_slot(key.encode() if isinstance(key, str) else key))
