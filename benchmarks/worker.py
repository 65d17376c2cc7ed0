"""The service's worker plus completion reports and an empty actor, for `dramatiq benchmarks.worker`."""

import dramatiq
import redis

from benchmarks.completion import Finished
from workers.broker import queue
from workers.main import broker, settings

client = redis.Redis.from_url(settings.redis_url)
broker.add_middleware(Finished(client))


@dramatiq.actor(queue_name=queue("echo"))
def echo(key: str) -> None:
    """Does nothing, and shows in Redis that it was here."""
    client.set(key, b"")
