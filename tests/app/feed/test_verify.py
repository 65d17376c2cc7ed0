"""verify-feeds and explain-feed: what is damaged is found, named and repaired; what is right is left alone."""

import json
import threading

import pytest

from app.feed import commands, service, timeline, verify
from app.feed.verify import DISORDER, FALSE_END, MISSING, REPEATED, STALE, WRONG_PULLED, compare
from app.posts import service as posts
from app.redis import client


@pytest.fixture
def reader(world):
    """Somebody whose feed of five posts is built."""
    reader, author, stranger = world.people(3)
    world.follow(reader, author)
    world.posts(author, 5)
    world.posts(stranger, 1)
    service.rebuild(reader)
    return reader


def damage(world, reader: int, kind: str) -> None:
    first, second, third, fourth, fifth = world.truth(reader)
    lists = {
        MISSING: [first, third, fourth, fifth, 0],
        STALE: [first, second, third, fourth, fifth, 5, 0],
        DISORDER: [second, first, third, fourth, fifth, 0],
        REPEATED: [first, first, second, third, fourth, fifth, 0],
        FALSE_END: [first, second, third, 0],
        WRONG_PULLED: [first, second, third, fourth, fifth, f"0:{world.person()}"],
    }
    key = timeline.feed_key(reader)
    client().delete(key)
    client().rpush(key, *lists[kind])


@pytest.mark.parametrize(
    ("elements", "kinds"),
    [
        ([30, 20, 10, 0], set()),
        ([30, 20], set()),
        ([0], {FALSE_END}),
        ([30, 10, 0], {MISSING}),
        ([30, 10], {MISSING}),
        ([20, 10, 0], {MISSING}),
        ([40, 30, 20, 10, 0], {STALE}),
        ([30, 20, 5], {STALE, MISSING}),
        ([20, 30, 10, 0], {DISORDER}),
        ([30, 30, 20, 10, 0], {REPEATED}),
        ([30, 20, 0], {FALSE_END}),
    ],
)
def test_each_way_of_being_wrong_has_its_name(elements, kinds):
    assert {kind for kind, _ in compare(elements, [30, 20, 10], cap=10)} == kinds


@pytest.mark.parametrize(
    ("elements", "kinds"),
    [([30, 20], set()), ([30, 20, 0], {FALSE_END}), ([30, 20, 10], {STALE})],
)
def test_a_list_is_compared_up_to_the_cap(elements, kinds):
    assert {kind for kind, _ in compare(elements, [30, 20, 10], cap=2)} == kinds


def test_exact_and_cold_feeds_exit_with_0(world, runner, reader):
    other = world.person()
    world.follow(other, reader)

    result = runner.invoke(args=["verify-feeds"])

    assert (result.exit_code, result.output) == (0, "2 checked, 1 exact, 1 cold, 0 divergent, 0 repaired\n")


@pytest.mark.parametrize("kind", verify.KINDS)
def test_a_damaged_feed_is_found_named_and_repaired(world, runner, reader, kind):
    damage(world, reader, kind)

    found = runner.invoke(args=["verify-feeds", "--settle", "0.1", "--json"])
    repaired = runner.invoke(args=["verify-feeds", "--settle", "0.1", "--repair"])
    again = runner.invoke(args=["verify-feeds", "--settle", "0.1"])

    assert found.exit_code == 1
    assert kind in json.loads(found.output)["users"][str(reader)]
    assert (repaired.exit_code, repaired.output) == (0, "1 checked, 1 exact, 0 cold, 0 divergent, 1 repaired\n")
    assert again.exit_code == 0
    assert world.feed(reader) == [*world.truth(reader), 0]


def test_a_feed_of_somebody_who_follows_nobody_is_checked_too(world, runner):
    user = world.person()
    client().rpush(timeline.feed_key(user), 5)

    result = runner.invoke(args=["verify-feeds", "--settle", "0.1"])

    assert result.exit_code == 1
    assert f"user {user}: stale" in result.output


