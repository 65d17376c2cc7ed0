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

from app.feed import warming
from app.redis import client

MARK_KEY = "server:run_id"
LOCK_SECONDS = 60
BATCH = 1000


def check() -> bool:
    """Compare the server with its mark; if they differ, drop everything and ask for warming.

    Returns whether it did. A check that dies half-way is made again: the mark is set last.
    """
    with client().pipeline(transaction=False) as pipe:
        pipe.info("server")
        pipe.get(MARK_KEY)
        info, mark = pipe.execute()
    run_id: str = info["run_id"]
    lock = f"server:lock:{run_id}"
    if mark == run_id.encode() or not client().set(lock, 1, nx=True, ex=LOCK_SECONDS):
        return False
    try:
        forget_everything()
        warming.request_once(token_hex(8))
        client().set(MARK_KEY, run_id)
    finally:
        client().delete(lock)
    return True


def forget_everything() -> None:
    """Drop all feeds, leases and bodies, step by step.

    Leases first: SCAN may miss a list that a rebuild from before commits meanwhile, and without a lease none can.
    """
    for pattern in ("feed:*:lease", "feed:*", "post:*"):
        keys: Iterator[bytes] = client().scan_iter(pattern, count=BATCH)
        while batch := list(islice(keys, BATCH)):
            client().unlink(*batch)
