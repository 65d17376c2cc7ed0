"""The scripts: valid lists, and the changes that drop a lease."""

from contextlib import suppress

import pytest
from flask import Flask

from app.feed import lua
from app.feed.cache import timeline
from app.redis.client import client

READER = 7
OLD, OLDER, OLDEST = 2_000_000_000_000_000_003, 2_000_000_000_000_000_002, 2_000_000_000_000_000_001
NEW = 2_000_000_000_000_000_009


@pytest.fixture
def make_feed(app: Flask):
    def make(*elements: int) -> None:
        client().rpush(timeline.HOME.key(READER), *elements)

    return make


@pytest.fixture
def small_cap(app, make_app):
    app = make_app(feed_cap=3)
    with app.app_context():
        yield app


def elements() -> list[int]:
    return [int(element) for element in timeline.ids_of([READER])[0]]


def raw() -> list[str]:
    return [element.decode() for element in client().lrange(timeline.HOME.key(READER), 0, -1)]


def leased() -> bool:
    return bool(client().exists(timeline.HOME.key(READER) + ":lease"))


def test_push_puts_a_newer_post_at_the_head(make_feed):
    make_feed(OLD, 0)

    pushed = timeline.HOME.push([READER], NEW)

    assert pushed == 1
    assert elements() == [NEW, OLD, 0]


def test_push_leaves_a_cold_feed_cold(app):
    pushed = timeline.HOME.push([READER], NEW)

    assert pushed == 0
    assert elements() == []


def test_push_to_a_cold_feed_drops_the_lease(app):
    timeline.HOME.acquire(READER)

    timeline.HOME.push([READER], NEW)

    assert not leased()


def test_push_to_the_head_keeps_the_lease(make_feed):
    make_feed(OLD)
    timeline.HOME.acquire(READER)

    timeline.HOME.push([READER], NEW)

    assert leased()


@pytest.mark.parametrize("feed", [(OLD, OLDEST, 0), (NEW, OLD, OLDEST)])
def test_push_repeated_changes_nothing(make_feed, feed):
    make_feed(*feed)

    pushed = timeline.HOME.push([READER], OLD)

    assert pushed == 0
    assert elements() == list(feed)


def test_push_out_of_order_goes_to_its_place_and_drops_the_lease(make_feed):
    make_feed(OLD, OLDEST)
    timeline.HOME.acquire(READER)

    timeline.HOME.push([READER], OLDER)

    assert elements() == [OLD, OLDER, OLDEST]
    assert not leased()


@pytest.mark.parametrize("mark", [[], [0]])
def test_push_finds_every_place_of_a_long_list(make_feed, mark):
    ids = list(range(1200, 1000, -2))  # where steps double and halve, a place may lie between any two
    for post_id in range(ids[0], ids[-1], -1):
        client().delete(timeline.HOME.key(READER))
        make_feed(*ids, *mark)

        pushed = timeline.HOME.push([READER], post_id)

        assert pushed == post_id % 2
        assert elements() == [*sorted({*ids, post_id}, reverse=True), *mark]


def test_push_older_than_an_incomplete_list_stays_out(make_feed):
    make_feed(OLD)

    timeline.HOME.push([READER], OLDEST)

    assert elements() == [OLD]


def test_push_older_than_a_complete_list_goes_before_the_mark(make_feed):
    make_feed(OLD, 0)

    timeline.HOME.push([READER], OLDEST)

    assert elements() == [OLD, OLDEST, 0]


