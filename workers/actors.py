"""The actors, which handle the events of the outbox. Each converges to the current state of SQL.

An actor is named like its event. Messages carry ids only, and may arrive late, twice and in any order.
Import this after creating the broker: actors bind to the broker at import.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
from dramatiq.errors import Retry
from flask import g

from app.db.engine import commit
from app.feed import erase, suspend
from app.feed.cache import post_bodies, timeline
from app.feed.cache.timeline import PUSH, REMOVE
from app.feed.deliver import deliver as deliver_post
from app.feed.deliver import fanout_plan, follower_batches, needs_messages
from app.feed.hybrid import policy
from app.feed.invalidate import invalidate_after_failure
from app.feed.live import log as live
from app.feed.maintenance import warm as warming
from app.feed.rebuild import DONE, RebuildContended, rebuild_for_message
from app.posts import gone
from app.posts.follows import FanoutPlan
from app.users import accounts
from workers.broker import put_back, queue
from workers.dead_letters import remove_naming
from workers.failures import named_by

log = logging.getLogger(__name__)

SECOND = 1000  # dramatiq counts in milliseconds
MINUTE = 60 * SECOND

# 0.1 s, 0.2 s, … up to a minute apart: about two minutes in all, then `give_up`.
RETRIES: dict[str, Any] = {
    "max_retries": 11,
    "min_backoff": 100,
    "max_backoff": MINUTE,
    "on_retry_exhausted": "give_up",
}


@dramatiq.actor(queue_name=queue("feed"), time_limit=10 * MINUTE, **RETRIES)
def post_created(post_id: int, author_id: int) -> None:
    # Fan out before caching the body; a reader in between falls back to SQL.
    audience = fanout_plan(author_id, without=policy.PULLED)
    if policy.add_to_author_timeline(post_id, author_id, audience.state):
        fan_out(PUSH, post_id, author_id, audience)
    else:
        g.delivered = True
    if not post_bodies.refresh([post_id])[post_id]:  # deleted, and its removal may have come first
        timeline.AUTHOR.remove([author_id], [post_id])
    elif audience.state == policy.PULLED:
        live.append(live.POSTED, post_id=post_id, author_id=author_id)
    policy.update_pull_state(author_id)


@dramatiq.actor(queue_name=queue("feed"), time_limit=MINUTE, **RETRIES)
def post_edited(post_id: int) -> None:
    post_bodies.refresh([post_id])
    live.append(live.EDITED, post_id=post_id)


@dramatiq.actor(queue_name=queue("feed"), time_limit=10 * MINUTE, **RETRIES)
def post_deleted(post_id: int, author_id: int) -> None:
    if post_bodies.refresh([post_id])[post_id]:  # its deletion was lost in a failover, or undone by a restore
        return
    live.append(live.DELETED, post_id=post_id, author_id=author_id)  # from here on no page has it
    timeline.AUTHOR.remove([author_id], [post_id])
    fan_out(REMOVE, post_id, author_id, fanout_plan(author_id))
    gone.forget_deleted_posts([post_id])  # all followers are in messages now, or in the note of the check
    commit()


@dramatiq.actor(queue_name=queue("rebuild"), time_limit=MINUTE, **RETRIES)
def follows_changed(follower_id: int) -> None:
    """Rebuild a feed, once for any number of these messages that have come by then."""
    if g.message.queue_name != queue("rebuild"):  # sent by an earlier version, whose workers know no claims
        put_back("rebuild")
        return
    result, delay = rebuild_for_message(follower_id, g.message.message_id)
    if delay:
        put_back("rebuild", delay)
    elif result == DONE:
        g.delivered = True


@dramatiq.actor(queue_name=queue("feed"), time_limit=MINUTE, **RETRIES)
def deliver(op: str, post_id: int, author_id: int, follower_ids: list[int]) -> None:
    deliver_post(op, post_id, author_id, follower_ids)


@dramatiq.actor(queue_name=queue("bulk"), time_limit=MINUTE, **RETRIES)
def deliver_bulk(op: str, post_id: int, author_id: int, follower_ids: list[int]) -> None:
    deliver_post(op, post_id, author_id, follower_ids)


@dramatiq.actor(queue_name=queue("warm"), time_limit=25 * MINUTE, **RETRIES)
def warm_requested(run: str) -> None:
    for user_ids in warming.reader_batches(run):
        warm.send(run, user_ids)


@dramatiq.actor(queue_name=queue("warm"), time_limit=5 * MINUTE, **RETRIES)
def warm(run: str, user_ids: list[int]) -> None:
    with retried_if_contended():
        warming.warm(run, user_ids)


# Retried indefinitely: until the transition ends, posts are delivered both ways (correct but expensive).
TRANSITION: dict[str, Any] = {
    "time_limit": 5 * MINUTE,
    "max_retries": None,
    "min_backoff": SECOND,
    "max_backoff": MINUTE,
}


@dramatiq.actor(queue_name=queue("warm"), **TRANSITION)
def pull_transition_started(author_id: int, transition_id: int, after: int) -> None:
    """Run one step of an author's transition, and send a message for the next."""
    with retried_if_contended():
        last = policy.run_transition_step(author_id, transition_id, after)
    if last is not None:
        pull_transition_started.send(author_id, transition_id, last)


