"""Builds cold feeds through the broker ("warming"). Owns the keys:

warm:<run>            hash     progress of one warming: `total`, and for each batch its first user → its size
warm:asked:<servers>  string   deduplicates automatic requests for these Redis servers, for ASKED_SECONDS
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import cast

from app.db import replica
from app.db.engine import commit
from app.feed import store
from app.feed.cache import cached_users, timeline
from app.feed.rebuild import DONE, REBUILDS, rebuild_or_raise
from app.posts import follows, gone, outbox
from app.redis.client import client, replication_ids
from app.settings import settings

BATCH = 2500
COMMITTED_TOGETHER = 50  # about 1 MB per round trip
ASKED_SECONDS = 60
PROGRESS_SECONDS = 3600


def request(run: str) -> None:
    """Request the warming of all feeds through the broker. `run` identifies its progress."""
    outbox.add(outbox.WARM_REQUESTED, run=run)
    commit()


def request_once(run: str, *, again: bool = False) -> bool:
    """Request warming unless it was just requested. `again` forces it. Returns whether it did."""
    asked = f"warm:asked:{replication_ids()}"
    if not client().set(asked, 1, nx=not again, ex=ASKED_SECONDS):
        return False
    try:
        request(run)
    except BaseException:
        client().delete(asked)
        raise
    return True


def reader_batches(run: str) -> Iterator[list[int]]:
    """Yield all users with followees, BATCH at a time. Records their number at the end."""
    total, after = 0, 0
    while batch := follows.users_with_followees(after, BATCH):
        total, after = total + len(batch), batch[-1]
        yield batch
    _note(run, "total", total)


def warm(run: str, user_ids: Sequence[int]) -> None:
    """Build the cold feeds among these."""
    cold = cached_users.filter_cold(user_ids)
    _build({user_id: lease for user_id, lease in zip(cold, timeline.HOME.acquire_many(cold), strict=True) if lease})
    _note(run, str(user_ids[0]), len(user_ids))


def rebuild_warm(user_ids: Sequence[int]) -> None:
    """Rebuild the warm feeds among these. The others stay cold, and their running rebuilds are cancelled."""
    leases = dict(zip(user_ids, timeline.HOME.acquire_many(user_ids), strict=True))
    timeline.HOME.evict([user_id for user_id, lease in leases.items() if lease and not lease.head])
    _build({user_id: lease for user_id, lease in leases.items() if lease and lease.head})


def _build(leases: Mapping[int, timeline.Lease]) -> None:
    """Commit these rebuilds together. Retry each one whose lease was lost."""
    with timeline.HOME.dropping_leases(leases):
        gone_users = replica.read_primary(gone.gone_among, list(leases))
        timeline.HOME.evict(list(gone_users))
        present = [user_id for user_id in leases if user_id not in gone_users]
        contents = replica.read_fresh(store.select_feeds, present, settings().feed_cap)
        feeds = ((user_id, leases[user_id], ids, pulled) for user_id, ids, pulled in contents)
        while batch := list(islice(feeds, COMMITTED_TOGETHER)):
            committed = timeline.HOME.commit_many(batch)
            REBUILDS[DONE].inc(sum(committed))
            for (user_id, *_), taken in zip(batch, committed, strict=True):
                if not taken:
                    rebuild_or_raise(user_id)


def _note(run: str, field: str, number: int) -> None:
    """Record a batch of a warming under its first user, or `total`. Idempotent."""
    with client().pipeline(transaction=False) as pipe:
        pipe.hset(f"warm:{run}", field, str(number))
        pipe.expire(f"warm:{run}", PROGRESS_SECONDS)
        pipe.execute()


def progress(run: str) -> tuple[int, int | None]:
    """Return the number of warmed feeds, and the total once it is known."""
    noted = cast(dict[bytes, bytes], client().hgetall(f"warm:{run}"))
    total = noted.pop(b"total", None)
    return sum(map(int, noted.values())), None if total is None else int(total)
