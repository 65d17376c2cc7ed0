"""Noticing a Redis that went back in time: restored from a snapshot, or a replica promoted without the last writes.

Its lists look right and are not. So Redis holds the identities (see `app.redis.primaries`) of the servers that
everything in it was written on: one, or the primaries of a Cluster.

    server:trusted          string   identities, with blanks between; without expiry, so that no `volatile-` memory
                                     policy evicts it
    server:lock:<servers>   string   somebody is taking care of these servers, for LOCK_SECONDS

A server that was restarted or promoted has another identity, however recent its snapshot or its data is. (A counter
that is written every second misses a loss of less than a second.) Then nothing *on it* is trusted: feeds and bodies are
dropped, and warming is asked for.

The key is replaced as a whole, so a primary that is deposed is a stranger when it comes back. It may be lost itself, or
go back in time with its server: then it lacks that server's new identity, and perhaps others' too, whose feeds are
dropped for nothing.
"""

from collections.abc import Iterator
from itertools import islice
from secrets import token_hex
from typing import cast

import redis

from app.feed import timeline, warming
from app.redis import client, primaries

MARK_KEY = "server:trusted"
LOCK_SECONDS = 60
BATCH = 1000


def check() -> bool:
    """Compare the servers with the mark; drop what is on those that it does not name, and ask for warming.

    Returns whether there was one. A check that dies half-way is made again: the mark is set last.
    """
    present = primaries()
    if _trusted() == set(present):
        return False
    lock, ours = f"server:lock:{' '.join(sorted(present))}", token_hex(8)
    if not client().set(lock, ours, nx=True, ex=LOCK_SECONDS):
        return False
    try:
        trusted = _trusted()  # another check may have been quicker
        strangers = [server for identity, server in present.items() if identity not in trusted]
        for server in strangers:
            for _ in forget_everything(server):
                client().expire(lock, LOCK_SECONDS)
        if strangers:
            warming.request_once(token_hex(8), again=True)  # what was warmed for who asked before is gone
        client().set(MARK_KEY, " ".join(sorted(present)))
    finally:
        if client().get(lock) == ours.encode():
            client().delete(lock)
    return bool(strangers)


def warm_if_empty() -> bool:
    """The start-up hook: ask for warming if Redis holds no feed at all. Returns whether it did.

    On a server without its mark that is the task of `check`, whoever makes it: a check that drops the feeds after
    somebody else has asked would drop some that were already warmed.
    """
    if not timeline.is_empty():
        return False
    return warming.request_once(token_hex(8)) if _trusted() == set(primaries()) else check()


def _trusted() -> set[str]:
    mark = cast(bytes | None, client().get(MARK_KEY))
    return set((mark or b"").decode().split())


def distrust() -> None:
    """Have the workers drop all feeds and build them anew, as after a restart of Redis."""
    client().delete(MARK_KEY)


def forget_everything(server: redis.Redis) -> Iterator[None]:
    """Drop all feeds, authors' lists, leases and bodies of a server; yields after each step.

    Leases first: SCAN may miss a list that a rebuild from before commits meanwhile, and without a lease none can.
    """
    for pattern in ("feed:*:lease", "authored:*:lease", "feed:*", "authored:*", "post:*"):
        keys: Iterator[bytes] = server.scan_iter(pattern, count=BATCH)
        while batch := list(islice(keys, BATCH)):
            with server.pipeline(transaction=False) as pipe:
                for key in batch:  # one by one: on a Cluster they are of many slots
                    pipe.unlink(key)
                pipe.execute()
            yield
