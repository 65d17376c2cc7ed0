"""Regressions found by the state machine, each in its shortest form."""

import sys
from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from app.feed import store
from app.feed.cache import post_bodies, timeline
from app.feed.cache.timeline import PUSH
from app.feed.deliver import deliver, sweep
from app.feed.live import log
from app.feed.maintenance import failover
from app.feed.read import read_page
from app.feed.rebuild import COVERED, DONE, rebuild, rebuild_for_message
from app.posts import service as posts
from app.redis.client import client
from tests.factories import Factory
from tests.tools.protocol.machine import ALL, Stage
from tests.tools.protocol.runs import Run


@pytest.fixture
def world(stage: Stage) -> Factory:
    return Factory()


@pytest.fixture
def start(stage: Stage) -> Callable[..., Run]:
    return lambda work: Run(stage.app, work)


def test_a_follow_between_deliver_s_check_and_its_removal_keeps_the_post(world, stage, start):
    reader, author = stage.users[:2]
    older = world.posts(author, 1)
    world.follow(reader, author)
    rebuild(reader)
    posts.unfollow(reader, author)
    post = world.post(author)
    delivery = start(lambda: deliver(PUSH, post, author, [reader]))
    delivery.advance(4)  # taken; begun; pushed; checked: a stranger
    posts.follow(reader, author)
    rebuild(reader)
    world.events()

    delivery.advance(ALL)

    assert world.feed(reader) == [*older, 0]
    assert world.events() == [("follows_changed", {"follower_id": reader})]
    rebuild(reader)
    assert world.feed(reader) == [post, *older, 0]


def test_a_list_lost_during_a_rebuild_takes_nothing_with_it(world, stage):
    reader, author = stage.users[:2]
    world.posts(author, 1)
    world.follow(reader, author)
    rebuild(reader)
    lease = timeline.HOME.acquire(reader)
    read = store.select_feed(reader, 4)[0]
    post = world.post(author)
    deliver(PUSH, post, author, [reader])
    client().delete(timeline.HOME.key(reader))

    assert not timeline.HOME.commit(reader, lease, read)


def test_a_rebuild_begun_before_redis_went_back_cannot_outlive_the_watch(world, stage, start):
    reader, author = stage.users[:2]
    world.follow(reader, author)
    lease = timeline.HOME.acquire(reader)
    read = store.select_feed(reader, 4)[0]
    saved = client().dump(timeline.HOME.key(reader) + ":lease")
    post = world.post(author)
    deliver(PUSH, post, author, [reader])
    client().restore(timeline.HOME.key(reader) + ":lease", 60_000, saved)
    check = start(lambda: list(failover.drop_all_feeds(client())))
    check.advance(3)  # taken; begun; the first keys are known, and not dropped yet
    timeline.HOME.commit(reader, lease, read)

    check.advance(ALL)

    assert world.feed(reader) == []


def test_an_old_body_cannot_be_put_after_its_edit_was_handled_and_evicted(world, stage, start):
    reader, author = stage.users[:2]
    world.follow(reader, author)
    post = world.post(author, "old")
    rebuild(reader)
    page = start(lambda: read_page(reader, 0, 1))
    page.advance(5)  # taken; begun; the list read; leased; the old text read
    posts.edit(post, author, "new")
    post_bodies.refresh([post])
    client().delete(f"post:{post}")
    page.advance(1)  # put
    page.die()

    [body] = read_page(reader, 0, 1).posts

    assert b'"new"' in body


def test_a_push_that_takes_effect_after_its_message_was_handled_is_checked(world, stage, start):
    reader, author = stage.users[:2]
    world.follow(reader, author)
    rebuild(reader)
    post = world.post(author)
    frozen = start(lambda: deliver(PUSH, post, author, [reader]))
    frozen.advance(2)  # taken; begun
    deliver(PUSH, post, author, [reader])  # by another worker, which acknowledges the message
    posts.unfollow(reader, author)
    rebuild(reader)
    frozen.advance(1)  # pushed
    frozen.die()

    sweep()

    assert world.feed(reader) == [0]


