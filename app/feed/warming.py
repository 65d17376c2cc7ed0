"""Warming: building the feeds of all who follow somebody, through the broker.

The one owner of the keys:

    warm:<run>            hash     progress of one warming: `total`, and for each batch its first user → its size
    warm:asked:<servers>  string   somebody has asked for warming of these Redis servers by itself, for ASKED_SECONDS
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import cast

from app.db import commit
from app.feed import follows, replica, service, timeline, truth
from app.posts import outbox
from app.redis import client, identity
from app.settings import settings

BATCH = 2500
COMMITTED_TOGETHER = 50  # a megabyte
ASKED_SECONDS = 60
PROGRESS_SECONDS = 3600


def request(run: str) -> None:
    """Ask, through the broker, for the feeds of all who follow somebody; `run` names the progress."""
    outbox.put(outbox.WARM_REQUESTED, run=run)
    commit()


def request_once(run: str, *, again: bool = False) -> bool:
    """Ask for warming unless somebody has just asked; `again`: even then. Returns whether it did."""
    asked = f"warm:asked:{identity()}"
    if not client().set(asked, 1, nx=not again, ex=ASKED_SECONDS):
        return False
    try:
        request(run)
    except BaseException:
        client().delete(asked)
        raise
    return True


def reader_batches(run: str) -> Iterator[list[int]]:
    """All who follow somebody, BATCH at a time; notes their number when it is known."""
    total, after = 0, 0
    while batch := follows.readers(after, BATCH):
        total, after = total + len(batch), batch[-1]
        yield batch
    _note(run, "total", total)


def warm(run: str, user_ids: Sequence[int]) -> None:
    """Build the cold ones of these feeds, together."""
    cold = timeline.cold_ones(user_ids)
    _build({user_id: lease for user_id, lease in zip(cold, timeline.begin_many(cold), strict=True) if lease})
    _note(run, str(user_ids[0]), len(user_ids))


def renew(user_ids: Sequence[int]) -> None:
    """Build the warm ones of these feeds anew, together. The others stay cold, and a rebuild of theirs that has begun
    before cannot end.
    """
    leases = dict(zip(user_ids, timeline.begin_many(user_ids), strict=True))
    timeline.make_cold([user_id for user_id, lease in leases.items() if lease and not lease.head])
    _build({user_id: lease for user_id, lease in leases.items() if lease and lease.head})


def _build(leases: Mapping[int, timeline.Lease]) -> None:
    """End these rebuilds; those that something came between, one by one."""
    contents = replica.at_least_now(truth.contents_of, list(leases), settings().feed_cap)
    feeds = ((user_id, leases[user_id], ids, pulled) for user_id, ids, pulled in contents)
    while batch := list(islice(feeds, COMMITTED_TOGETHER)):
        committed = timeline.commit_many(batch)
        service.REBUILDS[service.DONE].inc(sum(committed))
        for (user_id, *_), taken in zip(batch, committed, strict=True):
            if not taken:
                service.reconcile(user_id)


def _note(run: str, field: str, number: int) -> None:
    """Progress of a warming: a batch under its first user, or `total`; repeating changes nothing."""
    with client().pipeline(transaction=False) as pipe:
        pipe.hset(f"warm:{run}", field, str(number))
        pipe.expire(f"warm:{run}", PROGRESS_SECONDS)
        pipe.execute()


def progress(run: str) -> tuple[int, int | None]:
    """Feeds warmed so far, and how many there are to warm once that is known."""
    noted = cast(dict[bytes, bytes], client().hgetall(f"warm:{run}"))
    total = noted.pop(b"total", None)
    return sum(map(int, noted.values())), None if total is None else int(total)
