"""Pulled authors: their choice, and feeds while the threshold is crossed in either direction."""

import json
import subprocess

import pytest
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.feed import store
from app.feed.cache import cached_users, timeline
from app.feed.cache.timeline import PUSH
from app.feed.deliver import fanout_plan
from app.feed.hybrid import policy
from app.feed.invalidate import invalidate_after_failure
from app.feed.maintenance import failover, verify, warm
from app.feed.rebuild import rebuild
from app.posts import outbox
from app.posts import service as posts
from app.redis.client import client, primaries
from tests.app.feed.celebrity import change_settings, contents, elements


@pytest.fixture
def app(make_app):
    """Authors with more than two followers are pulled, those with fewer than two pushed again."""
    app = make_app(feed_pull_followers=2)
    with app.app_context():
        yield app


# --- promotion ----------------------------------------------------------------------------------------


def test_an_author_at_the_threshold_is_pushed_and_one_above_it_pulled(world, app):
    author, *readers = world.people(4)
    world.follow(readers[0], author)
    world.follow(readers[1], author)

    policy.update_pull_state(author)
    assert policy.state_of(author) is None

    world.follow(readers[2], author)
    policy.update_pull_state(author)
    assert policy.state_of(author) == policy.PROMOTING


@pytest.mark.parametrize(
    ("threshold", "followers", "state"),
    [(10, 8, policy.PULLED), (10, 7, policy.DEMOTING), (2, 2, policy.PULLED), (2, 1, policy.DEMOTING)],
)
def test_a_pulled_author_below_80_percent_of_the_threshold_is_demoted(world, app, threshold, followers, state):
    change_settings(app, feed_pull_followers=threshold)
    author, *readers = world.people(followers + 1)
    for reader in readers:
        world.follow(reader, author)
    execute(POSTS, text("INSERT INTO pulled_authors (author_id, state) VALUES (:id, 'pulled')"), {"id": author})

    policy.update_pull_state(author)

    assert policy.state_of(author) == state


def test_nobody_is_pulled_by_default(make_app, make_crowd):
    with make_app().app_context():
        crowd = make_crowd()
        crowd.post()
        crowd.settle()

        assert crowd.state is None
        assert not list(client().scan_iter("authored:*"))


def test_with_pulling_disabled_a_post_demotes_a_pulled_author(pulled, app):
    change_settings(app, feed_pull_followers=0)
    assert pulled.is_exact()

    last = pulled.post()
    pulled.settle()

    assert pulled.state is None
    assert pulled.is_exact()
    assert elements(timeline.HOME.key(pulled.readers[0]))[0] == str(last)
    assert elements(timeline.AUTHOR.key(pulled.author)) == []


# --- crossing ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(policy, "BATCH", 1)


def test_nothing_is_lost_at_any_step_on_the_way_up_and_down(crowd, small_steps):
    for down in (False, True):
        if down:
            crowd.leave(*crowd.readers[1:])
            crowd.settle()
        message = crowd.start_transition()
        step: int | None = 0
        while step is not None:
            assert crowd.is_exact()
            crowd.post()
            crowd.settle()
            assert crowd.is_exact()
            step = crowd.step(message, step)

        assert crowd.state == (None if down else policy.PULLED)
        crowd.post()
        crowd.settle()
        assert crowd.is_exact()


def test_a_rebuild_that_read_sql_before_the_promotion_cannot_end_after_it(crowd):
    reader = crowd.readers[0]
    lease = timeline.HOME.acquire(reader)
    read = store.select_feed(reader, 1000)

    crowd.post()
    crowd.settle()

    assert crowd.state == policy.PULLED
    assert not timeline.HOME.commit(reader, lease, *read)
    crowd.post()
    crowd.settle()
    assert crowd.is_exact()


def test_a_feed_rebuild_from_before_a_promotion_cannot_commit_after_it(crowd):
    reader = crowd.readers[0]
    timeline.HOME.evict([reader])
    lease = timeline.HOME.acquire(reader)
    read = store.select_feed(reader, 1000)

    crowd.post()
    crowd.settle()

    assert not timeline.HOME.commit(reader, lease, *read)
    assert elements(timeline.HOME.key(reader)) == []


