"""The actors: what happens when an event of the outbox arrives. Each converges to what SQL says now.

An actor is named like its event. Messages carry ids only, and may come late, twice and in any order.
Import this after the broker is made: an actor keeps the broker that was set when it was declared.
"""

import logging
from inspect import signature
from typing import Any

import dramatiq
from dramatiq.errors import ActorNotFound
from flask import g

from app.feed import authored, bodies, pulling, warming
from app.feed import service as feed
from app.feed.follows import Audience
from app.feed.timeline import PUSH, REMOVE
from workers.broker import queue

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
    # First: who reads the post before its body is cached reads it from SQL.
    audience = feed.audience(author_id, without=pulling.PULLED)
    if pulling.put(post_id, author_id, audience.state):
        fan_out(PUSH, post_id, author_id, audience)
    else:
        g.is_in_feeds = True
    if not bodies.refresh([post_id])[post_id]:  # it is gone, and its removal may have come before it
        authored.remove([author_id], [post_id])
    pulling.weigh(author_id)


@dramatiq.actor(queue_name=queue("feed"), time_limit=MINUTE, **RETRIES)
def post_edited(post_id: int) -> None:
    bodies.refresh([post_id])


@dramatiq.actor(queue_name=queue("feed"), time_limit=10 * MINUTE, **RETRIES)
def post_deleted(post_id: int, author_id: int) -> None:
    bodies.refresh([post_id])
    authored.remove([author_id], [post_id])
    fan_out(REMOVE, post_id, author_id, feed.audience(author_id))


@dramatiq.actor(queue_name=queue("feed"), time_limit=MINUTE, **RETRIES)
def follows_changed(follower_id: int) -> None:
    feed.reconcile(follower_id)


@dramatiq.actor(queue_name=queue("feed"), time_limit=MINUTE, **RETRIES)
def deliver(op: str, post_id: int, author_id: int, follower_ids: list[int]) -> None:
    feed.deliver(op, post_id, author_id, follower_ids)


@dramatiq.actor(queue_name=queue("bulk"), time_limit=MINUTE, **RETRIES)
def deliver_bulk(op: str, post_id: int, author_id: int, follower_ids: list[int]) -> None:
    feed.deliver(op, post_id, author_id, follower_ids)


@dramatiq.actor(queue_name=queue("warm"), time_limit=25 * MINUTE, **RETRIES)
def warm_requested(run: str) -> None:
    for user_ids in warming.reader_batches(run):
        warm.send(run, user_ids)


@dramatiq.actor(queue_name=queue("warm"), time_limit=5 * MINUTE, **RETRIES)
def warm(run: str, user_ids: list[int]) -> None:
    warming.warm(run, user_ids)


# Tried for ever: until it ends, posts are delivered in both ways, which is right and dear.
@dramatiq.actor(
    queue_name=queue("warm"), time_limit=5 * MINUTE, max_retries=None, min_backoff=SECOND, max_backoff=MINUTE
)
def turn_begun(author_id: int, turn: int, after: int) -> None:
    """A step of an author's turn between pushed and pulled, and a message for the next."""
    last = pulling.advance(author_id, turn, after)
    if last is not None:
        turn_begun.send(author_id, turn, last)


# Tried for ever: Redis is what is missing when it is needed most.
# It goes through all followers of an author.
@dramatiq.actor(
    queue_name=queue("feed"), time_limit=25 * MINUTE, max_retries=None, min_backoff=SECOND, max_backoff=MINUTE
)
def give_up(message: dict[str, Any], retries: dict[str, int]) -> None:
    """A message that failed for good: its feeds are made cold, so that the next read builds them."""
    log.error("gave up on %s after %d retries: its feeds are made cold", message, retries["retries"])
    try:
        actor = dramatiq.get_broker().get_actor(message["actor_name"])
        arguments = signature(actor.fn).bind(*message["args"], **message["kwargs"]).arguments
    except (ActorNotFound, TypeError) as error:
        log.error("it is a message of another version, and what it says by name is all that is done: %s", error)
        arguments = message["kwargs"]
    feed.forget(**arguments)


def fan_out(op: str, post_id: int, author_id: int, audience: Audience) -> None:
    """One `deliver` message for each batch of followers, with their ids: delivered again, it must check the same
    followers, those who have left meanwhile included.
    """
    actor = deliver_bulk if audience.is_large else deliver
    for follower_ids in feed.follower_batches(author_id, audience.first):
        actor.send(op, post_id, author_id, follower_ids)
