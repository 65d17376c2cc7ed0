"""Queue depths, as reported by both brokers."""

from time import monotonic

import dramatiq
import pytest

from app.feed.cache import timeline
from tests.factories import eventually
from workers.broker import QUEUES
from workers.errors import BROKER_UNAVAILABLE
from workers.queues import Depth, depths

EMPTY = dict.fromkeys(QUEUES, Depth(0, 0, 0))


def test_every_actor_is_on_one_of_the_queues(actors):
    broker = dramatiq.get_broker()

    assert broker.get_declared_queues() == {f"{broker.lenta_namespace}.{name}" for name in QUEUES}


def test_queues_that_were_never_declared_are_empty(actors):
    assert depths(dramatiq.get_broker()) == EMPTY


def test_what_waits_is_counted_by_queue(actors):
    actors.post_edited.send(1)
    actors.post_edited.send(2)
    actors.follows_changed.send(1)
    actors.warm.send("run", [1])
    actors.deliver_bulk.send_with_options(args=(timeline.PUSH, 1, 2, [3]), delay=600_000)

    found = depths(dramatiq.get_broker())

    assert found == {"feed": Depth(2, 0, 0), "rebuild": Depth(1, 0, 0), "bulk": Depth(0, 1, 0), "warm": Depth(1, 0, 0)}


def test_what_failed_for_good_is_dead(actors, make_worker):
    actors.deliver.send_with_options(args=(timeline.PUSH, 5, "not an id", [1]), max_retries=0)

    make_worker()

    eventually(lambda: depths(dramatiq.get_broker())["feed"] == Depth(0, 0, 1), "it is dead")


def test_a_broker_that_is_away_is_named_by_one_of_its_errors(make_actors, broker_url):
    away = f"{broker_url.split(':')[0]}://127.0.0.1:1/"
    make_actors(broker_url=away)

    with pytest.raises(BROKER_UNAVAILABLE):
        depths(dramatiq.get_broker())


def test_a_frozen_broker_is_given_up_soon(make_actors, broker_url, behind):
    proxy, url = behind(broker_url)
    make_actors(broker_url=url)
    proxy.freeze()
    started = monotonic()

    with pytest.raises(BROKER_UNAVAILABLE):
        depths(dramatiq.get_broker())

    assert monotonic() - started < 10