def test_a_rebuild_that_read_sql_before_the_demotion_cannot_end_after_it(pulled):
    reader = pulled.readers[0]
    lease = timeline.HOME.acquire(reader)
    read = store.select_feed(reader, 1000)
    pulled.leave(*pulled.readers[1:])

    pulled.post()
    pulled.settle()

    assert pulled.state is None
    assert not timeline.HOME.commit(reader, lease, *read)
    assert pulled.is_exact()


def test_a_list_rebuild_from_before_a_promotion_cannot_commit_after_it(crowd):
    token = [timeline.AUTHOR.key(crowd.author) + ":lease", "from before"]
    client().set(*token)

    crowd.post()
    crowd.settle()

    assert client().get(token[0]) is None


def test_an_authors_list_from_an_earlier_time_is_not_trusted(pulled):
    """The list lacks posts from the time when the author was pushed."""
    old = elements(timeline.AUTHOR.key(pulled.author))
    pulled.leave(*pulled.readers[1:])
    pulled.post()
    pulled.settle()
    pulled.post()
    pulled.settle()
    assert pulled.state is None
    client().rpush(timeline.AUTHOR.key(pulled.author), *(old or ["0"]))

    for reader in pulled.readers[1:]:
        pulled.world.follow(reader, pulled.author)
    pulled.post()
    pulled.settle()

    assert pulled.state == policy.PULLED
    assert pulled.is_exact()
    assert elements(timeline.AUTHOR.key(pulled.author)) == [*map(str, pulled.world.truth(pulled.readers[0])), "0"]


def test_a_post_that_read_the_state_before_a_promotion_reaches_all(crowd, actors):
    late = crowd.post()
    crowd.world.events()
    read = fanout_plan(crowd.author)
    crowd.post()
    crowd.settle()  # promoted in between; the late actor has read "pushed", and has done nothing yet

    actors.fan_out(PUSH, late, crowd.author, read)
    crowd.work()

    assert crowd.state == policy.PULLED
    assert crowd.is_exact()


def test_the_audience_of_a_pulled_author_is_nobody_for_who_asks_so(pulled):
    assert fanout_plan(pulled.author, without=policy.PULLED) == (policy.PULLED, [], False, False)
    assert fanout_plan(pulled.author).first


def test_a_post_that_read_the_state_before_a_demotion_reaches_all(pulled):
    late = pulled.post()
    pulled.world.events()
    assert pulled.state == policy.PULLED
    pulled.leave(*pulled.readers[1:])
    pulled.post()
    pulled.settle()  # demoted in between; the late actor has read "pulled", and has done nothing yet

    timeline.AUTHOR.push([pulled.author], late)

    assert pulled.state is None
    assert pulled.is_exact()


def test_an_unfollow_between_two_steps_leaves_no_posts_behind(crowd, small_steps):
    message = crowd.start_transition()
    reader = crowd.readers[0]
    crowd.step(message, 0)
    crowd.leave(reader)
    crowd.settle()
    crowd.finish_transition(message, reader)
    crowd.post()
    crowd.settle()

    assert crowd.is_exact()
    assert contents(timeline.HOME.key(reader)).pulled == []


def test_a_follow_between_two_steps_rebuilds_the_feed(crowd, small_steps):
    message = crowd.start_transition()
    newcomer = crowd.world.person()
    rebuild(newcomer)
    after = crowd.step(message, 0)
    crowd.world.follow(newcomer, crowd.author)
    crowd.settle()
    crowd.finish_transition(message, after)
    crowd.post()
    crowd.settle()

    assert crowd.shown(newcomer) == crowd.world.truth(newcomer)


def test_a_transition_started_by_two_posts_at_once_is_one(crowd):
    for _ in range(3):
        crowd.post()
    for _, payload in crowd.world.events():
        crowd.handle(outbox.POST_CREATED, **payload)

    assert [event for event, _ in crowd.world.events()] == [outbox.PULL_TRANSITION_STARTED]


