"""Rebuilds feeds from SQL: the one algorithm behind follow, unfollow, cold reads, warming and repair."""

from collections.abc import Callable, Sequence

from app.db import replica
from app.feed import store
from app.feed.cache import claims, timeline
from app.feed.live import log
from app.observability import metrics
from app.posts import gone
from app.settings import settings

REBUILD_ATTEMPTS = 5

DONE, CONTENDED, SKIPPED, COVERED, POSTPONED = "done", "contended", "skipped", "covered", "postponed"
REBUILDS = {result: metrics.REBUILDS.labels(result) for result in (DONE, CONTENDED, SKIPPED, COVERED, POSTPONED)}


# Reads the content of a list from SQL: ids, newest first, and the pulled authors of a feed.
Select = Callable[[int, timeline.Lease], tuple[Sequence[str], Sequence[int]]]


class RebuildContended(Exception):
    """The feed changed during every attempt; the queue retries later."""


def rebuild(user_id: int, *, attempts: int = REBUILD_ATTEMPTS, steal: bool = True) -> bool:
    """Rebuild a feed from the current state of SQL. Returns whether it was committed.

    Without `steal`, a running rebuild is left alone.
    """
    result = _rebuild(timeline.HOME, _select_feed, user_id, attempts, steal)
    REBUILDS[result].inc()
    return result == DONE


def rebuild_for_message(user_id: int, message_id: str) -> tuple[str, int]:
    """Rebuild a feed once for any number of messages, and tell live clients.

    Returns DONE or COVERED (another message will do it) and 0; or else POSTPONED or CONTENDED, and in how many ms the
    message must come again.
    """
    lease = claims.claim(user_id, message_id)
    if isinstance(lease, int):
        result, delay = (POSTPONED, lease) if lease else (COVERED, 0)
    elif _commit_claimed(user_id, lease):
        log.append(log.CHANGED, reader_ids=[user_id])
        claims.settle(user_id, lease)  # last: others rely on the event, too
        result, delay = DONE, 0
    else:
        result, delay = CONTENDED, claims.PAUSE_MS
    REBUILDS[result].inc()
    return result, delay


def _commit_claimed(user_id: int, lease: timeline.Lease) -> bool:
    try:
        return _read_and_commit(timeline.HOME, _select_feed, user_id, lease)
    except Exception:
        claims.settle(user_id, lease)  # the message is retried, and would be in vain beside one of the sweep
        raise


def rebuild_or_raise(user_id: int) -> None:
    """Rebuild a feed. Raises RebuildContended."""
    if not rebuild(user_id):
        raise RebuildContended(f"the feed of user {user_id} changed during {REBUILD_ATTEMPTS} attempts")


def rebuild_author(author_id: int, *, attempts: int = REBUILD_ATTEMPTS, steal: bool = True) -> bool:
    """Rebuild a pulled author's list from SQL, like `rebuild`. Returns whether it was committed."""
    return _rebuild(timeline.AUTHOR, _select_authors_posts, author_id, attempts, steal) == DONE


def rebuild_authors_of(user_ids: Sequence[int]) -> None:
    """Rebuild the lists of the pulled authors that these feeds are merged from."""
    for author_id in {author_id for author_ids in store.select_pulled(user_ids).values() for author_id in author_ids}:
        rebuild_author(author_id)


def _rebuild(lists: timeline.Timelines, select: Select, owner_id: int, attempts: int, steal: bool) -> str:
    """Return DONE, CONTENDED or SKIPPED (another rebuild is running)."""
    for _ in range(attempts):
        lease = lists.acquire(owner_id, steal=steal)
        if lease is None:
            return SKIPPED
        if _read_and_commit(lists, select, owner_id, lease):
            return DONE
    return CONTENDED


def _read_and_commit(lists: timeline.Timelines, select: Select, owner_id: int, lease: timeline.Lease) -> bool:
    """Read SQL, now that the lease is taken. Returns False where the list changed under it.

    Of a user who is gone nothing may be left, not even the list of no posts.
    """
    with lists.dropping_leases({owner_id: lease}):
        ids, pulled = replica.read_fresh(select, owner_id, lease)
        if not ids and replica.read_primary(gone.gone_among, [owner_id]):
            lists.evict([owner_id])
            return True
        return lists.commit(owner_id, lease, ids, pulled)


def _select_feed(user_id: int, lease: timeline.Lease) -> tuple[Sequence[str], Sequence[int]]:
    return store.select_feed(user_id, settings().feed_cap, lease.estimated_oldest_id)


def _select_authors_posts(author_id: int, _: timeline.Lease) -> tuple[Sequence[str], Sequence[int]]:
    return store.select_newest_ids_by(author_id, settings().feed_cap), ()
