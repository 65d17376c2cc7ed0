"""Drops the feeds of servers that lost writes: a restored snapshot, a failover of Redis or PostgreSQL.

Such lists look valid but differ from SQL. `app.feed.maintenance.trust` says which servers these are.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from secrets import token_hex

import redis
from redis.exceptions import MovedError

from app.auth import revoked_tokens
from app.db.identity import of_posts
from app.feed import lua
from app.feed.cache import cached_users
from app.feed.live import log as live
from app.feed.maintenance import lost_steps, trust, warm
from app.redis.client import client, is_resharding, look_for_failover, primaries

LOCK_SECONDS = 60
BATCH = 1000

log = logging.getLogger(__name__)


def check() -> bool:
    """Drop all feeds on untrusted servers and request warming. Returns whether there was one.

    Beside a PostgreSQL that may have lost commits, what rests on them is read or requested again, too.

    An interrupted check is repeated, because the trusted set is written last. So is one during which slots of a Cluster
    move: their keys may be on either server.
    """
    look_for_failover()
    present = primaries()
    trust.distrust_replacements(present)
    slots, mark = trust.slots_of(present), trust.trusted()
    if mark == trust.wanted(present, of_posts().current(), mark) | {*slots.values()}:
        return False
    lock, ours = trust.lock_key(present), token_hex(8)
    if not client().set(lock, ours, nx=True, ex=LOCK_SECONDS):
        return False
    try:
        sql, mark = of_posts().ask(), trust.trusted()  # another check may have been faster
        untrusted = trust.untrusted(present, sql, mark, slots)
        if untrusted and is_resharding(present.values()):
            log.warning("feeds are not dropped before all slots are closed: redis-cli --cluster fix")
            return False
        for server in untrusted:
            for _ in drop_all_feeds(server):
                client().expire(lock, LOCK_SECONDS)
        if untrusted and (is_resharding(present.values()) or trust.slots_of(primaries()) != slots):
            return False
        if untrusted:
            live.end()
            warm.request_once(token_hex(8), again=True)  # an earlier warm-up was dropped with the feeds
        is_known = sql in mark
        if not is_known:
            revoked_tokens.read_again()
        is_complete = is_known or lost_steps.request_again()
        wanted = trust.wanted(present, sql, mark) | {*slots.values()}
        trust.confirm(present, wanted if is_complete else wanted - {sql}, ours)
    finally:
        lua.run("drop_lease", [([lock], [ours])])
    return bool(untrusted)


def warm_if_empty() -> bool:
    """Request warming at start if Redis holds no feed. Returns whether it did.

    On an untrusted server only `check` requests warming; a later check would drop feeds that were already warmed.
    """
    if not cached_users.is_empty():
        return False
    present, mark = primaries(), trust.trusted()
    is_trusted = not trust.untrusted(present, of_posts().current(), mark)
    return warm.request_once(token_hex(8)) if is_trusted else check()


def invalidate_all() -> None:
    """Make the workers drop and rebuild all feeds, as after a restart of Redis."""
    trust.distrust(primaries())


def drop_all_feeds(server: redis.Redis) -> Iterator[None]:
    """Drop all feeds, author lists, claims, leases and bodies of a server. Yields after each batch.

    Claims first: a message that found an old claim is done, so its feed must be dropped after that. Then leases:
    SCAN may miss a list that a running rebuild commits, and without a lease no rebuild can commit. A key in a slot that
    the server does not have stays: it cannot be reached.
    """
    for pattern in ("claim:*", "feed:*:lease", "authored:*:lease", "feed:*", "authored:*", "post:*"):
        keys: Iterator[bytes] = server.scan_iter(pattern, count=BATCH)
        while batch := list(islice(keys, BATCH)):
            with server.pipeline(transaction=False) as pipe:
                for key in batch:  # one command per key: on a Cluster the keys have different slots
                    pipe.unlink(key)
                for reply in pipe.execute(raise_on_error=False):
                    if isinstance(reply, Exception) and not isinstance(reply, MovedError):
                        raise reply
            yield