def test_a_message_of_an_earlier_transition_changes_nothing(crowd):
    first = crowd.start_transition()
    crowd.finish_transition(first)
    crowd.leave(*crowd.readers[1:])
    second = crowd.start_transition()

    crowd.finish_transition(first)
    assert crowd.state == policy.DEMOTING

    crowd.finish_transition(second)
    crowd.finish_transition(first)
    assert crowd.state is None
    assert crowd.is_exact()


def test_a_step_of_an_earlier_transition_does_not_complete_a_later_one(crowd, small_steps):
    """Its first half was made when the feeds had still to forget the author."""
    first = crowd.start_transition()
    middle = crowd.step(first, 0)
    crowd.finish_transition(first)
    crowd.leave(*crowd.readers[1:])
    crowd.finish_transition(crowd.start_transition())
    for reader in crowd.readers[1:]:
        crowd.world.follow(reader, crowd.author)
    crowd.start_transition()

    crowd.finish_transition(first, middle)

    assert crowd.state == policy.PROMOTING


def test_a_step_from_before_a_restore_does_not_complete_a_transition_after_it(crowd, small_steps, settings, tmp_path):
    """Its first half was made for feeds that were dropped since."""
    dump, url = str(tmp_path / "posts.dump"), settings.posts_database_url
    subprocess.run(["pg_dump", "--format=custom", "--table=pulled_authors", f"--file={dump}", url], check=True)
    lost = crowd.start_transition()
    middle = crowd.step(lost, 0)
    commit()
    subprocess.run(["pg_restore", "--clean", "--if-exists", f"--dbname={url}", dump], check=True)
    failover.invalidate_all()
    assert failover.check()
    for reader in crowd.readers:
        rebuild(reader)
    crowd.world.events()
    message = crowd.start_transition()

    crowd.finish_transition(lost, middle)
    crowd.finish_transition(message)

    crowd.post()
    crowd.settle()
    assert crowd.state == policy.PULLED
    assert crowd.is_exact()


