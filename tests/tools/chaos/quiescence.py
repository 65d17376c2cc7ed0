"""Waits until no work is pending."""

import contextlib
from time import monotonic, sleep

import redis
from pika.exceptions import AMQPError

from app.db.engine import POSTS, USERS
from app.feed.maintenance.trust import TRUSTED_KEY
from tests.tools.chaos.service import Service

DEADLINE_SECONDS = 240.0
STABLE_SECONDS = 3.0  # the watch on Redis looks every second
POLL_SECONDS = 0.25


class NotQuiet(Exception):
    """Raised if work is still pending at the deadline."""


def wait_until_quiet(service: Service) -> float:
    """Wait until no events and messages are left. Returns the seconds it took.

    RabbitMQ does not tell which messages are in hand, so the workers are stopped: what they hold goes back to its
    queue. They stay stopped where nothing did.
    """
    started = monotonic()
    while True:
        _wait_until_stable(service, started + DEADLINE_SECONDS)
        quiet_since = monotonic() - started - STABLE_SECONDS
        service.worker.pause()
        if not _under_way(service):
            return quiet_since
        service.worker.resume()


def _wait_until_stable(service: Service, deadline: float) -> None:
    left: dict[str, int] = {}
    busy_at = monotonic()
    while monotonic() - busy_at < STABLE_SECONDS:
        if monotonic() > deadline:
            raise NotQuiet(f"after {DEADLINE_SECONDS:.0f} s there is still {left}")
        with contextlib.suppress(AMQPError, redis.RedisError):
            now = _under_way(service)
            if now:
                busy_at, left = monotonic(), now
        sleep(POLL_SECONDS)


def _under_way(service: Service) -> dict[str, int]:
    counts = {name: number for name, number in service.queue_counts().items() if not name.endswith(".XQ")}
    events = sum(service.sql(bind, "SELECT count(*) FROM outbox")[0][0] for bind in (USERS, POSTS))
    client = service.redis_client
    owed = sum(client.zcard(key) for key in client.scan_iter("owed:*", _type="zset"))  # checks that are to be swept
    counts |= {"outbox": events, "owed checks": owed, "unnoticed failovers": int(not _is_noticed(service))}
    return {name: number for name, number in counts.items() if number}


def _is_noticed(service: Service) -> bool:
    """Whether the workers have dropped the feeds from before the last failover of PostgreSQL."""
    if service.pair is None:
        return True
    return (service.redis_client.get(TRUSTED_KEY) or b"").decode().find(f":{service.pair.timeline()}") >= 0
