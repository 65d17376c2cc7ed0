"""verify-feeds finds, names and repairs damage, and leaves exact feeds alone."""

import json
import re
import threading

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.feed.cache import post_bodies, timeline
from app.feed.maintenance import trust, verify
from app.feed.maintenance.verify import DISORDER, MISSING, REPEATED, STALE, WRONG_END_MARK, compare
from app.feed.rebuild import rebuild
from app.redis.client import client
from tests.app.feed.maintenance.damage import damage


@pytest.mark.parametrize(
    ("elements", "kinds"),
    [
        ([30, 20, 10, 0], set()),
        ([30, 20], set()),
        ([0], {WRONG_END_MARK}),
        ([30, 10, 0], {MISSING}),
        ([30, 10], {MISSING}),
        ([20, 10, 0], {MISSING}),
        ([40, 30, 20, 10, 0], {STALE}),
        ([30, 20, 5], {STALE, MISSING}),
        ([20, 30, 10, 0], {DISORDER}),
        ([30, 30, 20, 10, 0], {REPEATED}),
        ([30, 20, 0], {WRONG_END_MARK}),
    ],
)
def test_each_way_of_being_wrong_has_its_name(elements, kinds):
    assert {kind for kind, _ in compare(elements, [30, 20, 10], cap=10)} == kinds


@pytest.mark.parametrize(
    ("elements", "kinds"),
    [([30, 20], set()), ([30, 20, 0], {WRONG_END_MARK}), ([30, 20, 10], {STALE})],
)
def test_a_list_is_compared_up_to_the_cap(elements, kinds):
    assert {kind for kind, _ in compare(elements, [30, 20, 10], cap=2)} == kinds


def test_exact_and_cold_feeds_exit_with_0(world, runner, reader):
    other = world.person()
    world.follow(other, reader)

    result = runner.invoke(args=["verify-feeds"])

    counts, servers = result.output.splitlines()
    assert (result.exit_code, counts) == (0, "2 checked, 1 exact, 1 cold, 0 divergent, 0 repaired")
    assert servers == f"  compared on {', '.join(trust.identities())}"
    assert re.search(r"sql:\d{15,}:[0-9A-F]{8}$", servers)


@pytest.mark.parametrize("kind", verify.KINDS)
def test_a_damaged_feed_is_found_named_and_repaired(world, runner, reader, kind):
    damage(world, reader, kind)

    found = runner.invoke(args=["verify-feeds", "--settle", "0.1", "--json"])
    repaired = runner.invoke(args=["verify-feeds", "--settle", "0.1", "--repair"])
    again = runner.invoke(args=["verify-feeds", "--settle", "0.1"])

    assert found.exit_code == 1
    assert kind in json.loads(found.output)["users"][str(reader)]
    assert json.loads(found.output)["servers"] == trust.identities()
    assert repaired.exit_code == 0
    assert repaired.output.startswith("1 checked, 1 exact, 0 cold, 0 divergent, 1 repaired\n")
    assert again.exit_code == 0
    assert world.feed(reader) == [*world.truth(reader), 0]


def test_a_feed_of_somebody_who_follows_nobody_is_checked_too(world, runner):
    user = world.person()
    client().rpush(timeline.HOME.key(user), 5)

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
            rebuild(reader)

    mending = threading.Timer(0.2, mend)
    mending.start()
    *_, report = verify.verify([reader], recheck_seconds=20)
    mending.join()

    assert (report.checked, report.exact, report.divergent) == (1, 1, {})


@pytest.mark.parametrize("change", ["delete", "edit"])
def test_the_body_of_a_post_that_sql_has_no_more_is_wrong(world, runner, reader, change):
    first = world.truth(reader)[0]
    post_bodies.fill([first])
    statements = {"delete": "DELETE FROM posts WHERE id = :id", "edit": "UPDATE posts SET version = 7 WHERE id = :id"}
    execute(POSTS, text(statements[change]), {"id": first})
    commit()

    *_, report = verify.verify([reader], recheck_seconds=0)

    assert (verify.WRONG_BODY, first) in report.divergent[reader]


def test_a_body_of_another_form_with_the_same_text_is_right(world, reader):
    first = world.truth(reader)[0]
    leases = post_bodies.acquire([first], steal=True)
    body = post_bodies.read_versioned([first])[first]
    post_bodies.put({first: body.replace(b"{", b'{"new":1,', 1)}, leases)

    *_, report = verify.verify([reader], recheck_seconds=0)

    assert report.divergent == {}


def test_servers_that_change_meanwhile_make_a_comparison_void(runner, reader, monkeypatch):
    answers = iter([["before"], ["after"]])
    monkeypatch.setattr(trust, "identities", lambda: next(answers))

    result = runner.invoke(args=["verify-feeds"])

    assert result.exit_code == 2
    assert "restarted or promoted during the comparison" in result.output


def test_what_cannot_be_checked_exits_with_2(make_app, world, reader):
    app = make_app(redis_url="redis://127.0.0.1:1/0")

    with app.app_context():
        result = app.test_cli_runner().invoke(args=["verify-feeds"])

    assert result.exit_code == 2
    assert "could not check" in result.output
