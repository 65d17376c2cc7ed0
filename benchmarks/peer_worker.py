"""The worker of the plain alternative, loaded by `dramatiq benchmarks.peer_worker`.

A message for each follower, which rebuilds the feed from SQL.
"""

import dramatiq
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from sqlalchemy import create_engine, make_url

from app.settings import Settings
from benchmarks import alternatives
from benchmarks.completion import Finished

settings = Settings.from_env()
engine = create_engine(make_url(settings.posts_database_url).set(drivername="postgresql+psycopg2"))
client = redis.Redis.from_url(settings.redis_url)
broker = RabbitmqBroker(url=settings.broker_url)
broker.add_middleware(Finished(client))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=f"{settings.broker_namespace}.peer")
def rebuild(user_id: int) -> None:
    alternatives.rebuild(engine, client, user_id, settings.feed_cap)