def test_steps_that_are_repeated_or_die_half_way_are_made_again(crowd, small_steps, monkeypatch):
    message = crowd.start_transition()
    crowd.step(message, 0)
    crowd.step(message, 0)
    monkeypatch.setattr(warm, "rebuild_warm", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        crowd.step(message, crowd.readers[0])
    monkeypatch.undo()
    monkeypatch.setattr(policy, "BATCH", 1)

    crowd.finish_transition(message, crowd.readers[0])

    assert crowd.state == policy.PULLED
    crowd.post()
    crowd.settle()
    assert crowd.is_exact()


def test_a_transition_with_a_lost_message_is_restarted_by_a_later_post(crowd):
    crowd.start_transition()
    execute(POSTS, text("UPDATE pulled_authors SET changed_at = now() - interval '2 hours'"))
    commit()

    crowd.post()
    crowd.settle()

    assert crowd.state == policy.PULLED


def test_cold_feeds_stay_cold_in_a_transition(crowd):
    timeline.HOME.evict(crowd.readers[:1])

    crowd.post()
    crowd.settle()

    assert elements(timeline.HOME.key(crowd.readers[0])) == []
    assert crowd.is_exact()


def test_concurrent_writes_while_the_threshold_is_crossed_repeatedly(crowd, small_steps):
    author, other, (first, second, third) = crowd.author, crowd.other, crowd.readers
    for _ in range(3):
        up = crowd.start_transition()
        after = crowd.step(up, 0)
        posts.unfollow(first, author)
        dead = crowd.post()
        crowd.post(other)
        posts.delete(dead, author)
        crowd.settle()
        posts.follow(first, author)
        crowd.finish_transition(up, after or 0)
        crowd.settle()
        assert crowd.is_exact()
        crowd.leave(second, third)
        down = crowd.start_transition()
        after = crowd.step(down, 0)
        posts.follow(second, author)
        crowd.post()
        posts.delete(min(set(crowd.world.truth(first)) & set(crowd.own)), author)
        crowd.settle()
        crowd.finish_transition(down, after or 0)
        posts.follow(third, author)
        crowd.settle()
        assert crowd.is_exact()


# --- commands and metrics ---------------------------------------------------------------------------------


def test_a_message_that_fails_for_good_leaves_the_authors_list_cold(pulled):
    assert pulled.is_exact()

    invalidate_after_failure({"post_id": 1, "author_id": pulled.author})

    assert elements(timeline.AUTHOR.key(pulled.author)) == []


def test_a_redis_from_elsewhere_keeps_no_authors_list(pulled):
    assert pulled.is_exact()
    client().set(timeline.AUTHOR.key(pulled.author) + ":lease", "another's")

    for server in primaries().values():
        list(failover.drop_all_feeds(server))

    assert not list(client().scan_iter("authored:*"))
    assert pulled.is_exact()


def test_an_authors_list_is_no_feed(pulled):
    assert pulled.is_exact()

    timeline.HOME.evict(pulled.readers)

    assert list(client().scan_iter("authored:*"))
    assert cached_users.is_empty()


def test_warming_builds_feeds_that_know_their_pulled_authors(pulled):
    timeline.HOME.evict(pulled.readers)

    warm.warm("run", pulled.readers)

    assert [contents(timeline.HOME.key(reader)).pulled for reader in pulled.readers] == [[pulled.author]] * 3
    assert pulled.is_exact()


def verified(runner, *options: str) -> tuple[int, dict[str, int]]:
    """The exit code, and how many feeds show each kind of difference."""
    result = runner.invoke(args=["verify-feeds", "--settle", "0.1", "--json", *options])
    found = json.loads(result.output)
    return result.exit_code, {kind: number for kind, number in found["kinds"].items() if number}


def put_list(key: str, *elements: object) -> None:
    client().delete(key)
    client().rpush(key, *map(str, elements))


def test_merged_feeds_are_verified_also_with_a_cold_author_list(pulled, runner):
    timeline.AUTHOR.evict([pulled.author])
    assert verified(runner) == (0, {})

    assert pulled.is_exact()
    assert verified(runner) == (0, {})


def test_a_wrong_authors_list_is_found_in_all_feeds_and_repaired(pulled, runner):
    newest, *rest = [int(post) for post in pulled.world.truth(pulled.readers[0])]
    post = pulled.post()
    pulled.settle()
    put_list(timeline.AUTHOR.key(pulled.author), newest, *rest, 0)

    assert verified(runner) == (1, {verify.MISSING: 3})
    assert verified(runner, "--repair") == (0, {})
    assert elements(timeline.AUTHOR.key(pulled.author)) == [*map(str, [post, newest, *rest]), "0"]


@pytest.mark.parametrize("mark", ["0", "0:{author},{other}", "0:{other}"])
def test_a_mark_that_names_the_wrong_authors_is_found_and_repaired(pulled, runner, mark):
    key = timeline.HOME.key(pulled.readers[0])
    *ids, _ = elements(key)
    put_list(key, *ids, mark.format(author=pulled.author, other=pulled.other))

    assert verify.WRONG_PULLED in verified(runner)[1]
    assert verified(runner, "--repair") == (0, {})
    assert contents(key).pulled == [pulled.author]


def test_a_feed_in_the_middle_of_a_transition_is_not_divergent(crowd, runner, small_steps):
    crowd.step(crowd.start_transition(), 0)

    assert crowd.state == policy.PROMOTING
    assert verified(runner) == (0, {})


def test_a_post_of_a_pulled_author_is_explained(pulled, runner):
    assert pulled.is_exact()
    post = pulled.post()
    pulled.settle()

    said = runner.invoke(args=["explain-feed", str(pulled.readers[0]), str(post)]).output

    assert "author is:            pulled" in said
    assert "author's list:        complete, 3 posts" in said
    assert "position:             0 (0 is the newest)" in said
    assert "it belongs in this feed, and the list agrees" in said