def test_users_can_be_named_or_sampled(world, runner, reader):
    world.posts(world.person(), 1)

    assert runner.invoke(args=["verify-feeds", str(reader)]).output.startswith("1 checked, 1 exact")
    assert runner.invoke(args=["verify-feeds", "--sample", "5"]).output.startswith("1 checked, 1 exact")
    assert runner.invoke(args=["verify-feeds", "--sample", "5", str(reader)]).exit_code == 2


def test_a_difference_that_goes_away_does_not_count(world, app, reader):
    damage(world, reader, MISSING)

    def mend():
        with app.app_context():
            service.rebuild(reader)

    mending = threading.Timer(0.2, mend)
    mending.start()
    *_, report = verify.verify([reader], settle=20)
    mending.join()

    assert (report.checked, report.exact, report.divergent) == (1, 1, {})


def test_what_cannot_be_checked_exits_with_2(make_app, world, reader):
    app = make_app(redis_url="redis://127.0.0.1:1/0")

    with app.app_context():
        result = app.test_cli_runner().invoke(args=["verify-feeds"])

    assert result.exit_code == 2
    assert "could not check" in result.output


def explained(runner, user: int, post: int) -> dict[str, str]:
    result = runner.invoke(args=["explain-feed", str(user), str(post)])
    assert result.exit_code == 0, result.output
    return {name: finding.strip() for name, _, finding in (line.partition(":") for line in result.output.splitlines())}


def test_a_post_in_its_place_is_explained(world, runner, reader):
    world.events()
    second = world.truth(reader)[1]

    said = explained(runner, reader, second)

    assert said["author"].startswith("followed since 20")
    assert said["newer posts above it"] == "1, within the cap of 1000"
    assert said["list"] == "complete, 5 posts"
    assert said["position"] == "1 (0 is the newest)"
    assert said["body"] == "not cached: it is read from SQL"
    assert said["outbox"] == "empty"
    assert said["verdict"] == "it belongs into this feed, and the list agrees"


def test_a_post_on_its_way_is_explained(world, runner, reader):
    author = next(iter(verify.truth.followees_of([reader])[reader]))
    post = world.post(author)

    said = explained(runner, reader, post)

    assert said["outbox"].startswith("events wait")
    assert "does not agree yet" in said["verdict"]


def test_a_post_of_a_stranger_and_a_post_that_is_gone_are_explained(world, runner, reader):
    stranger = world.person()
    post = world.post(stranger)
    gone = world.post(stranger)
    posts.delete(gone, stranger)

    assert explained(runner, reader, post)["author"] == "not followed"
    assert explained(runner, reader, gone)["post"] == "there is no such post"
    assert explained(runner, reader, gone)["verdict"] == "it does not belong into this feed, and the list agrees"


def test_a_post_that_should_not_be_there_is_explained(world, runner, reader):
    world.events()
    damage(world, reader, STALE)

    assert "report it" in explained(runner, reader, 5)["verdict"]


def test_rebuild_feed_prints_what_changed_and_refuses_unknown_users(world, runner, reader):
    damage(world, reader, STALE)

    changed = runner.invoke(args=["rebuild-feed", str(reader)])
    unchanged = runner.invoke(args=["rebuild-feed", str(reader)])
    unknown = runner.invoke(args=["rebuild-feed", str(reader), "12345"])

    assert changed.output == f"{reader}: 0 added, 1 removed, now 5 posts\n"
    assert unchanged.output == f"{reader}: unchanged, 5 posts\n"
    assert unknown.exit_code == 1
    assert "no such user: 12345" in unknown.output


def test_warm_cache_says_when_nobody_warms(runner, monkeypatch):
    monkeypatch.setattr(commands, "STALLED_SECONDS", 0.1)

    result = runner.invoke(args=["warm-cache", "--wait"])

    assert result.exit_code == 1
    assert "do the workers run" in result.output
