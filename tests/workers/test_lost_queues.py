"""RabbitMQ loses queues with messages that it has confirmed: every feed is exact again, without any help."""

import gc
import warnings

import dramatiq
import pytest
import redis
from dramatiq.common import dq_name, xq_name
from dramatiq.errors import ConnectionClosed
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from app.feed.cache import post_bodies
from app.feed.maintenance import trust
from app.feed.rebuild import rebuild
from app.posts import service as posts
from app.redis.client import client
from tests.factories import Factory, eventually
from workers.broker import QUEUES, queue
from workers.relay import relay_batch

pytestmark = pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)


@pytest.fixture(autouse=True)
def _collect_connections():
    """Dramatiq leaves the connection of a consumer whose queue is gone to the garbage collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def world(actors):
    return Factory()


@pytest.fixture
def pair(world):
    """Create a reader of two posts and their author, all cached."""
    reader, author = world.people(2)
    world.follow(reader, author)
    post_bodies.refresh(world.posts(author, 2))
    world.events()
    rebuild(reader)
    return reader, author


def start(make_worker):
    """Start a worker and wait until it has declared all queues, so consumes from them."""
    worker, broker = make_worker(), dramatiq.get_broker()

    def is_consumed(name):
        return broker._exists(name) and broker.channel.queue_declare(name, passive=True).method.consumer_count

    names = [full_name for name in map(queue, QUEUES) for full_name in (name, dq_name(name))]
    eventually(lambda: all(map(is_consumed, names)), "the worker consumes from all queues")
    return worker


def lose(*names: str) -> None:
    broker = dramatiq.get_broker()
    for name in map(queue, names):
        for each in (name, dq_name(name), xq_name(name)):
            broker.channel.queue_delete(each)


def write(author: int, reader: int) -> list[int]:
    """Write, delete, edit and follow; RabbitMQ confirms all messages. Returns the posts of the feed."""
    world, (deleted, edited) = Factory(), Factory().truth(reader)
    world.post(author)
    posts.delete(deleted, author)
    posts.edit(edited, author, "edited")
    followed = world.person()
    world.posts(followed, 1)
    world.follow(reader, followed)
    while relay_batch(dramatiq.get_broker()):
        pass
    assert world.feed(reader) != [*world.truth(reader), 0]
    return world.truth(reader)


def test_workers_that_start_find_that_their_queues_are_lost(make_actors, world, pair, make_worker):
    reader, author = pair
    truth = write(author, reader)
    lose(*QUEUES)

    make_actors()  # of another process
    make_worker()

    eventually(lambda: world.feed(reader) == [*truth, 0], "the feed is built again")
    eventually(lambda: b"edited" in (world.body(truth[-1]) or b"edited"), "the old body is gone")


def test_a_queue_that_goes_while_workers_run_is_noticed(world, pair, make_worker):
    reader, author = pair
    worker = start(make_worker)
    worker.pause()
    truth = write(author, reader)
    lose("feed", "rebuild")
    worker.resume()

    truth = [world.post(author), *truth]

    eventually(lambda: world.feed(reader) == [*truth, 0], "the feed is built again, and posts arrive", 60)


def test_queues_that_are_declared_for_the_first_time_cost_nothing(world, pair, make_worker, caplog):
    reader, author = pair
    make_worker()

    post = world.post(author)

    eventually(lambda: world.feed(reader)[:1] == [post], "posts arrive")
    assert "has lost" not in caplog.text


def test_a_running_worker_finds_that_its_queue_is_lost(world, pair, make_worker, caplog):
    start(make_worker)

    lose("rebuild")

    eventually(lambda: dramatiq.get_broker()._exists(queue("rebuild")), "the queue is there again")
    assert f"has lost the queue {queue('rebuild')}" in caplog.text


def test_a_queue_is_found_to_be_lost_also_if_redis_has_forgotten_it(world, pair, actors, make_actors):
    broker = dramatiq.get_broker()
    broker.declare_queue(queue("feed"), ensure=True)
    client().delete(f"queues:{broker.lenta_namespace}")
    broker.remember_queues()
    lose("feed")
    before = client().get(trust.TRUSTED_KEY)

    make_actors()  # of another process
    dramatiq.get_broker()._declare_queue(queue("feed"))

    assert client().get(trust.TRUSTED_KEY) != before


def test_a_queue_whose_node_is_down_is_not_lost(world, pair, monkeypatch):
    broker = dramatiq.get_broker()
    text = f"NOT_FOUND - home node 'b@c' of durable queue '{queue('feed')}' in vhost '/' is down or inaccessible"

    def refuse(*_: object, **__: object) -> None:
        raise ChannelClosedByBroker(404, text)

    monkeypatch.setattr(BlockingChannel, "queue_declare", refuse)

    with pytest.raises(ChannelClosedByBroker):
        broker._exists(queue("feed"))


def test_a_queue_that_another_process_declares_at_that_moment_is_not_lost(world, pair, monkeypatch):
    broker = dramatiq.get_broker()
    exists = type(broker)._exists

    def ask_and_see_another_declare(self, name):
        monkeypatch.undo()
        found = exists(self, name)
        broker.declare_queue(queue("feed"), ensure=True)
        return found

    monkeypatch.setattr(type(broker), "_exists", ask_and_see_another_declare)
    before = client().get(trust.TRUSTED_KEY)

    broker._declare_queue(queue("feed"))

    assert client().get(trust.TRUSTED_KEY) == before


def test_a_missing_queue_is_not_declared_while_redis_is_away(world, pair, monkeypatch):
    broker = dramatiq.get_broker()
    broker.declare_queue(queue("feed"), ensure=True)
    lose("feed")
    broker._declared.clear()  # as in another process
    monkeypatch.setattr(client(), "sismember", _refuse)

    with pytest.raises(ConnectionClosed):
        broker._declare_queue(queue("feed"))

    assert not broker._exists(queue("feed"))


def _refuse(*_: object) -> None:
    raise redis.ConnectionError