def test_push_compares_ids_beyond_53_bits(make_feed):
    make_feed(2**62 + 1, 0)

    timeline.HOME.push([READER], 2**62 + 2)
    timeline.HOME.push([READER], 999)

    assert elements() == [2**62 + 2, 2**62 + 1, 999, 0]


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        ((30, 20, 10), [40, 30, 20]),
        ((30, 20, 0), [40, 30, 20, 0]),
        ((30, 20, 10, 0), [40, 30, 20]),
        ((30, 28, 26, 24, 22), [40, 30, 28]),
    ],
)
def test_push_past_the_cap_drops_the_last(small_cap, make_feed, feed, expected):
    make_feed(*feed)

    timeline.HOME.push([READER], 40)

    assert elements() == expected


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        (("0:7",), [40, "0:7"]),
        ((30, "0:7"), [40, 30, "0:7"]),
        ((30, 20, "0:7"), [40, 30, 20, "0:7"]),
        ((30, 20, 10, "0:7,8"), [40, 30, 20, "0+:7,8"]),
        ((30, 20, 10, "0+:7,8"), [40, 30, 20, "0+:7,8"]),
        ((30, 28, 26, 24, "0+:7,8"), [40, 30, 28, "0+:7,8"]),
    ],
)
def test_push_keeps_the_pulled_authors_of_the_mark(small_cap, make_feed, feed, expected):
    make_feed(*feed)

    timeline.HOME.push([READER], 40)

    assert raw() == list(map(str, expected))


@pytest.mark.parametrize(
    ("feed", "expected"), [((30, 10, "0:7"), [30, 20, 10, "0:7"]), ((30, "0:7"), [30, 20, "0:7"]), ((30, "0+:7"),) * 2]
)
def test_push_out_of_order_knows_a_mark_that_names_authors(make_feed, feed, expected):
    make_feed(*feed)

    timeline.HOME.push([READER], 20)

    assert raw() == list(map(str, expected))


@pytest.mark.parametrize(("mark", "left"), [("0:7", ["0:7"]), ("0+:7", [])])
def test_a_list_that_knows_of_no_post_and_is_not_complete_is_cold(make_feed, mark, left):
    make_feed(30, mark)

    timeline.HOME.remove([READER], [30])

    assert raw() == left


@pytest.mark.parametrize(
    ("feed", "read", "expected"),
    [
        ((), [], ["0:7,8"]),
        ((30, 0), [30], [50, 30, "0:7,8"]),
        (("0:9",), [], [50, "0:7,8"]),
        ((30, "0:9"), [30, 20, 10], [50, 30, 20, "0+:7,8"]),
        ((30, "0+:9"), [50, 30], [50, 30, "0:7,8"]),
    ],
)
def test_commit_names_the_pulled_authors_and_no_others(small_cap, make_feed, feed, read, expected):
    if feed:
        make_feed(*feed)
    lease = timeline.HOME.acquire(READER)
    if feed:
        timeline.HOME.push([READER], 50)

    assert timeline.HOME.commit(READER, lease, read, [7, 8])

    assert raw() == list(map(str, expected))


def test_a_page_of_a_list_that_names_authors_is_these_alone(make_feed):
    make_feed(30, "0+:7,8")

    part = timeline.page(READER, 0, 1)

    assert (part.ids, part.known, part.cold, part.pulled) == ([], False, False, [7, 8])


def test_push_out_of_order_past_the_cap_drops_the_last(small_cap, make_feed):
    make_feed(30, 20, 10)

    timeline.HOME.push([READER], 25)

    assert elements() == [30, 25, 20]


def test_remove_takes_out_and_drops_the_lease(make_feed):
    make_feed(NEW, OLD, 0)
    timeline.HOME.acquire(READER)

    removed = timeline.HOME.remove([READER], [OLD])

    assert removed == 1
    assert elements() == [NEW, 0]
    assert not leased()


def test_remove_of_an_absent_post_drops_the_lease(make_feed):
    make_feed(NEW, 0)
    timeline.HOME.acquire(READER)

    timeline.HOME.remove([READER], [OLD])

    assert not leased()


def test_push_and_remove_reach_more_feeds_than_fit_in_one_call(app):
    readers = list(range(1, 2 * timeline.FEEDS_PER_CALL + 2))
    for reader in readers:
        client().rpush(timeline.HOME.key(reader), 0)

    assert timeline.HOME.push(readers, NEW) == len(readers)
    assert timeline.HOME.remove(readers, [NEW]) == len(readers)


