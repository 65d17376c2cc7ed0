"""Damages a feed in Redis."""

from app.feed.cache import post_bodies, timeline
from app.feed.maintenance.verify import (
    DISORDER,
    MISSING,
    REPEATED,
    STALE,
    WRONG_BODY,
    WRONG_END_MARK,
    WRONG_PULLED,
)
from app.redis.client import client


def damage(world, reader: int, kind: str) -> None:
    first, second, third, fourth, fifth = world.truth(reader)
    if kind == WRONG_BODY:
        leases = post_bodies.acquire([first], steal=True)
        body = post_bodies.read_versioned([first])[first]
        post_bodies.put({first: body.replace(b"post 4", b"never was")}, leases)
        return
    lists = {
        MISSING: [first, third, fourth, fifth, 0],
        STALE: [first, second, third, fourth, fifth, 5, 0],
        DISORDER: [second, first, third, fourth, fifth, 0],
        REPEATED: [first, first, second, third, fourth, fifth, 0],
        WRONG_END_MARK: [first, second, third, 0],
        WRONG_PULLED: [first, second, third, fourth, fifth, f"0:{world.person()}"],
    }
    key = timeline.HOME.key(reader)
    client().delete(key)
    client().rpush(key, *lists[kind])
