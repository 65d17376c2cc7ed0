"""Messages are counted by outcome, and writes timed until they are in the feeds."""

from time import time

import pytest

from app.feed.cache import timeline
from app.feed.rebuild import rebuild
from app.observability import metrics
from app.posts import service as posts
from tests.factories import Factory, eventually
from workers.middleware import WRITTEN_AT


@pytest.fixture
def world(actors):
    return Factory()


def value(sample, **labels):
    return metrics.REGISTRY.get_sample_value(sample, labels) or 0.0


@pytest.fixture
def moved():
    """Return the change of samples since the first call or the start of the test."""
    before = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
    }
    return lambda sample, **labels: value(sample, **labels) - before.get((sample, tuple(sorted(labels.items()))), 0.0)


def test_the_lag_of_a_post_is_observed_when_its_followers_have_it(world, make_worker, moved):
    reader, author = world.people(2)
    world.follow(reader, author)
    world.events()
    rebuild(reader)

    post = world.post(author)
    make_worker()

    eventually(lambda: moved("lenta_delivery_lag_seconds_count") == 1, "the lag is observed")
    assert 0 < moved("lenta_delivery_lag_seconds_sum") < 30
    assert moved("lenta_deliveries_total", op="push") == 1
    eventually(lambda: world.feed(reader) == [post, 0], "the follower has it")


def test_so_is_that_of_a_follow_an_unfollow_and_a_deletion(world, make_worker, moved):
    reader, author = world.people(2)
    world.follow(reader, author)
    make_worker()

    eventually(lambda: moved("lenta_delivery_lag_seconds_count") == 1, "the follow is observed")
    post = world.post(author)
    eventually(lambda: moved("lenta_delivery_lag_seconds_count") == 2, "the post is observed")
    posts.delete(post, author)
    eventually(lambda: moved("lenta_delivery_lag_seconds_count") == 3, "the deletion is observed")
    posts.unfollow(reader, author)
    eventually(lambda: moved("lenta_delivery_lag_seconds_count") == 4, "the unfollow is observed")


def test_the_lag_counts_from_the_write_and_includes_the_outbox(world, actors, make_worker, moved):
    (reader,) = world.people(1)
    make_worker()

    actors.follows_changed.send_with_options(args=(reader,), **{WRITTEN_AT: time() - 50})

    eventually(lambda: moved("lenta_delivery_lag_seconds_count") == 1, "the lag is observed")
    assert 50 < moved("lenta_delivery_lag_seconds_sum") < 80
    assert moved("lenta_delivery_lag_seconds_bucket", le="30.0") == 0


def test_a_message_that_tells_no_time_has_no_lag(world, actors, make_worker, moved):
    """One of an earlier version."""
    (reader,) = world.people(1)
    make_worker()

    actors.follows_changed.send(reader)

    eventually(lambda: world.feed(reader) == [0], "it is carried out")
    eventually(lambda: moved("lenta_messages_total", actor="follows_changed", result="done") == 1, "it is counted")
    assert moved("lenta_delivery_lag_seconds_count") == 0


def test_messages_count_by_what_became_of_them(world, actors, make_worker, moved):
    make_worker()

    arguments = (timeline.PUSH, 5, "not an id", [world.person()])
    actors.deliver.send_with_options(args=arguments, max_retries=2, **{WRITTEN_AT: time()})

    eventually(lambda: moved("lenta_messages_total", actor="deliver", result="given_up") == 1, "it is given up")
    eventually(lambda: moved("lenta_message_seconds_count", actor="deliver") == 3, "each try is timed, once counted")
    assert moved("lenta_messages_total", actor="deliver", result="retried") == 2
    assert moved("lenta_messages_total", actor="deliver", result="done") == 0
    assert moved("lenta_delivery_lag_seconds_count") == 0
    eventually(lambda: moved("lenta_messages_total", actor="give_up", result="done") == 1, "its feeds are cold")


def test_every_series_of_messages_is_there_from_the_start(actors):
    for actor in ("deliver", "give_up", "warm"):
        for result in ("done", "retried", "given_up"):
            assert (
                metrics.REGISTRY.get_sample_value("lenta_messages_total", {"actor": actor, "result": result})
                is not None
            )