def test_commit_of_fewer_ids_than_the_cap_is_complete(app):
    lease = timeline.HOME.acquire(READER)

    assert timeline.HOME.commit(READER, lease, [OLD, OLDER])

    assert elements() == [OLD, OLDER, 0]
    assert not leased()


def test_commit_of_no_ids_is_known_to_be_empty(app):
    timeline.HOME.commit(READER, timeline.HOME.acquire(READER), [])

    assert elements() == [0]


def test_commit_of_as_many_ids_as_the_cap_is_not_complete(small_cap):
    timeline.HOME.commit(READER, timeline.HOME.acquire(READER), [30, 20, 10])

    assert elements() == [30, 20, 10]


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ([20, 10], [50, 40, 20]),
        ([40, 20], [50, 40, 20, 0]),
        ([60, 45], [60, 50, 45]),
        ([50, 40, 20], [50, 40, 20]),
    ],
)
def test_commit_keeps_what_was_pushed_since_begin(small_cap, make_feed, read, expected):
    make_feed(30, 0)
    lease = timeline.HOME.acquire(READER)
    timeline.HOME.push([READER], 40)
    timeline.HOME.push([READER], 50)

    assert timeline.HOME.commit(READER, lease, read)

    assert elements() == expected


def test_commit_drops_what_was_there_before_begin_and_is_not_in_sql(make_feed):
    make_feed(NEW, OLD, 0)

    timeline.HOME.commit(READER, timeline.HOME.acquire(READER), [OLD])

    assert elements() == [OLD, 0]


def test_commit_without_the_lease_changes_nothing(make_feed):
    make_feed(OLD, 0)
    earlier = timeline.HOME.acquire(READER)
    timeline.HOME.acquire(READER)

    assert not timeline.HOME.commit(READER, earlier, [NEW])

    assert elements() == [OLD, 0]


def test_begin_that_steals_nothing_knows_its_own_lease_when_the_answer_was_lost(app):
    keys, arguments = [timeline.HOME.key(READER), f"{timeline.HOME.key(READER)}:lease"], ["a token", 60_000, ""]
    lua.run("begin", [(keys, arguments)])

    again = lua.run("begin", [(keys, arguments)])

    [[lease, head, last]] = again
    assert (head, last) == (b"", b"")
    assert timeline.HOME.commit(READER, timeline.Lease(lease, head, last), [OLD])


def test_a_copy_of_its_begin_that_is_late_revives_no_lease(app):
    keys, arguments = [timeline.HOME.key(READER), timeline.HOME.lease_key(READER)], ["a token", 60_000, "steal"]
    [found] = lua.run("begin", [(keys, arguments)])
    timeline.HOME.push([READER], NEW)  # the feed is cold: the lease is dropped, as SQL may have been read before
    lua.run("begin", [(keys, arguments)])

    assert not timeline.HOME.commit(READER, timeline.Lease(*found), [OLD])

    assert elements() == []


def test_begin_that_steals_nothing_leaves_another_rebuild_alone(app):
    first = timeline.HOME.acquire(READER, steal=False)

    assert timeline.HOME.acquire(READER, steal=False) is None
    assert timeline.HOME.commit(READER, first, [])


def test_make_cold_forgets_the_list_and_what_a_rebuild_would_make(make_feed):
    make_feed(OLD, 0)
    lease = timeline.HOME.acquire(READER)

    timeline.HOME.evict([READER])

    assert elements() == []
    assert not timeline.HOME.commit(READER, lease, [OLD])


def test_feed_and_lease_share_a_slot_and_a_feed_expires(app):
    timeline.HOME.commit(READER, timeline.HOME.acquire(READER), [OLD])

    assert timeline.HOME.key(READER) == "feed:{7}:7"
    assert timeline.HOME.key(1024 + READER) == "feed:{7}:1031"
    assert client().ttl(timeline.HOME.key(READER)) > 0


