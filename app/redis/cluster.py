"""A minimal Redis Cluster client built on redis-py's single-node client.

redis-py's RedisCluster does not suit a service that works without Redis: it connects in its constructor, retries a
timed-out pipeline command by command, each with its own timeout, and raises errors that are not RedisError.

A command goes to the primary of its keys' slot; many commands go to all primaries in parallel, in one round trip. After
a redirect (MOVED), the slots are reloaded and the rejected commands sent again. A timeout is raised at once.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

import redis
from redis.commands.core import CoreCommands, Script
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from app.redis.topology import Topology

Command = tuple[tuple[Any, ...], dict[str, Any]]  # as execute_command takes it

ATTEMPTS = 4  # per command; each follows a redirect

# Sent to all primaries. All other commands have a key.
ALL_PRIMARIES = ("PING", "SCRIPT LOAD", "FLUSHDB")


class Cluster(CoreCommands):
    """A thread-safe client. Waits at most two timeouts: for the slots and for the reply."""

    _event_dispatcher: Any = None  # required by CoreCommands, unused here

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] in ALL_PRIMARIES:
            answers = self._round_trip({server: [(args, options)] for server in self.primaries()})
            return _raise_first_error([answer for [answer] in answers.values()])[0]
        return self.execute_many([(args, options)])[0]

    def execute(self, command: Sequence[Any]) -> Any:
        return self.execute_command(*command)

    def pipeline(self, transaction: bool = True) -> "Pipeline":
        if transaction:
            raise redis.DataError("there are no transactions on a Redis Cluster: pipeline(transaction=False)")
        return Pipeline(self)

    def execute_many(
        self, commands: Sequence[Command], scripts: Iterable[Script] = (), *, raise_on_error: bool = True
    ) -> list[Any]:
        """Execute commands and return their replies in order.

        `scripts` are loaded first, as a promoted server may lack them. Raises the first error after sending all, or
        without `raise_on_error` returns errors among the replies.
        """
        loads: list[Command] = [(("SCRIPT LOAD", script.script), {}) for script in scripts]
        answers: list[Any] = [None] * len(commands)
        waiting = list(range(len(commands)))
        for _ in range(ATTEMPTS):
            numbers = self._by_server(commands, waiting)
            exchanged = self._round_trip(
                {server: [*loads, *[commands[n] for n in ns]] for server, ns in numbers.items()}
            )
            for server, ns in numbers.items():
                for n, answer in zip(ns, exchanged[server][len(loads) :], strict=True):
                    answers[n] = self._follow_ask(answer, loads, commands[n]) if type(answer) is AskError else answer
            waiting = [n for n in waiting if isinstance(answers[n], MovedError)]
            if not waiting:
                break
            self._topology.invalidate()
        if any(isinstance(answer, ClusterDownError) for answer in answers):
            self._topology.invalidate()
        return _raise_first_error(answers) if raise_on_error else answers

    def primaries(self) -> list[redis.Redis]:
        """Return all servers that have slots, from a fresh slot map."""
        self._topology.invalidate()
        return list(dict.fromkeys(server for server in self._topology.slots() if server is not None))

    def slot_digests(self) -> dict[redis.Redis, str]:
        """Return a digest of the slots of each primary."""
        numbers: dict[redis.Redis, list[int]] = {}
        for slot, server in enumerate(self._topology.slots()):
            if server is not None:
                numbers.setdefault(server, []).append(slot)
        return {server: f"{crc32(array('H', slots).tobytes()):08x}" for server, slots in numbers.items()}

    # Commands with keys of many slots.

    def mget(self, keys: Iterable[str], *args: str) -> list[bytes | None]:  # type: ignore[override]
        # One MGET per key, and not GET: that fails for a key of another type, where MGET returns None.
        return [reply for [reply] in self.execute_many([(("MGET", key), {}) for key in (*keys, *args)])]

    def delete(self, *names: Any) -> int:  # type: ignore[override]
        return sum(self.execute_many([(("DEL", name), {}) for name in names]))

    def unlink(self, *names: Any) -> int:  # type: ignore[override]
        return sum(self.execute_many([(("UNLINK", name), {}) for name in names]))

    def scan_iter(self, *args: Any, **options: Any) -> Iterator[Any]:
        for server in self.primaries():
            yield from server.scan_iter(*args, **options)

    def dbsize(self, **_: Any) -> int:  # type: ignore[override]
        return sum(server.dbsize() for server in self.primaries())

    def get_encoder(self) -> Any:
        return self._topology.any_server().get_encoder()

    def close(self) -> None:
        """Close all connections."""
        self._topology.close()

    # Routing of commands.

    def _by_server(self, commands: Sequence[Command], numbers: Sequence[int]) -> dict[redis.Redis, list[int]]:
        slots = self._topology.slots()
        found: dict[redis.Redis, list[int]] = {}
        for n in numbers:
            slot = _slot(commands[n][0])
            server = slots[slot]
            if server is None:
                self._topology.invalidate()
                raise ClusterDownError(f"no server of the Redis Cluster has slot {slot}")
            found.setdefault(server, []).append(n)
        return found

    def _follow_ask(self, error: AskError, loads: Sequence[Command], command: Command) -> Any:
        """Repeat a command on the server that its slot is moving to."""
        server = self._topology.server((error.host, error.port))
        return self._round_trip({server: [*loads, (("ASKING",), {}), command]})[server][-1]

    def _round_trip(self, batches: Mapping[redis.Redis, Sequence[Command]]) -> dict[redis.Redis, list[Any]]:
        """Return the replies of each server, including errors. Retries once if a connection was lost.

        Raises redis.TimeoutError if a server does not reply.
        """
        try:
            return self._try_round_trip(batches)
        except redis.ConnectionError:
            return self._try_round_trip(batches)

    def _try_round_trip(self, batches: Mapping[redis.Redis, Sequence[Command]]) -> dict[redis.Redis, list[Any]]:
        connections: dict[redis.Redis, Any] = {}
        replies: dict[redis.Redis, list[Any]] = {}
        try:
            for server, commands in sorted(batches.items(), key=_order):
                connection: Any = server.connection_pool.get_connection()
                connections[server] = connection
                connection.send_packed_command(connection.pack_commands([args for args, _ in commands]))
            for server, connection in connections.items():
                replies[server] = [_read(server, connection, command) for command in batches[server]]
        except BaseException as error:
            for connection in connections.values():  # an unread reply would be returned to the next command
                connection.disconnect()
            if isinstance(error, redis.ConnectionError | redis.TimeoutError):
                self._topology.mark_unreachable(server)
            raise
        finally:
            for server, connection in connections.items():
                server.connection_pool.release(connection)
        return replies


class Pipeline(CoreCommands):
    """Sends commands together, each to the server of its keys, without a transaction."""

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

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands, scripts = self._commands, self.scripts
        self._commands, self.scripts = [], set()
        return self._cluster.execute_many(commands, scripts, raise_on_error=raise_on_error)


def slot_of(key: str | bytes) -> int:
    return int(key_slot(key.encode() if isinstance(key, str) else key))


def _slot(args: Sequence[Any]) -> int:
    """Return the slot of a command's first key. The server rejects cross-slot commands."""
    if args[0] in ("EVALSHA", "EVAL"):
        return slot_of(args[3])
    if args[0] == "XREAD":
        return slot_of(args[args.index(b"STREAMS") + 1])
    if len(args) == 1:
        raise redis.DataError(f"{args[0]} has no key: send it to one of primaries()")
    return slot_of(args[1])


def _order(batch: tuple[redis.Redis, Any]) -> int:
    """Return the sort key of a server: taking connections in one global order prevents deadlocks."""
    return id(batch[0])


def _read(server: redis.Redis, connection: Any, command: Command) -> Any:
    args, options = command
    try:
        return server.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        return error


def _raise_first_error(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
