"""Which servers the content of Redis can be trusted on. Owns the keys:

    server:trusted                   string   identities, separated by blanks; without expiry, so that no `volatile-`
                                              memory policy evicts it
    {server:trusted}:lock:<servers>  string   lock of the process that drops the feeds of these servers, for 60 s

The identities are those of the servers that the content was written on: each Redis (run id and promotion offset, see
`app.redis.client.primaries`), on a Cluster with a digest of its slots, and the posts database (system identifier and
timeline, see `app.db.identity`). A Redis that was restarted or promoted has a new one, however recent its data is. (A
counter written every second would miss a shorter loss.) A PostgreSQL that was promoted or recovered has a new one, and
may lack the last commits.

The set is overwritten as a whole, so a demoted primary is untrusted when it returns. If the key itself is lost or
restored, it lacks that server's new id, and perhaps other ids, whose feeds are then dropped needlessly.
"""

import logging
from collections.abc import Iterable, Mapping
from threading import Lock, Thread
from time import monotonic, sleep
from typing import cast

import psycopg2
import redis
from flask import Flask, current_app

from app.db.identity import PREFIX, of_posts
from app.feed import lua
from app.observability.logging import one_line
from app.redis.client import client, look_for_failover, primaries, slot_digests
from app.redis.pool import CONNECTIONS

TRUSTED_KEY = "server:trusted"
DISTRUST_SECONDS = 1.0  # then the servers are compared again
WATCH_SECONDS = 1.0

log = logging.getLogger(__name__)


class Trust:
    """The last comparison of servers in this process: connections opened before it, and the next."""

    def __init__(self) -> None:
        self.connections = 0
        self.distrusted_until = 0.0
        self.comparing = Lock()
        self.servers: set[str] = set()  # Redis servers at the last look


def init_app(app: Flask) -> None:
    app.extensions["redis_trust"] = Trust()


def is_trusted() -> bool:
    """Return whether a page from Redis counts. New connections cause one comparison, for which others wait.

    Drops nothing: that is the workers' task, as it takes too long for a request. Without a mark there is nothing to
    compare: a server that was emptied, or is new.
    """
    trust = _trust()
    if trust.connections == CONNECTIONS.total:
        return True
    with trust.comparing:
        opened = CONNECTIONS.total
        if trust.connections == opened:
            return True
        if monotonic() < trust.distrusted_until:
            return False
        if not _agrees(primaries(), of_posts().known):
            trust.distrusted_until = monotonic() + DISTRUST_SECONDS
            log.warning("Redis or PostgreSQL has lost writes: pages come from SQL until a worker has dropped the feeds")
            return False
        trust.connections = opened
        return True


def compare() -> None:
    """Look for a failover, also behind connections that did not break. After one, the next read compares the servers.

    The watch of a web process does this every second. A request would wait for a database that is frozen.
    """
    look_for_failover()
    if not _agrees(primaries(), of_posts().current()):
        _trust().connections = 0


def watch(app: Flask) -> None:
    """Compare the servers every WATCH_SECONDS, in a thread, for as long as the process lives."""

    def run() -> None:
        while True:
            try:
                with app.app_context():
                    compare()
            except (redis.RedisError, psycopg2.Error) as error:
                log.info("the servers could not be compared: %s", one_line(error))
            sleep(WATCH_SECONDS)

    Thread(target=run, name="watch", daemon=True).start()


def distrust_replacements(present: Iterable[str]) -> None:
    """Distrust the Redis servers that have replaced others since the last look of this process.

    It may have written to the others for a while, although the feeds of their successors had been dropped already.
    """
    known = _trust().servers
    if known and (new := set(present) - known):
        distrust(present, new)
    _trust().servers = set(present)


def trusted() -> set[str]:
    mark = cast(bytes | None, client().get(TRUSTED_KEY))
    return set((mark or b"").decode().split())


def untrusted(
    present: Mapping[str, redis.Redis], sql: str | None, mark: set[str], slots: Mapping[str, str] | None = None
) -> list[redis.Redis]:
    """Return the servers whose content may be wrong: all, if the posts database has another identity.

    `slots`: see `slots_of`. If there is a stranger, a server with other slots than before is one, too: it may have got
    them with the copies of an interrupted move.
    """
    if sql and sql_of(mark) - {sql}:
        return list(present.values())
    strangers = present.keys() - mark
    if strangers and slots:
        strangers |= {identity for identity, word in slots.items() if word not in mark}
    return [server for identity, server in present.items() if identity in strangers]


def slots_of(present: Mapping[str, redis.Redis]) -> dict[str, str]:
    """Return what the mark says of the slots of each server of a Cluster."""
    return {identity: f"slots:{identity}:{digest}" for identity, digest in slot_digests(present).items()}


def wanted(present: Iterable[str], sql: str | None, mark: set[str]) -> set[str]:
    """Return the mark of these servers. A posts database that does not tell its identity leaves the one before."""
    return {*present} | ({sql} if sql else sql_of(mark))


def confirm(present: Iterable[str], mark: set[str], token: str) -> None:
    """Trust these servers, unless they were distrusted since the lock was taken."""
    lua.run("confirm", [([TRUSTED_KEY, lock_key(present)], [token, " ".join(sorted(mark))])])


def distrust(present: Iterable[str], identities: Iterable[str] = ()) -> None:
    """Make a worker drop the feeds of these servers, or of all. One that is doing so begins again."""
    lua.run("distrust", [([TRUSTED_KEY, lock_key(present)], [*identities])])


def lock_key(present: Iterable[str]) -> str:
    return f"{{{TRUSTED_KEY}}}:lock:{' '.join(sorted(present))}"


def identities() -> list[str]:
    """Return the identities of all servers that feeds, and their comparison with SQL, rest on."""
    return sorted(wanted(primaries(), of_posts().ask() or f"{PREFIX}unknown", set()))


def sql_of(mark: set[str]) -> set[str]:
    return {identity for identity in mark if identity.startswith(PREFIX)}


def _agrees(present: Mapping[str, redis.Redis], sql: str | None) -> bool:
    mark = trusted()
    return not mark or not untrusted(present, sql, mark)


def _trust() -> Trust:
    return cast(Trust, current_app.extensions["redis_trust"])
