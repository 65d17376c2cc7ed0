"""Owed checks: a write to feeds leaves a note, and a sweep makes the check if its worker did not."""

import pytest

from app.feed import deliver as module
from app.feed.cache import owed_checks
from app.feed.cache.timeline import PUSH
from app.feed.deliver import deliver, sweep
from app.posts import service as posts
from app.redis.client import client


@pytest.fixture
def overdue_at_once(monkeypatch):
    monkeypatch.setattr(owed_checks, "OVERDUE_MS", 0)


def test_a_delivery_leaves_no_note(world, pair):
    reader, author = pair
    stranger = world.person()

    deliver(PUSH, world.post(author), author, [reader, stranger])

    assert owed_checks.count() == 0


def test_a_delivery_that_dies_before_its_check_owes_it(world, pair, monkeypatch, overdue_at_once):
    reader, author = pair
    post = world.post(author)
    posts.unfollow(reader, author)
    monkeypatch.setattr(module, "remove_from_non_followers", _die)
    with pytest.raises(Died):
        deliver(PUSH, post, author, [reader])
    monkeypatch.undo()
    monkeypatch.setattr(owed_checks, "OVERDUE_MS", 0)
    before = world.feed(reader)

    swept = sweep()

    assert (before, swept) == ([post, 0], 1)
    assert (world.feed(reader), owed_checks.count()) == ([0], 0)


def test_a_removal_that_takes_effect_after_a_follow_has_the_feed_rebuilt(world, pair, overdue_at_once):
    reader, author = pair
    post = world.post(author)
    owed_checks.remove([reader], post, author)
    world.events()

    swept = sweep()

    assert swept == 1
    assert ("follows_changed", {"follower_id": reader}) in world.events()


def test_a_check_is_not_overdue_at_once(world, pair):
    reader, author = pair
    owed_checks.push([reader], world.post(author), author)

    assert (sweep(), owed_checks.count()) == (0, 1)


def test_a_repeated_push_leaves_one_note_and_settles_its_own_only(world, pair, overdue_at_once):
    reader, author = pair
    post = world.post(author)
    first, _ = owed_checks.push([reader], post, author)
    owed_checks.push([reader], post, author)

    owed_checks.settle(first)

    assert owed_checks.count() == 1
    assert [check.user_ids for check in owed_checks.overdue()] == [[reader]]


def test_a_note_never_expires(world, pair):
    reader, author = pair
    owed_checks.push([reader], world.post(author), author)

    keys = list(client().scan_iter("owed:*"))

    assert len(keys) == 2
    assert [client().ttl(key) for key in keys] == [-1, -1]


def test_one_process_sweeps_at_a_time(app):
    assert [owed_checks.lock_sweep(60), owed_checks.lock_sweep(60)] == [True, False]


class Died(Exception):
    """Stands for the death of the process."""


def _die(*_):
    raise Died
