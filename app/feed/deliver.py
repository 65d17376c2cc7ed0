"""Delivers posts to followers' feeds, and removes them."""

from collections.abc import Iterator, Sequence

from redis.exceptions import TryAgainError

from app.db import replica
from app.db.engine import commit
from app.feed.cache import claims, owed_checks, timeline
from app.feed.live import log
from app.observability import metrics
from app.posts import follows, outbox
from app.settings import settings

DELIVERIES = {op: metrics.DELIVERIES.labels(op) for op in (timeline.PUSH, timeline.REMOVE)}
SWEPT = {op: metrics.SWEPT_CHECKS.labels(op) for op in (timeline.PUSH, timeline.REMOVE, timeline.REBUILD)}


def fanout_plan(author_id: int, without: str = "") -> follows.FanoutPlan:
    """Return the state and first followers of an author. Empty if the author is in state `without`.

    A fan-out that `is_large` belongs in the bulk queue.
    """
    return follows.fanout_plan(author_id, settings().feed_fanout_batch, settings().feed_bulk_followers, without)


def needs_messages(plan: follows.FanoutPlan) -> bool:
    """Return whether a fan-out takes several batches, the bulk queue, or a message a follower."""
    return plan.has_more or plan.is_large or settings().feed_fanout_batch == 1


def follower_batches(author_id: int, first: list[int]) -> Iterator[list[int]]:
    """Yield an author's followers, FEED_FANOUT_BATCH at a time, beginning with the batch `first`."""
    size, batch = settings().feed_fanout_batch, first
    while batch:
        yield batch
        batch = follows.followers(author_id, batch[-1], size) if len(batch) == size else []


def deliver(op: str, post_id: int, author_id: int, follower_ids: Sequence[int]) -> None:
    """Push a post into these feeds, or remove it (`op`: push, remove).

    Push first, then check, without a lock: the check sees an earlier unfollow, and a later one triggers a rebuild,
    which starts after the push. The push leaves a note that the check is owed: see `sweep`.
    """
    if op == timeline.REMOVE:
        notes = owed_checks.remove(follower_ids, post_id, author_id)
        request_rebuilds_of_followers(post_id, author_id, follower_ids)  # of a post that SQL has again
        owed_checks.settle(notes)
    else:
        notes, is_kept = owed_checks.push(follower_ids, post_id, author_id, question=log.IS_KEPT)
        log.append(log.POSTED, post_id=post_id, reader_ids=follower_ids, is_kept=is_kept)
        remove_from_non_followers(post_id, author_id, follower_ids)
        owed_checks.settle(notes)
    DELIVERIES[op].inc(len(follower_ids))


def remove_from_non_followers(post_id: int, author_id: int, follower_ids: Sequence[int]) -> None:
    """Remove a post from the feeds of non-followers, or from all if it is deleted."""
    # Not in the session: BEGIN and ROLLBACK would take another round trip.
    others = replica.read_primary(follows.non_followers, post_id, author_id, follower_ids)
    if others:
        notes = owed_checks.remove(others, post_id, author_id)
        log.append(log.DELETED, post_id=post_id, reader_ids=others)
        request_rebuilds_of_followers(post_id, author_id, others)
        owed_checks.settle(notes)


def request_rebuilds_of_followers(post_id: int, author_id: int, user_ids: Sequence[int]) -> None:
    """Request rebuilds of the followers' feeds among those that lost a post.

    They followed between check and removal, or PostgreSQL has lost the deletion of the post in a failover or a restore.
    Through the outbox, so that no delivery waits for a rebuild.
    """
    for follower_id in set(user_ids).difference(follows.non_followers(post_id, author_id, user_ids)):
        outbox.add(outbox.FOLLOWS_CHANGED, follower_id=follower_id)
    commit()


def request_rebuilds(user_ids: Sequence[int]) -> None:
    """Request rebuilds of feeds whose claims may be of messages that are done.

    The claim goes first: it would cover the message that comes of this.
    """
    claims.drop(user_ids)
    for follower_id in user_ids:
        outbox.add(outbox.FOLLOWS_CHANGED, follower_id=follower_id)
    commit()


def sweep() -> int:
    """Make the checks that are overdue, as their workers died or froze. Returns how many.

    A check may be made twice: its worker may be slow only.
    """
    number = 0
    for owed in owed_checks.overdue():
        try:
            if not _check(owed):
                continue
            owed_checks.settle([owed.note])
        except TryAgainError:  # a slot is moving: the next sweep
            continue
        SWEPT[owed.op].inc()
        number += 1
    return number


def _check(owed: owed_checks.Check) -> bool:
    """Make an owed check. Returns False if it is too early."""
    match owed.op:
        case timeline.PUSH:
            remove_from_non_followers(owed.post_id, owed.author_id, owed.user_ids)
        case timeline.REMOVE:
            request_rebuilds_of_followers(owed.post_id, owed.author_id, owed.user_ids)
        case timeline.REBUILD:
            if any(claims.is_running(user_id, owed.note.token) for user_id in owed.user_ids):
                return False
            request_rebuilds(owed.user_ids)
    return True