@dramatiq.actor(queue_name=queue("warm"), **TRANSITION)
def turn_begun(author_id: int, turn: int, after: int) -> None:
    """Handle messages of the previous version, which had this name for the actor above. The next version drops it."""
    pull_transition_started.fn(author_id, turn, after)


# Retried indefinitely, so that nothing of a user who is gone is left, and no dead letter names them. The
# posts of a suspended user must not stay in feeds either.
ERASURE: dict[str, Any] = {"time_limit": 25 * MINUTE, "max_retries": None, "min_backoff": SECOND, "max_backoff": MINUTE}
HELD_DELAY = 100
FORGET_DELAY = 30 * SECOND  # then reads and log-ins that were under way have ended


@dramatiq.actor(queue_name=queue("bulk"), **ERASURE)
def user_deleted(user_id: int) -> None:
    if not erase.begin(user_id):
        raise Retry("a write by or about the user is under way", delay=HELD_DELAY)


@dramatiq.actor(queue_name=queue("bulk"), **ERASURE)
def posts_erased(author_id: int, post_ids: list[int], after: int) -> None:
    """Erase posts from the feeds of some followers, and send a message for the next."""
    last = erase.erase_from_followers(author_id, post_ids, after)
    if last is not None:
        posts_erased.send(author_id, post_ids, last)
        return
    remove_naming(dramatiq.get_broker(), post_ids)
    if not erase.take_next_posts(author_id, post_ids):
        take_follows.send(author_id)


@dramatiq.actor(queue_name=queue("bulk"), **ERASURE)
def take_follows(user_id: int) -> None:
    erase.take_follows(user_id)
    forget_user.send_with_options(args=(user_id,), delay=FORGET_DELAY)


@dramatiq.actor(queue_name=queue("bulk"), **ERASURE)
def forget_user(user_id: int) -> None:
    remove_naming(dramatiq.get_broker(), [user_id])
    erase.forget(user_id)


@dramatiq.actor(queue_name=queue("bulk"), **ERASURE)
def suspension_changed(user_id: int) -> None:
    if not suspend.converge(user_id):
        raise Retry("another message about the user is being handled", delay=HELD_DELAY)


@dramatiq.actor(queue_name=queue("bulk"), **ERASURE)
def visibility_changed(author_id: int, after: int) -> None:
    """Evict the feeds of some followers, and send a message for the next."""
    last = suspend.evict_followers(author_id, after)
    if last is not None:
        visibility_changed.send(author_id, last)


@dramatiq.actor(queue_name=queue("feed"), time_limit=MINUTE, max_retries=None, min_backoff=100, max_backoff=MINUTE)
def tokens_revoked(user_id: int) -> None:
    accounts.announce(user_id)


# Retried indefinitely: it usually runs because Redis is down. It goes through all followers of an author.
@dramatiq.actor(
    queue_name=queue("feed"), time_limit=25 * MINUTE, max_retries=None, min_backoff=SECOND, max_backoff=MINUTE
)
def give_up(message: dict[str, Any], retries: dict[str, int]) -> None:
    """Invalidate the feeds of a permanently failed message, so that the next read rebuilds them."""
    log.error("gave up on %s after %d retries: its feeds are invalidated", message, retries["retries"])
    invalidate_after_failure(named_by(message))


@contextmanager
def retried_if_contended() -> Iterator[None]:
    """Retry the message without logging an error if a feed changed during every attempt."""
    try:
        yield
    except RebuildContended as error:
        raise Retry(str(error)) from error


def fan_out(op: str, post_id: int, author_id: int, audience: FanoutPlan) -> None:
    """Deliver to followers of one batch here; send one `deliver` message per batch of more.

    A message contains their ids: if delivered again, it must check the same followers, including those that have left
    since. Here the note of the owed check contains them.
    """
    if not needs_messages(audience):
        if audience.first:
            deliver_post(op, post_id, author_id, audience.first)
            g.delivered = True
        return
    actor = deliver_bulk if audience.is_large else deliver
    for follower_ids in follower_batches(author_id, audience.first):
        actor.send(op, post_id, author_id, follower_ids)
