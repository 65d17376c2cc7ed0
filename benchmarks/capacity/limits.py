"""Limits of single servers, queues and waiting times, and changes that lift them."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.capacity.model import Capacity


@dataclass(frozen=True)
class Limit:
    """A limit: the `load` at a capacity and the maximum, in `unit`. `change` says how to lift it."""

    name: str
    unit: str
    load: Callable[[Capacity], float]
    bearable: Callable[[Capacity], float]
    change: str

    def reached(self, capacity: Capacity) -> float:
        """1: just borne."""
        return self.load(capacity) / self.bearable(capacity)


LIMITS = (
    Limit(
        "memory of one Redis",
        "GB",
        lambda c: c.redis_gb,
        lambda c: c.inputs.redis_node_gb,
        "a Redis Cluster, REDIS_URL=redis+cluster://…; or less: FEED_CAP, FEED_TTL, POST_TTL",
    ),
    Limit(
        "the core of one Redis",
        "cores",
        lambda c: c.cores["redis"],
        lambda c: 1,
        "a Redis Cluster, REDIS_URL=redis+cluster://…",
    ),
    Limit(
        "cores of one PostgreSQL",
        "cores",
        lambda c: c.cores["postgresql"],
        lambda c: c.inputs.database_cores,
        "a replica for reads, POSTS_REPLICA_URL; then posts and follows by shard (Citus)",
    ),
    Limit(
        "disk of one PostgreSQL",
        "GB",
        lambda c: c.database_gb,
        lambda c: c.inputs.database_tb * 1000,
        "follows and posts partitioned, old partitions on slower disks; then by shard (Citus)",
    ),
    Limit(
        "connections of one PostgreSQL",
        "",
        lambda c: c.connections,
        lambda c: c.inputs.connections,
        "a pooler (PgBouncer, by transaction) before the web's URLs",
    ),
    Limit(
        "cores of one RabbitMQ",
        "cores",
        lambda c: c.cores["rabbitmq"],
        lambda c: c.inputs.broker_cores,
        "larger FEED_FANOUT_BATCH; then a broker and workers for each shard",
    ),
    Limit(
        "patience with the most followed",
        "s",
        lambda c: c.top_post_s,
        lambda c: c.inputs.patience,
        "more worker-bulk; FEED_PULL_FOLLOWERS: the most followed are pulled by readers instead",
    ),
)


def first(capacity: Capacity) -> Limit | None:
    """The limit that is exceeded most; None where every single server does."""
    limit = max(LIMITS, key=lambda each: each.reached(capacity))
    return limit if limit.reached(capacity) > 1 else None
