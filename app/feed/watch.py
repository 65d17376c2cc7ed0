"""Noticing a Redis that went back in time: restored from a snapshot, or a replica promoted without the last writes.

Its lists look right and are not. So Redis holds the run id of the server that everything in it was written on:

    server:run_id        string   INFO's run_id; without expiry, so that no `volatile-` memory policy evicts it
    server:lock:<run>    string   somebody is taking care of it, for LOCK_SECONDS

A server that was restarted or promoted has another run id than what it was restored with, however recent the snapshot
or the replica is. (A counter that is written every second misses a loss of less than a second.) Then nothing in it is
trusted: feeds and bodies are dropped, and warming is asked for.
"""

from collections.abc import Iterator
from itertools import islice
from secrets import token_hex

from app.feed import timeline, warming
from app.redis import client

MARK_KEY = "server:run_id"
LOCK_SECONDS = 60
BATCH = 1000


def check() -> bool:
    """Compare the server with its mark; if they differ, drop everything and ask for warming.

    Returns whether it did. A check that dies half-way is made again: the mark is set last.
    """
    run_id, mark = _identity()
    lock = f"server:lock:{run_id}"
    if mark == run_id or not client().set(lock, 1, nx=True, ex=LOCK_SECONDS):
        return False
    try:
        if _identity() == (run_id, run_id):  # another check was quicker
            return False
        forget_everything()
        warming.request_once(token_hex(8), again=True)  # what was warmed for who asked before is gone
        client().set(MARK_KEY, run_id)
    finally:
        client().delete(lock)
    return True


def warm_if_empty() -> bool:
    """The start-up hook: ask for warming if Redis holds no feed at all. Returns whether it did.

    On a server without its mark that is the task of `check`, whoever makes it: a check that drops the feeds after
    somebody else has asked would drop some that were already warmed.
    """
    if not timeline.is_empty():
        return False
    run_id, mark = _identity()
    return warming.request_once(token_hex(8)) if mark == run_id else check()


def _identity() -> tuple[str, str | None]:
    """The run id of the server, and its mark."""
    with client().pipeline(transaction=False) as pipe:
        pipe.info("server")
        pipe.get(MARK_KEY)
        info, mark = pipe.execute()
    return info["run_id"], mark and mark.decode()


def forget_everything() -> None:
    """Drop all feeds, leases and bodies, step by step.

    Leases first: SCAN may miss a list that a rebuild from before commits meanwhile, and without a lease none can.
    """
    for pattern in ("feed:*:lease", "feed:*", "post:*"):
        keys: Iterator[bytes] = client().scan_iter(pattern, count=BATCH)
        while batch := list(islice(keys, BATCH)):
            client().unlink(*batch)
