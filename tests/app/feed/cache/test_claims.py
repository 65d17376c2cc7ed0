"""Claims: of many messages about one feed one rebuilds it, after the last change that any of them tells of."""

import pytest

from app.feed import store
from app.feed.cache import claims, timeline
from app.feed.cache.claims import PAUSE_MS, UNPAUSED, claim
from app.feed.invalidate import invalidate_after_failure
from app.feed.maintenance import failover
from app.feed.maintenance.warm import warm
from app.feed.rebuild import CONTENDED, COVERED, DONE, POSTPONED, rebuild, rebuild_author, rebuild_for_message
from app.redis.client import client, primaries

READER = 7

pytestmark = pytest.mark.usefixtures("app")


def commit(lease, ids=()) -> bool:
    return timeline.HOME.commit(READER, lease, ids)


def test_a_message_that_nothing_is_in_the_way_of_begins_at_once():
    lease = claim(READER, "first")

    assert commit(lease)


def test_a_second_message_waits_for_the_rebuild_of_the_first_and_leaves_its_lease():
    lease = claim(READER, "first")

    assert claim(READER, "second") == PAUSE_MS

    assert commit(lease)
    assert isinstance(claim(READER, "second"), timeline.Lease)


def test_all_that_come_while_one_waits_have_nothing_to_do():
    lease = claim(READER, "first")
    claim(READER, "second")

    assert [claim(READER, f"another {number}") for number in range(5)] == [0] * 5

    assert commit(lease)
    assert isinstance(claim(READER, "second"), timeline.Lease)


def test_a_message_that_comes_after_the_rebuild_has_begun_is_not_covered_by_it():
    lease = claim(READER, "first")
    assert claim(READER, "second") != 0

    assert commit(lease)
    assert claim(READER, "third") == 0  # the second has not begun, and will


def test_a_message_delivered_again_takes_over_its_lease_and_its_earlier_run_cannot_commit():
    earlier = claim(READER, "first")

    again = claim(READER, "first")

    assert not commit(earlier)
    assert commit(again)


def test_a_message_delivered_again_that_is_covered_leaves_no_lease_behind():
    claim(READER, "first")
    claim(READER, "second")

    assert claim(READER, "first") == 0

    assert isinstance(claim(READER, "second"), timeline.Lease)


def test_the_lease_of_a_reader_is_taken():
    of_reader = timeline.HOME.acquire(READER, steal=False)

    lease = claim(READER, "first")

    assert not commit(of_reader)
    assert commit(lease)


def test_a_lost_claim_costs_no_more_than_a_rebuild():
    lease = claim(READER, "first")
    claim(READER, "second")
    client().delete(timeline.HOME.claim_key(READER))

    assert claim(READER, "third") == PAUSE_MS
    assert claim(READER, "second") == 0

    assert commit(lease)
    assert isinstance(claim(READER, "third"), timeline.Lease)


def test_a_message_that_was_given_up_takes_its_claim_with_it():
    claim(READER, "first")
    claim(READER, "second")

    invalidate_after_failure({"follower_id": READER})

    assert isinstance(claim(READER, "third"), timeline.Lease)


def test_a_redis_from_elsewhere_keeps_no_claim_and_drops_it_before_any_feed():
    claim(READER, "first")
    claim(READER, "second")
    client().rpush(timeline.HOME.key(READER), 5, 0)

    for server in primaries().values():
        for _ in failover.drop_all_feeds(server):
            assert client().exists(timeline.HOME.claim_key(READER)) <= client().exists(timeline.HOME.key(READER))

    assert isinstance(claim(READER, "third"), timeline.Lease)


def test_a_claim_shares_the_slot_of_its_feed_and_expires():
    claim(READER, "first")

    assert timeline.HOME.claim_key(1024 + READER) == "claim:{7}:1031"
    assert 0 < client().pttl(timeline.HOME.claim_key(READER)) <= claims.CLAIM_MS


@pytest.fixture
def minute(monkeypatch):
    """Make the first pause a minute, far longer than a test takes. Returns its ms."""
    minute = 60_000
    monkeypatch.setattr(claims, "PAUSE_MS", minute)
    monkeypatch.setattr(claims, "MAX_PAUSE_MS", 5 * minute)
    return minute


def test_the_first_rebuilds_follow_each_other_at_once_and_the_next_ones_after_longer_pauses(minute):
    pauses = []
    for number in range(UNPAUSED + 5):
        found = claim(READER, str(number))
        if isinstance(found, int):
            pauses.append(round(found / minute))
            client().hdel(timeline.HOME.claim_key(READER), "next")  # it has passed
            found = claim(READER, str(number))
        assert commit(found)

    assert pauses == [1, 2, 4, 5, 5]


def test_a_clock_that_is_set_back_delays_no_rebuild(minute):
    for number in range(UNPAUSED):
        assert commit(claim(READER, str(number)))
    assert isinstance(claim(READER, "later"), int)
    client().hincrby(timeline.HOME.claim_key(READER), "next", 3_600_000)  # of a clock that was an hour ahead

    assert commit(claim(READER, "later"))


@pytest.mark.parametrize(
    "build", [lambda user_id: rebuild_for_message(user_id, "first"), rebuild, lambda user_id: warm("run", [user_id])]
)
def test_no_reader_or_other_message_waits_for_a_rebuild_that_failed(world, monkeypatch, build):
    reader = world.person()
    with monkeypatch.context() as failing:
        failing.setattr(store, "select_feed", lambda *_: 1 / 0)
        failing.setattr(store, "select_feeds", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(reader)

    assert rebuild(reader, steal=False)
    assert rebuild_for_message(reader, "second") == (DONE, 0)


def test_no_reader_waits_for_the_failed_rebuild_of_an_author(monkeypatch):
    with monkeypatch.context() as failing:
        failing.setattr(store, "select_newest_ids_by", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rebuild_author(READER)

    assert rebuild_author(READER, steal=False)


def test_a_rebuild_for_a_message_makes_what_sql_says(world):
    reader, author = world.people(2)
    world.follow(reader, author)
    older = world.posts(author, 2)

    assert rebuild_for_message(reader, "first") == (DONE, 0)

    assert world.feed(reader) == [*reversed(older), 0]


def test_what_comes_while_sql_is_read_is_in_the_rebuild_after_it(world, monkeypatch):
    reader, author = world.people(2)
    select, outcomes = store.select_feed, []

    def read_and_follow(user_id, *arguments):
        contents = select(user_id, *arguments)
        monkeypatch.setattr(store, "select_feed", select)
        world.follow(reader, author)
        outcomes.extend(rebuild_for_message(reader, name)[0] for name in ("second", "third"))
        return contents

    monkeypatch.setattr(store, "select_feed", read_and_follow)
    posts = world.posts(author, 2)

    assert rebuild_for_message(reader, "first") == (DONE, 0)

    assert outcomes == [POSTPONED, COVERED]
    assert world.feed(reader) == [0]
    assert rebuild_for_message(reader, "second") == (DONE, 0)
    assert world.feed(reader) == [*reversed(posts), 0]


def test_a_rebuild_whose_lease_was_taken_comes_again(world, monkeypatch):
    reader = world.person()
    select = store.select_feed

    def read_while_a_command_rebuilds(user_id, *arguments):
        monkeypatch.setattr(store, "select_feed", select)
        rebuild(reader)
        return select(user_id, *arguments)

    monkeypatch.setattr(store, "select_feed", read_while_a_command_rebuilds)

    assert rebuild_for_message(reader, "first") == (CONTENDED, PAUSE_MS)
    assert rebuild_for_message(reader, "first") == (DONE, 0)
