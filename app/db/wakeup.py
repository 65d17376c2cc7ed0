"""Wakes a relay through Redis after a commit. Owns the keys:

    outbox:<database>   sorted set   one member, where a relay is to look into the outbox of this database; else no key.
                                     Without expiry, so that no `volatile-` memory policy evicts it

A wake-up may be lost, refused or repeated: relays poll too. As a member of a set, it is one for any number of commits,
and one relay takes it. A commit after that leaves another, so what a relay has not seen wakes the next.
"""

import threading
from contextlib import suppress

import redis

from app.redis.circuit_breaker import attempt
from app.redis.client import execute


class Wakeup:
    """Wakes the relays of one database. At most one command of a process is under way."""

    def __init__(self, bind: str) -> None:
        self.key = f"outbox:{bind}"
        self._next, self._sending = threading.Lock(), threading.Lock()

    def send(self) -> None:
        """Wake a relay. Returns at once where another call is about to send: that is after this commit, too."""
        if not self._next.acquire(blocking=False):
            return
        try:
            self._sending.acquire()
        finally:
            self._next.release()
        try:
            attempt(self._add, None, "the relay polls instead of being woken")
        finally:
            self._sending.release()

    def wait(self, client: redis.Redis, seconds: float) -> None:
        """Wait for a wake-up and take it. Raises redis.RedisError."""
        client.bzpopmin(self.key, seconds)

    def _add(self) -> None:
        with suppress(redis.OutOfMemoryError):  # a full Redis serves pages: the circuit stays closed
            execute("ZADD", self.key, 0, "")
