"""Which users have a home feed in Redis, and which of given ones have none."""

from collections.abc import Iterator, Sequence

from app.feed.cache.timeline import HOME
from app.redis.client import client

SCAN_COUNT = 10_000
SAMPLE_COUNT = 1000


def filter_cold(user_ids: Sequence[int]) -> list[int]:
    """Return the users among these whose home feed is cold."""
    with client().pipeline(transaction=False) as pipe:
        for user_id in user_ids:
            pipe.exists(HOME.key(user_id))
        return [user_id for user_id, there in zip(user_ids, pipe.execute(), strict=True) if not there]


def is_empty() -> bool:
    """Return whether Redis holds no home feed."""
    return next(scan(), None) is None


def scan() -> Iterator[int]:
    """Yield all users with a home feed in Redis; one may come twice."""
    keys: Iterator[bytes] = client().scan_iter(f"{HOME.prefix}:*", count=SCAN_COUNT, _type="list")
    return (int(key.rpartition(b":")[2]) for key in keys)


def sample(size: int) -> tuple[list[int], float]:
    """Return up to `size` users with a home feed, and the share of keys scanned.

    SCAN order is effectively random, so the first keys are a fair sample.
    """
    found: dict[int, None] = {}
    prefix = f"{HOME.prefix}:".encode()
    for seen, key in enumerate(client().scan_iter(count=SAMPLE_COUNT), 1):
        if key.startswith(prefix) and not key.endswith(b":lease"):
            found[int(key.rpartition(b":")[2])] = None
            if len(found) >= size:
                return list(found), min(1.0, seen / max(1, client().dbsize()))
    return list(found), 1.0