@pytest.mark.parametrize("trips", range(4, 8))
def test_a_worker_that_dies_in_a_small_fan_out_leaves_the_post_with_no_former_follower(world, stage, start, trips):
    reader, author = stage.users[:2]
    world.follow(reader, author)
    rebuild(reader)
    post = world.post(author)
    handler = start(lambda: sys.modules["workers.actors"].post_created(post, author))
    handler.advance(3)  # taken; begun; planned
    posts.unfollow(reader, author)
    rebuild(reader)
    handler.advance(trips - 3)  # pushed; checked; removed; told
    handler.die()
    sys.modules["workers.actors"].post_created(post, author)  # its message is delivered again

    sweep()

    assert world.feed(reader) == [0]


def test_a_removal_that_takes_effect_after_its_message_was_handled_is_checked(world, stage, start):
    reader, author = stage.users[:2]
    post = world.post(author)
    rebuild(reader)
    frozen = start(lambda: deliver(PUSH, post, author, [reader]))
    frozen.advance(4)  # taken; begun; pushed; checked: no follower
    deliver(PUSH, post, author, [reader])
    world.follow(reader, author)
    rebuild(reader)
    frozen.advance(1)  # removed
    frozen.die()
    before = world.feed(reader)
    world.events()

    sweep()

    assert before == [0]
    assert ("follows_changed", {"follower_id": reader}) in world.events()


def test_a_claim_that_takes_effect_after_its_message_was_handled_covers_no_change_for_good(world, stage, start):
    reader, author = stage.users[:2]
    [post] = world.posts(author, 1)
    rebuild(reader)
    frozen = start(lambda: rebuild_for_message(reader, "frozen"))
    frozen.advance(2)  # taken; begun
    rebuild_for_message(reader, "frozen")  # by another worker, which acknowledges the message
    running = start(lambda: rebuild_for_message(reader, "running"))
    running.advance(5)  # taken; begun; claimed; read
    frozen.advance(1)  # claimed, to come again after the other
    frozen.die()
    world.follow(reader, author)
    covered = rebuild_for_message(reader, "late")
    running.advance(ALL)
    before = world.feed(reader)
    world.events()

    sweep()

    assert (covered, before) == ((COVERED, 0), [0])
    assert ("follows_changed", {"follower_id": reader}) in world.events()
    assert rebuild_for_message(reader, "swept") == (DONE, 0)
    assert world.feed(reader) == [post, 0]


def test_a_rebuild_that_dies_after_its_commit_owes_its_event_or_has_made_it(world, stage, start):
    reader = stage.users[0]
    client().set(log.LISTENING_KEY, "a process")
    dying = start(lambda: rebuild_for_message(reader, "dying"))
    dying.advance(5)  # taken; begun; claimed; read; asked who is gone
    while not world.feed(reader):
        dying.advance(1)
    dying.advance(1)  # of the event and the note, one
    dying.die()
    world.events()

    sweep()

    assert ("follows_changed", {"follower_id": reader}) in world.events()


def test_a_rebuild_that_fails_is_left_to_its_message(world, stage, monkeypatch):
    reader = stage.users[0]
    monkeypatch.setattr(store, "select_feed", _fail)
    with pytest.raises(OperationalError):
        rebuild_for_message(reader, "failing")
    world.events()

    sweep()

    assert world.events() == []


def test_a_rebuild_that_takes_long_is_not_asked_for_again(world, stage, start):
    reader = stage.users[0]
    slow = start(lambda: rebuild_for_message(reader, "slow"))
    slow.advance(3)  # taken; begun; claimed
    world.events()

    sweep()
    while_it_runs = world.events()
    slow.die()
    client().delete(timeline.HOME.lease_key(reader))  # as after its time
    sweep()

    assert while_it_runs == []
    assert world.events() == [("follows_changed", {"follower_id": reader})]


def _fail(*_, **__):
    raise OperationalError("SELECT", {}, Exception("statement timeout"))
