"""Sends the commands of many greenlets to Redis in one round trip.

Under load several requests become ready in the same turn of gevent's event loop. Their commands share a connection, one
`send` and one `recv`, which cost a web process more than all else it does for a command.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import gevent
import redis
from gevent.event import AsyncResult

from app.redis.pool import Pool, pack

MAX_BATCH = 16  # commands; the reply of each waits for those of all


class Waiting(NamedTuple):
    """A packed command, and its reply to come."""

    packed: bytes
    reply: AsyncResult


class Batches:
    """Executes commands through `pool`: those of one turn of the event loop together."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._next: list[Waiting] = []

    def execute(self, command: Sequence[Any]) -> Any:
        """Execute one command and return its raw reply, like `Pool.execute`.

        The first of a batch sends it, after one turn of the event loop; the others wait for it.
        """
        own = Waiting(pack(command), AsyncResult())
        if len(self._next) == MAX_BATCH:
            self._next = []
        batch = self._next
        batch.append(own)
        if len(batch) == 1:
            self._lead(batch)
        return own.reply.get()

    def _lead(self, batch: list[Waiting]) -> None:
        try:
            gevent.sleep(0)
        finally:  # also if this greenlet is interrupted: the others wait for it
            if self._next is batch:
                self._next = []
            self._send(batch)

    def _send(self, batch: list[Waiting]) -> None:
        try:
            replies = self._pool.execute_all([waiting.packed for waiting in batch])
        except BaseException as error:
            failure = error if isinstance(error, Exception) else redis.ConnectionError("the batch was interrupted")
            for waiting in batch:
                waiting.reply.set_exception(copy(failure))  # each greenlet adds its own traceback
            raise
        for waiting, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Exception):
                waiting.reply.set_exception(reply)
            else:
                waiting.reply.set(reply)
