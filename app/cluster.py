"""A client of a Redis Cluster: as much of one as Lenta needs, made of redis-py's client of one server.

redis-py has its own, and it does not suit a service that goes on without Redis: it connects when it is made, sends what
a node did not answer again command by command, each with a time-out of its own, and raises what is no RedisError.

A command goes to the primary of its keys' slot. Many commands go to all their primaries at once, so that they take one
round trip. Where a server answers that a slot is another's (MOVED), the slots are read again and what was refused is
sent again. When a server does not answer, that is raised at once.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis
from redis.commands.core import CoreCommands, Script
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from app.topology import Topology

Command = tuple[tuple[Any, ...], dict[str, Any]]  # as execute_command takes it

ATTEMPTS = 4  # of a command that is sent from one server to another

# What is sent to all primaries. Everything else has a key.
EVERYWHERE = ("PING", "SCRIPT LOAD", "FLUSHDB")


class Cluster(CoreCommands):
    """Used by many threads. Waits at most twice as long as its servers' time-outs: for the slots and for the answer."""

    _event_dispatcher: Any = None  # CoreCommands wants one, for what is not used here

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._connections = Connections()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] in EVERYWHERE:
            answers = self._exchange({server: [(args, options)] for server in self.primaries()})
            return _unless_error([answer for [answer] in answers.values()])[0]
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
        loads: list[Command] = [(("SCRIPT LOAD", script.script), {}) for script in scripts]
        answers: list[Any] = [None] * len(commands)
        waiting = list(range(len(commands)))
        for _ in range(ATTEMPTS):
            numbers = self._by_server(commands, waiting)
            exchanged = self._exchange({server: [*loads, *[commands[n] for n in ns]] for server, ns in numbers.items()})
            for server, ns in numbers.items():
                for n, answer in zip(ns, exchanged[server][len(loads) :], strict=True):
                    answers[n] = self._asked(answer, loads, commands[n]) if type(answer) is AskError else answer
            waiting = [n for n in waiting if isinstance(answers[n], MovedError)]
            if not waiting:
                break
            self._topology.forget()
        if any(isinstance(answer, ClusterDownError) for answer in answers):
            self._topology.forget()
        return _unless_error(answers)

    def primaries(self) -> list[redis.Redis]:
        """All servers that have slots, asked for anew."""
        self._topology.forget()
        return list(dict.fromkeys(server for server in self._topology.slots() if server is not None))

    # What takes keys of many slots.

    def mget(self, keys: Iterable[str], *args: str) -> list[bytes | None]:  # type: ignore[override]
        return self.send([(("GET", key), {}) for key in (*keys, *args)])

    def delete(self, *names: Any) -> int:  # type: ignore[override]
        return sum(self.send([(("DEL", name), {}) for name in names]))

    def unlink(self, *names: Any) -> int:  # type: ignore[override]
        return sum(self.send([(("UNLINK", name), {}) for name in names]))

    def scan_iter(self, *args: Any, **options: Any) -> Iterator[Any]:
        for server in self.primaries():
            yield from server.scan_iter(*args, **options)

    def dbsize(self, **_: Any) -> int:  # type: ignore[override]
        return sum(server.dbsize() for server in self.primaries())

    def get_encoder(self) -> Any:
        return self._topology.any_server().get_encoder()

    def close(self) -> None:
        """The connections of the thread that closes, and those that no thread owns."""
        self._connections.close()
        self._topology.close()

    # How commands come to their servers.

    def _by_server(self, commands: Sequence[Command], numbers: Sequence[int]) -> dict[redis.Redis, list[int]]:
        slots = self._topology.slots()
        found: dict[redis.Redis, list[int]] = {}
        for n in numbers:
            slot = _slot(commands[n][0])
            server = slots[slot]
            if server is None:
                self._topology.forget()
                raise ClusterDownError(f"no server of the Redis Cluster has slot {slot}")
            found.setdefault(server, []).append(n)
        return found

    def _asked(self, error: AskError, loads: Sequence[Command], command: Command) -> Any:
        """The answer of the server that a slot is just moving to."""
        server = self._topology.server((error.host, error.port))
        return self._exchange({server: [*loads, (("ASKING",), {}), command]})[server][-1]

    def _exchange(self, batches: Mapping[redis.Redis, Sequence[Command]]) -> dict[redis.Redis, list[Any]]:
        """What servers answer, errors too. Raises if one does not; what a lost connection took is sent anew, once."""
        try:
            return self._exchange_once(batches)
        except redis.ConnectionError:
            return self._exchange_once(batches)

    def _exchange_once(self, batches: Mapping[redis.Redis, Sequence[Command]]) -> dict[redis.Redis, list[Any]]:
        answers: dict[redis.Redis, list[Any]] = {}
        try:
            for server, commands in batches.items():
                connection = self._connections.to(server)
                connection.send_packed_command(connection.pack_commands([args for args, _ in commands]))
            for server, commands in batches.items():
                connection = self._connections.to(server)
                answers[server] = [_read(server, connection, command) for command in commands]
        except BaseException as error:
            for one in batches:  # an answer that nobody took would be taken for that of the next command
                self._connections.drop(one)
            if isinstance(error, redis.ConnectionError | redis.TimeoutError):
                self._topology.missed(server)
            raise
        return answers


class Connections(threading.local):
    """A connection of each thread to each server: see `app.redis.OwnConnection`."""

    def __init__(self) -> None:
        self._open: dict[redis.Redis, Any] = {}

    def to(self, server: redis.Redis) -> Any:
        """Raises where the server does not answer."""
        if server not in self._open:
            pool = server.connection_pool
            self._open[server] = pool.connection_class(**pool.connection_kwargs)
        self._open[server].connect()  # where it is not
        return self._open[server]

    def drop(self, server: redis.Redis) -> None:
        if server in self._open:
            self._open.pop(server).disconnect()

    def close(self) -> None:
        for server in list(self._open):
            self.drop(server)


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


def slot_of(key: str | bytes) -> int:
    return int(key_slot(key.encode() if isinstance(key, str) else key))


def _slot(args: Sequence[Any]) -> int:
    """Of a command's first key; that the others share its slot the server sees to."""
    if args[0] in ("EVALSHA", "EVAL"):
        return slot_of(args[3])
    if len(args) == 1:
        raise redis.DataError(f"{args[0]} has no key: send it to one of primaries()")
    return slot_of(args[1])


def _read(server: redis.Redis, connection: Any, command: Command) -> Any:
    args, options = command
    try:
        return server.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        return error


def _unless_error(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
