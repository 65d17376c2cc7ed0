"""Checks at start that a primary without its replicas takes no writes.

A Cluster needs no check: a primary that is cut off from most of the others takes no commands.
"""

import logging

import redis

from app.redis.client import client, is_cluster

log = logging.getLogger(__name__)


def check_at_start() -> None:
    """Warn the operator of a primary with replicas and without min-replicas-to-write."""
    if is_cluster():
        return
    try:
        state = client().info("replication")
    except redis.RedisError as error:
        log.warning("the replication of Redis could not be checked: %s", error)
        return
    # INFO has this field where min-replicas-to-write is set; CONFIG GET is refused by managed services.
    if state["connected_slaves"] and "min_slaves_good_slaves" not in state:
        log.warning(
            "Redis has replicas, but min-replicas-to-write is 0: a primary that is cut off goes on taking writes that "
            "are lost. Set min-replicas-to-write to 1 on every server, and min-replicas-max-lag to less than the time "
            "until a failover (docs/redis.md)"
        )
