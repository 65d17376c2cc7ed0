"""The actors on real brokers: queues, retries, dead letters."""

import dramatiq
import pika
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from flask import g

from app.feed.cache import timeline
from app.feed.deliver import fanout_plan
from app.feed.maintenance import warm
from app.feed.rebuild import rebuild
from app.posts import service as posts
from tests.factories import Factory, eventually

rabbitmq_only = pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)


@pytest.fixture
def world(actors):
    return Factory()


def counts(actor) -> tuple[int, int, int]:
    """Messages waiting, delayed and dead on an actor's queue."""
    return dramatiq.get_broker().get_queue_message_counts(actor.queue_name)


@rabbitmq_only
@pytest.mark.parametrize("followers", [1, 7])
def test_a_fan_out_batch_of_one_puts_one_message_per_follower_on_the_queue(make_actors, followers):
    actors, world = make_actors(feed_fanout_batch=1), Factory()
    author, *readers = world.people(1 + followers)
    for reader in readers:
        world.follow(reader, author)

    actors.fan_out(timeline.PUSH, 1, author, fanout_plan(author))

    assert counts(actors.deliver)[0] == len(readers)


@rabbitmq_only
def test_a_large_fan_out_goes_to_the_bulk_queue(make_actors):
    actors, world = make_actors(feed_bulk_followers=2), Factory()
    author, *readers = world.people(4)
    for reader in readers:
        world.follow(reader, author)

    actors.fan_out(timeline.PUSH, 1, author, fanout_plan(author))

    assert (counts(actors.deliver)[0], counts(actors.deliver_bulk)[0]) == (0, 1)


@rabbitmq_only
def test_queues_are_durable_and_messages_persistent(actors):
    broker = dramatiq.get_broker()
    assert isinstance(broker, RabbitmqBroker)

    actors.follows_changed.send(1)

    _, properties, _ = broker.channel.basic_get(actors.follows_changed.queue_name)
    assert properties.delivery_mode == pika.DeliveryMode.Persistent.value
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="durable"):
        broker.connection.channel().queue_declare(actors.follows_changed.queue_name, durable=False)


@rabbitmq_only
def test_a_message_that_cannot_be_parsed_is_dead_and_blocks_nobody(world, actors, make_worker):
    reader = world.person()
    actors.follows_changed.send(reader)
    broker = dramatiq.get_broker()
    broker.channel.basic_publish("", actors.follows_changed.queue_name, b"\xff not a message")
    actors.follows_changed.send(reader)

    make_worker()

    eventually(lambda: counts(actors.follows_changed) == (0, 0, 1), "one dead letter, nothing waiting")
    eventually(lambda: world.feed(reader) == [0], "the others were handled")


def test_a_message_that_fails_for_good_leaves_its_feeds_cold(world, actors, make_worker):
    reader = world.person()
    rebuild(reader)
    assert world.feed(reader) == [0]
    make_worker()

    actors.deliver.send_with_options(args=(timeline.PUSH, 5, "not an id", [reader]), max_retries=0)

    eventually(lambda: world.feed(reader) == [], "the feed is cold")


def test_events_reach_every_feed(world, make_worker):
    author, *readers = world.people(5)
    for reader in readers:
        world.follow(reader, author)
    make_worker()
    eventually(lambda: all(world.feed(reader) == [0] for reader in readers), "all have followed")

    first, second = world.post(author), world.post(author)
    eventually(lambda: all(world.feed(reader) == [second, first, 0] for reader in readers), "all have both")

    posts.delete(first, author)
    posts.unfollow(readers[0], author)
    eventually(
        lambda: [world.feed(reader) for reader in readers] == [[0]] + [[second, 0]] * 3,
        "one has left, one post is gone",
    )


def test_warming_reaches_all_who_follow_somebody(world, make_worker):
    author, *readers = world.people(4)
    for reader in readers:
        world.follow(reader, author)
    world.posts(author, 3)
    world.events()

    warm.request("run")
    make_worker()

    eventually(lambda: warm.progress("run") == (3, 3), "all are warm")
    assert [world.feed(reader) for reader in readers] == [[*world.truth(reader), 0] for reader in readers]


@rabbitmq_only
def test_a_failed_message_is_not_lost_when_it_cannot_be_put_back(proxied_rabbitmq, make_actors, make_worker, caplog):
    proxy, url = proxied_rabbitmq
    actors, world = make_actors(broker_url=url), Factory()
    reader = world.person()
    make_worker()
    actors.follows_changed.send(reader)
    eventually(lambda: world.feed(reader) == [0], "the worker consumes")

    proxy.refuse_new()
    actors.deliver.send_with_options(args=(timeline.PUSH, 5, "not an id", [reader]), max_retries=1)
    eventually(lambda: "cannot retry message" in caplog.text, "the retry could not be enqueued")
    proxy.restore()

    eventually(lambda: counts(actors.deliver)[2] == 1, "it was tried again, and is dead now")


@rabbitmq_only
def test_waiting_to_put_a_message_back_has_no_time_limit(proxied_rabbitmq, make_actors, make_worker, caplog):
    proxy, url = proxied_rabbitmq
    actors, world = make_actors(broker_url=url), Factory()
    reader = world.person()
    dramatiq.get_broker().emit_after("process_boot")  # time limits count from here
    make_worker()
    actors.follows_changed.send(reader)
    eventually(lambda: world.feed(reader) == [0], "the worker consumes")

    proxy.refuse_new()
    actors.deliver.send_with_options(args=(timeline.PUSH, 5, "not an id", [reader]), max_retries=1, time_limit=1000)
    eventually(lambda: caplog.text.count("cannot retry message") > 3, "it waited for longer than its limit")
    proxy.restore()

    eventually(lambda: counts(actors.deliver)[2] == 1, "it was tried again, and is dead now")


@rabbitmq_only
@pytest.mark.parametrize(("followers", "messages"), [(0, 0), (1, 0), (2, 0), (3, 2)])
def test_followers_of_one_batch_need_no_message(make_actors, followers, messages):
    actors, world = make_actors(feed_fanout_batch=2), Factory()
    author, *readers = world.people(1 + followers)
    for reader in readers:
        world.follow(reader, author)
        rebuild(reader)
    post = world.post(author)

    actors.fan_out(timeline.PUSH, post, author, fanout_plan(author))

    assert counts(actors.deliver)[0] == messages
    assert all(world.feed(reader) == ([0] if messages else [post, 0]) for reader in readers)
    assert ("delivered" in g) == (followers > 0 and not messages)


@rabbitmq_only
def test_followers_of_one_batch_lose_a_deleted_post_without_a_message(actors, world):
    author, reader = world.people(2)
    world.follow(reader, author)
    post = world.post(author)
    rebuild(reader)

    actors.fan_out(timeline.REMOVE, post, author, fanout_plan(author))

    assert counts(actors.deliver)[0] == 0
    assert world.feed(reader) == [0]
