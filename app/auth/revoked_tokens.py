"""Revoked tokens, kept in Redis and cached in each process.

Owns the keys:

    tokens:revoked        stream   of a single token `jti` and `exp`; of all a user's tokens before a generation `user`,
                                   `generation` and `exp`. Trimmed by `exp` alone, never by age: JWT_TTL may be shorter
                                   now than when the token was issued. Without expiry, so that no `volatile-` memory
                                   policy evicts it
    tokens:revoked:mark   string   the servers on which the stream is complete, and a random word. Without expiry

A process reads new entries at most every REFRESH_SECONDS, so other processes refuse a revoked token that much later.
SQL holds the generations. A process reads them from there when it begins, and when the mark is another: so where Redis
was emptied, restarted, restored or replaced. The process that notices it writes a new mark, and then everybody reads.
Nothing is missed: an entry is written after its commit, so it is in the stream unless SQL had it already. SQL replaces
what a process knew: a failover of PostgreSQL may have lost generations (`read_again`).

Without Redis each process refuses the tokens in its cache. No single token can be revoked then, and a generation
reaches other processes once Redis is back (the actor `tokens_revoked`).
"""

import logging
import threading
from secrets import token_hex
from time import monotonic, time
from typing import cast

import psycopg2
from flask import Flask, current_app

from app.auth import generations
from app.auth.generations import Generation
from app.redis.circuit_breaker import attempt
from app.redis.client import client, replication_ids
from app.redis.pool import CONNECTIONS

REVOKED_KEY = "tokens:revoked"
MARK_KEY = "tokens:revoked:mark"
REFRESH_SECONDS = 1.0
RELOAD_SECONDS = 10.0  # after the users database did not answer
TRIM_BATCH = 100  # entries examined at each revocation, so that few expired ones are ever in Redis
TRIM_MARGIN_SECONDS = 60  # a slower clock on another host may still accept a token that has expired here

log = logging.getLogger(__name__)

Entry = dict[bytes, bytes]


class RevokedTokens:
    """The revoked tokens cached in this process."""

    def __init__(self) -> None:
        self._expiries: dict[str, int] = {}  # by token id
        self._generations: dict[int, Generation] = {}  # by user
        self._last = b"-"  # id of the last entry read
        self._trim_from = b"-"
        self._fresh_until = 0.0
        self._reload_at = 0.0
        self._mark: bytes | None = None  # when SQL was read
        self._connections = -1  # when the servers were compared with the mark
        self._reading = threading.Lock()

    def refuses(self, token_id: str, user_id: int, generation: int) -> bool:
        """Return whether a token is revoked: it alone, or with all of its user before a generation."""
        if monotonic() >= self._fresh_until:
            self._refresh()
        present = self._generations.get(user_id)
        if present and generation < present.number and time() < present.expires:
            return True
        return token_id in self._expiries

    def add(self, token_id: str, expires: int) -> None:
        self._expiries[token_id] = expires

    def add_generation(self, user_id: int, generation: Generation) -> None:
        known = self._generations.get(user_id, generation)
        self._generations[user_id] = max(known, generation)

    def trim(self) -> None:
        """Delete the expired of the next TRIM_BATCH entries, going through the stream in a circle."""
        entries = _read_stream(self._trim_from, TRIM_BATCH)
        self._trim_from = b"(" + entries[-1][0] if len(entries) == TRIM_BATCH else b"-"
        oldest = time() - TRIM_MARGIN_SECONDS
        if expired := [entry_id for entry_id, entry in entries if int(entry[b"exp"]) < oldest]:
            client().xdel(REVOKED_KEY, *expired)

    def _refresh(self) -> None:
        with self._reading:
            if monotonic() < self._fresh_until:  # another thread was quicker
                return
            attempt(self._read, None, "cannot refresh revoked tokens, using the cached list")
            self._fresh_until = monotonic() + REFRESH_SECONDS

    def _read(self) -> None:
        mark = self._check_mark()
        if mark != self._mark:
            self._last = b"-"
        is_whole = self._last == b"-"
        entries = _read_stream(self._last)
        if is_whole:
            self._write_missing({entry[b"jti"].decode() for _, entry in entries})
        if entries:
            self._take([entry for _, entry in entries])
            self._last = b"(" + entries[-1][0]
        if mark != self._mark and monotonic() >= self._reload_at:
            self._load(mark)

    def _check_mark(self) -> bytes:
        """Return the mark, a new one if it is gone or of other servers."""
        mark, opened = cast(bytes | None, client().get(MARK_KEY)), CONNECTIONS.total
        if mark is None or opened != self._connections:
            servers = replication_ids()
            if mark is None or mark.decode().rpartition(" ")[0] != servers:
                mark = f"{servers} {token_hex(8)}".encode()
                client().set(MARK_KEY, mark)
            self._connections = opened
        return mark

    def _write_missing(self, present: set[str]) -> None:
        """Write the single tokens again that a stream lacks: that of a server that replaced another."""
        now = time()
        for token_id, expires in self._expiries.copy().items():
            if expires > now and token_id not in present:
                _write(token_id, expires)

    def _take(self, entries: list[Entry]) -> None:
        now = time()
        known = {token_id: expires for token_id, expires in self._expiries.copy().items() if expires > now}
        single = {entry[b"jti"].decode(): int(entry[b"exp"]) for entry in entries if b"user" not in entry}
        self._expiries = known | single
        for entry in entries:
            if b"user" in entry:
                self.add_generation(int(entry[b"user"]), Generation(int(entry[b"generation"]), int(entry[b"exp"])))

    def _load(self, mark: bytes) -> None:
        """Replace the generations by those of SQL, after the mark. Without an answer they stay until the next try."""
        known = self._generations.copy()
        try:
            loaded = generations.load()
        except psycopg2.Error as error:
            log.warning("cannot read which users' tokens are revoked, using those that are known: %s", error)
            self._reload_at = monotonic() + RELOAD_SECONDS
            return
        began = self._generations.items() - known.items()  # while SQL was read
        self._generations = loaded
        for user_id, generation in began:
            self.add_generation(user_id, generation)
        self._mark = mark


def init_app(app: Flask) -> None:
    app.extensions["revoked_tokens"] = RevokedTokens()


def revoked() -> RevokedTokens:
    return cast(RevokedTokens, current_app.extensions["revoked_tokens"])


def revoke(token_id: str, expires: int) -> None:
    """Revoke a token until it expires (seconds since 1970).

    Raises redis.RedisError; the token is then not revoked.
    """
    _write(token_id, expires)
    revoked().add(token_id, expires)
    attempt(revoked().trim, None, "expired revocations stay in Redis")


def announce(user_id: int, generation: Generation) -> None:
    """Tell all processes of a generation, after it was committed. Raises redis.RedisError."""
    jti = "-"  # the version before reads one
    number, expires = generation
    client().xadd(REVOKED_KEY, {"user": user_id, "generation": number, "exp": expires, "jti": jti})
    attempt(revoked().trim, None, "expired revocations stay in Redis")


def read_again() -> None:
    """Make all processes read the generations from SQL again, which may have lost some. Raises redis.RedisError."""
    client().delete(MARK_KEY)


def _write(token_id: str, expires: int) -> None:
    client().xadd(REVOKED_KEY, {"jti": token_id, "exp": expires})


def _read_stream(after: bytes, count: int | None = None) -> list[tuple[bytes, Entry]]:
    return cast(list[tuple[bytes, Entry]], client().xrange(REVOKED_KEY, min=after, count=count))
