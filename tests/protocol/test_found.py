"""What the machine found: each as its shortest story."""

from collections.abc import Callable

import pytest

from app.feed import service, timeline, truth, watch
from app.feed.timeline import PUSH
from app.posts import service as posts
from app.redis import client
from tests.protocol.machine import ALL, Stage
from tests.protocol.runs import Run
from tests.world import World


@pytest.fixture
def world(stage: Stage) -> World:
    return World()


@pytest.fixture
def start(stage: Stage) -> Callable[..., Run]:
    return lambda work: Run(stage.app, work)


def test_a_follow_between_deliver_s_check_and_its_removal_keeps_the_post(world, stage, start):
    reader, author = stage.users[:2]
    older = world.posts(author, 1)
    world.follow(reader, author)
    service.rebuild(reader)
    posts.unfollow(reader, author)
    post = world.post(author)
    delivery = start(lambda: service.deliver(PUSH, post, author, [reader]))
    delivery.advance(4)  # taken; begun; pushed; checked: a stranger
    posts.follow(reader, author)
    service.reconcile(reader)

    delivery.advance(ALL)

    assert world.feed(reader) == [post, *older, 0]


def test_a_list_lost_during_a_rebuild_takes_nothing_with_it(world, stage):
    reader, author = stage.users[:2]
    world.posts(author, 1)
    world.follow(reader, author)
    service.rebuild(reader)
    lease = timeline.begin(reader)
    read = truth.contents(reader, 4)[0]
    post = world.post(author)
    service.deliver(PUSH, post, author, [reader])
    client().delete(timeline.feed_key(reader))

    assert not timeline.commit(reader, lease, read)


def test_a_rebuild_begun_before_redis_went_back_cannot_outlive_the_watch(world, stage, start):
    reader, author = stage.users[:2]
    world.follow(reader, author)
    lease = timeline.begin(reader)
    read = truth.contents(reader, 4)[0]
    saved = client().dump(timeline.feed_key(reader) + ":lease")
    post = world.post(author)
    service.deliver(PUSH, post, author, [reader])
    client().restore(timeline.feed_key(reader) + ":lease", 60_000, saved)
    check = start(lambda: list(watch.forget_everything(client())))
    check.advance(3)  # taken; begun; the first keys are known, and not dropped yet
    timeline.commit(reader, lease, read)

    check.advance(ALL)

    assert world.feed(reader) == []