def test_the_keys_of_many_lists_are_those_of_each():
    owners = [READER, 1023, 1024, NEW]

    assert timeline.HOME.keys(owners) == [timeline.HOME.key(owner) for owner in owners]
    assert timeline.AUTHOR.keys(owners) == [timeline.AUTHOR.key(owner) for owner in owners]


@pytest.mark.parametrize(
    ("feed", "offset", "limit", "ids", "known", "cold"),
    [
        ((3, 2, 1, 0), 0, 2, [3, 2], True, False),
        ((3, 2, 1, 0), 2, 2, [1], True, False),
        ((3, 2, 1, 0), 3, 2, [], True, False),
        ((3, 2, 1, 0), 9, 2, [], True, False),
        ((3, 2, 1), 0, 3, [3, 2, 1], True, False),
        ((3, 2, 1), 2, 2, [1], False, False),
        ((3, 2, 1), 9, 2, [], False, False),
        ((0,), 0, 2, [], True, False),
        ((), 0, 2, [], False, True),
        ((), 5, 2, [], False, True),
    ],
)
def test_a_slice_says_whether_the_list_knows_all_of_it(make_feed, feed, offset, limit, ids, known, cold):
    if feed:
        make_feed(*feed)

    part = timeline.page(READER, offset, limit)

    assert ([int(i) for i in part.ids], part.known, part.cold) == (ids, known, cold)


@pytest.mark.parametrize(
    ("feed", "before", "ids", "known"),
    [
        ((30, 20, 10, 0), 30, [20, 10], True),
        ((30, 20, 10, 0), 25, [20, 10], True),
        ((30, 20, 10, 0), 20, [10], True),
        ((30, 20, 10, 0), 10, [], True),
        ((30, 20, 10), 20, [10], False),
        ((30, 20, 10), 99, [30, 20], True),
    ],
)
def test_a_slice_before_an_id_needs_no_such_id(make_feed, feed, before, ids, known):
    make_feed(*feed)

    part = timeline.page(READER, 0, 2, before)

    assert ([int(i) for i in part.ids], part.known) == (ids, known)


@pytest.mark.parametrize(
    ("feed", "before", "after", "ids", "known"),
    [
        ((40, 30, 20, 10, 0), None, 40, [], True),
        ((40, 30, 20, 10, 0), None, 99, [], True),
        ((40, 30, 20, 10, 0), None, 30, [40], True),
        ((40, 30, 20, 10, 0), None, 35, [40], True),
        ((40, 30, 20, 10, 0), None, 9, [40, 30], True),
        ((40, 30, 20, 10, 0), 30, 10, [20], True),
        ((40, 30, 20, 10, 0), 20, 20, [], True),
        ((40, 30, 20, 10, 0), 20, 0, [10], True),
        ((40,), None, 40, [], True),
        ((40,), None, 30, [40], False),
        ((40, 30), None, 20, [40, 30], True),
        ((40, 30), 40, 20, [30], False),
        ((0,), None, 10, [], True),
        ((0,), None, 0, [], True),
        ((100, 99), None, 99, [100], True),
    ],
)
def test_a_slice_after_an_id_ends_there_and_is_known_down_to_it(make_feed, feed, before, after, ids, known):
    make_feed(*feed)

    part = timeline.page(READER, 0, 2, before, after)

    assert ([int(i) for i in part.ids], part.known, part.cold) == (ids, known, False)


def test_a_slice_after_an_id_of_a_cold_feed_is_not_known(make_feed):
    part = timeline.page(READER, 0, 2, after=10)

    assert (part.ids, part.known, part.cold) == ([], False, True)


def test_a_rebuild_that_fails_late_keeps_the_lease_of_another(app):
    late = timeline.HOME.acquire(READER)
    with suppress(ZeroDivisionError), timeline.HOME.dropping_leases({READER: late}):
        other = timeline.HOME.acquire(READER)
        _ = 1 / 0

    assert timeline.HOME.commit(READER, other, [])
