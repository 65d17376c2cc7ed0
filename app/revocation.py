"""Revoked tokens: in Redis until they would have expired, and a copy in each process, so that a check costs nothing.

The one owner of the key:

    tokens:revoked   stream   `jti` and `exp` of each; what is older than the life of a token is trimmed. Without
                              expiry, so that no `volatile-` memory policy evicts it

A process reads what is new at most every REFRESH_SECONDS: what was revoked elsewhere is refused that much later.
Without Redis each process goes on refusing what it knows of, and nothing can be revoked.
"""

import logging
import threading
from time import monotonic, time
from typing import cast

import redis
from flask import Flask, current_app

from app.redis import REDIS_AWAY, breaker, client

REVOKED_KEY = "tokens:revoked"
REFRESH_SECONDS = 1.0

log = logging.getLogger(__name__)


class Revoked:
    """This process's copy."""

    def __init__(self) -> None:
        self._expiries: dict[str, int] = {}  # by token id
        self._last = b"-"  # of the entries that were read
        self._fresh_until = 0.0
        self._reading = threading.Lock()

    def __contains__(self, token_id: str) -> bool:
        if monotonic() >= self._fresh_until:
            self._refresh()
        return token_id in self._expiries

    def add(self, token_id: str, expires: int) -> None:
        self._expiries[token_id] = expires

    def _refresh(self) -> None:
        with self._reading:
            if monotonic() < self._fresh_until:  # another thread was quicker
                return
            if not breaker().is_open:
                try:
                    self._read()
                except redis.RedisError as error:
                    if isinstance(error, REDIS_AWAY):
                        breaker().trip()
                    log.warning("Redis cannot tell which tokens were revoked, those known of are refused: %s", error)
            self._fresh_until = monotonic() + REFRESH_SECONDS

    def _read(self) -> None:
        entries = cast(list[tuple[bytes, dict[bytes, bytes]]], client().xrange(REVOKED_KEY, min=self._last))
        if entries:
            now = time()
            known = {token_id: expires for token_id, expires in self._expiries.copy().items() if expires > now}
            self._expiries = known | {entry[b"jti"].decode(): int(entry[b"exp"]) for _, entry in entries}
            self._last = b"(" + entries[-1][0]


def init_app(app: Flask) -> None:
    app.extensions["revoked_tokens"] = Revoked()


def revoked() -> Revoked:
    return cast(Revoked, current_app.extensions["revoked_tokens"])


def revoke(token_id: str, expires: int, ttl: int) -> None:
    """Have a token refused until it expires (seconds since 1970); `ttl` is the life of any token, in seconds.

    Raises redis.RedisError, and then it is not revoked.
    """
    oldest = max(0, int((time() - ttl) * 1000))
    client().xadd(REVOKED_KEY, {"jti": token_id, "exp": expires}, minid=oldest)
    revoked().add(token_id, expires)
