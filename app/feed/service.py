"""Use cases of feeds: deliver and rebuild. Reading is in reading.py, warming in warming.py."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from app import metrics
from app.feed import authored, bodies, follows, replica, timeline, truth
from app.redis import client
from app.settings import settings

REBUILD_ATTEMPTS = 5
GIVEN_UP_KEY = "stats:given_up"  # messages that failed for good

DELIVERIES = {op: metrics.DELIVERIES.labels(op) for op in (timeline.PUSH, timeline.REMOVE)}
DONE, CONTENDED, WAITED = "done", "contended", "waited"
REBUILDS = {result: metrics.REBUILDS.labels(result) for result in (DONE, CONTENDED, WAITED)}


class RebuildContended(Exception):
    """The feed changed under every attempt; the queue tries again later."""


def audience(author_id: int, without: str = "") -> follows.Audience:
    """Whom a fan-out of this author goes to; where it `is_large` it belongs to the bulk queue. Nobody, in the state
    `without`.
    """
    return follows.audience(author_id, settings().feed_fanout_batch, settings().feed_bulk_followers, without)


def follower_batches(author_id: int, first: list[int]) -> Iterator[list[int]]:
    """All followers of an author, FEED_FANOUT_BATCH at a time; the first of them are an audience's."""
    size, batch = settings().feed_fanout_batch, first
    while batch:
        yield batch
        batch = follows.followers(author_id, batch[-1], size) if len(batch) == size else []


def deliver(op: str, post_id: int, author_id: int, follower_ids: Sequence[int]) -> None:
    """Put a post into these feeds, or take it out (`op`: push, remove).

    Push first, check after, without a lock: an unfollow before the check is seen by it, and one after it has a
    rebuild of its own, which starts after the push. The same holds for what the check takes back: see `withdraw`.
    """
    if op == timeline.REMOVE:
        timeline.remove(follower_ids, [post_id])
    else:
        timeline.push(follower_ids, post_id)
        withdraw(post_id, author_id, follower_ids)
    DELIVERIES[op].inc(len(follower_ids))


def withdraw(post_id: int, author_id: int, follower_ids: Sequence[int]) -> None:
    """Take a post out of the feeds of those who do not follow its author, or of all if it is gone.

    Who followed between the check and the removal has lost a post of theirs: a second check sees it, and rebuilds.
    """
    strangers = follows.strangers(post_id, author_id, follower_ids)
    if strangers:
        timeline.remove(strangers, [post_id])
        for follower_id in set(strangers).difference(follows.strangers(post_id, author_id, strangers)):
            reconcile(follower_id)


def rebuild(user_id: int, *, attempts: int = REBUILD_ATTEMPTS, wait: bool = False) -> bool:
    """Make a feed anew from SQL; whatever event asked for it, the result is what SQL says now.

    Returns whether it took. With `wait` a rebuild that is under way is left alone.
    """
    for _ in range(attempts):
        lease = timeline.begin(user_id, wait=wait)
        if lease is None:
            REBUILDS[WAITED].inc()
            return False
        # Now: after the lease was taken.
        now = replica.at_least_now(truth.contents, user_id, settings().feed_cap, lease.floor)
        if timeline.commit(user_id, lease, *now):
            REBUILDS[DONE].inc()
            return True
    REBUILDS[CONTENDED].inc()
    return False


def reconcile(user_id: int) -> None:
    """`rebuild`, or RebuildContended."""
    if not rebuild(user_id):
        raise RebuildContended(f"the feed of user {user_id} changed under {REBUILD_ATTEMPTS} attempts")


def rebuild_authors_of(user_ids: Sequence[int]) -> None:
    """Make anew the lists of the pulled authors that these feeds are merged from."""
    for author_id in {author_id for author_ids in truth.pulled_of(user_ids).values() for author_id in author_ids}:
        authored.rebuild(author_id)


def given_up() -> int:
    """How many messages failed for good, since Redis was last emptied."""
    return int(cast(bytes | None, client().get(GIVEN_UP_KEY)) or 0)


def forget(
    *,
    post_id: int | None = None,
    author_id: int | None = None,
    follower_id: int | None = None,
    follower_ids: Sequence[int] = (),
    user_ids: Sequence[int] = (),
    **_: Any,
) -> None:
    """Forget all that a message was about, feeds and body: the next read builds them. Takes any actor's arguments."""
    if post_id is not None:
        bodies.drop(post_id)
    timeline.make_cold([*follower_ids, *user_ids])
    if follower_id is not None:
        timeline.make_cold([follower_id])
    elif author_id is not None and not follower_ids:
        authored.make_cold([author_id])
        for batch in follower_batches(author_id, audience(author_id).first):
            timeline.make_cold(batch)
    client().incr(GIVEN_UP_KEY)
