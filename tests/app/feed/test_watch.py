"""A Redis that went back in time is noticed, and nothing in it is trusted."""

import pytest

from app.feed import bodies, service, timeline, warming, watch
from app.redis import client, identity


@pytest.fixture
def reader(world):
    """A reader whose feed is built, on a Redis that is known."""
    reader, author = world.people(2)
    world.follow(reader, author)
    watch.check()
    client().delete(f"warm:asked:{identity()}")
    world.events()
    service.rebuild(reader)
    bodies.put([(1, bodies.versioned(1, b"{}"))])
    return reader


def test_a_redis_that_is_the_same_is_left_alone(world, reader):
    assert not watch.check()

    assert world.feed(reader) == [0]
    assert world.events() == []


@pytest.mark.parametrize("mark", ["the run id of another server", None])
def test_a_redis_from_elsewhere_is_emptied_and_warming_asked_for(world, reader, mark):
    lease = timeline.begin(reader)
    if mark:
        client().set(watch.MARK_KEY, mark)
    else:
        client().delete(watch.MARK_KEY)

    assert watch.check()

    assert world.feed(reader) == []
    assert world.body(1) is None
    assert not timeline.commit(reader, lease, [])
    assert [event for event, _ in world.events()] == ["warm_requested"]
    assert not watch.check()


def test_one_takes_care_and_the_others_wait(world, reader):
    client().delete(watch.MARK_KEY)
    client().set(f"server:lock:{identity()}", 1)

    assert not watch.check()

    assert world.feed(reader) == [0]


def test_feeds_that_were_warmed_before_the_check_dropped_them_are_warmed_again(world, reader):
    client().delete(watch.MARK_KEY)
    assert warming.request_once("before")

    assert watch.check()

    assert [event for event, _ in world.events()] == ["warm_requested"] * 2


def test_start_asks_for_warming_once_and_only_if_there_is_no_feed(world, reader):
    assert not watch.warm_if_empty()

    timeline.make_cold([reader])

    assert watch.warm_if_empty()
    assert not watch.warm_if_empty()
    assert [event for event, _ in world.events()] == ["warm_requested"]


def test_start_on_a_new_redis_leaves_nothing_for_the_watch_to_drop(world, reader):
    client().flushdb()

    assert watch.warm_if_empty()

    assert not watch.check()
    assert not watch.warm_if_empty()
    assert [event for event, _ in world.events()] == ["warm_requested"]


def test_start_while_a_check_is_under_way_leaves_it_to_the_check(world, reader):
    client().flushdb()
    client().set(f"server:lock:{identity()}", 1)

    assert not watch.warm_if_empty()

    assert world.events() == []


def test_a_check_that_died_half_way_is_made_again(world, reader, monkeypatch):
    client().delete(watch.MARK_KEY)
    monkeypatch.setattr(warming, "request_once", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        watch.check()
    monkeypatch.undo()

    assert watch.check()

    assert [event for event, _ in world.events()] == ["warm_requested"]


def test_feeds_that_are_distrusted_are_dropped_at_the_next_look(app, runner, world):
    reader, author = world.people(2)
    world.follow(reader, author)
    watch.check()
    service.rebuild(reader)

    result = runner.invoke(args=["distrust-feeds"])
    found = watch.check()

    assert result.exit_code == 0
    assert found
    assert timeline.ids_of([reader]) == [[]]
