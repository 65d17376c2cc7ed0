"""Authors who are pulled: who is, and what holds while the threshold is crossed in either direction."""

import json

import pytest
from sqlalchemy import text

from app.db import POSTS, commit, run
from app.feed import authored, pulling, service, timeline, truth, verify, warming, watch
from app.feed.timeline import PUSH
from app.posts import outbox
from app.posts import service as posts
from app.redis import client, primaries
from tests.app.feed.crowd import change_settings, contents, elements


@pytest.fixture
def app(make_app):
    """Authors with more than two followers are pulled, those with fewer than two pushed again."""
    app = make_app(feed_pull_followers=2)
    with app.app_context():
        yield app


# --- what is pulled ----------------------------------------------------------------------------------------


def test_an_author_at_the_threshold_is_pushed_and_one_above_it_pulled(world, app):
    author, *readers = world.people(4)
    world.follow(readers[0], author)
    world.follow(readers[1], author)

    pulling.weigh(author)
    assert pulling.state_of(author) is None

    world.follow(readers[2], author)
    pulling.weigh(author)
    assert pulling.state_of(author) == pulling.PROMOTING


@pytest.mark.parametrize(
    ("threshold", "followers", "state"),
    [(10, 8, pulling.PULLED), (10, 7, pulling.DEMOTING), (2, 2, pulling.PULLED), (2, 1, pulling.DEMOTING)],
)
def test_a_pulled_author_with_fewer_than_four_fifths_of_the_threshold_is_pushed_again(
    world, app, threshold, followers, state
):
    change_settings(app, feed_pull_followers=threshold)
    author, *readers = world.people(followers + 1)
    for reader in readers:
        world.follow(reader, author)
    run(POSTS, text("INSERT INTO pulled_authors (author_id, state) VALUES (:id, 'pulled')"), {"id": author})

    pulling.weigh(author)

    assert pulling.state_of(author) == state


def test_nobody_is_pulled_by_default(make_app, make_crowd):
    with make_app().app_context():
        crowd = make_crowd()
        crowd.post()
        crowd.settle()

        assert crowd.state is None
        assert not list(client().scan_iter("authored:*"))


def test_where_pulling_is_off_again_a_pulled_author_is_pushed_at_the_next_post(pulled, app):
    change_settings(app, feed_pull_followers=0)
    assert pulled.is_exact()

    last = pulled.post()
    pulled.settle()

    assert pulled.state is None
    assert pulled.is_exact()
    assert elements(timeline.feed_key(pulled.readers[0]))[0] == str(last)
    assert elements(authored.key(pulled.author)) == []


# --- crossing ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_steps(monkeypatch):
    monkeypatch.setattr(pulling, "BATCH", 1)


def test_nothing_is_lost_at_any_step_on_the_way_up_and_down(crowd, small_steps):
    for down in (False, True):
        if down:
            crowd.leave(*crowd.readers[1:])
            crowd.settle()
        message = crowd.begin_turn()
        step: int | None = 0
        while step is not None:
            assert crowd.is_exact()
            crowd.post()
            crowd.settle()
            assert crowd.is_exact()
            step = crowd.step(message, step)

        assert crowd.state == (None if down else pulling.PULLED)
        crowd.post()
        crowd.settle()
        assert crowd.is_exact()


def test_a_rebuild_that_read_sql_before_the_promotion_cannot_end_after_it(crowd):
    reader = crowd.readers[0]
    lease = timeline.begin(reader)
    read = truth.contents(reader, 1000)

    crowd.post()
    crowd.settle()

    assert crowd.state == pulling.PULLED
    assert not timeline.commit(reader, lease, *read)
    crowd.post()
    crowd.settle()
    assert crowd.is_exact()


def test_a_rebuild_of_a_cold_feed_that_read_sql_before_the_promotion_cannot_end_after_it(crowd):
    reader = crowd.readers[0]
    timeline.make_cold([reader])
    lease = timeline.begin(reader)
    read = truth.contents(reader, 1000)

    crowd.post()
    crowd.settle()

    assert not timeline.commit(reader, lease, *read)
    assert elements(timeline.feed_key(reader)) == []


def test_a_rebuild_that_read_sql_before_the_demotion_cannot_end_after_it(pulled):
    reader = pulled.readers[0]
    lease = timeline.begin(reader)
    read = truth.contents(reader, 1000)
    pulled.leave(*pulled.readers[1:])

    pulled.post()
    pulled.settle()

    assert pulled.state is None
    assert not timeline.commit(reader, lease, *read)
    assert pulled.is_exact()


def test_a_rebuild_of_an_authors_list_from_before_the_promotion_cannot_end_after_it(crowd):
    token = [authored.key(crowd.author) + ":lease", "from before"]
    client().set(*token)

    crowd.post()
    crowd.settle()

    assert client().get(token[0]) is None


def test_an_authors_list_from_an_earlier_time_is_not_trusted(pulled):
    """It lacks what was written while the author was pushed."""
    old = elements(authored.key(pulled.author))
    pulled.leave(*pulled.readers[1:])
    pulled.post()
    pulled.settle()
    pulled.post()
    pulled.settle()
    assert pulled.state is None
    client().rpush(authored.key(pulled.author), *(old or ["0"]))

    for reader in pulled.readers[1:]:
        pulled.world.follow(reader, pulled.author)
    pulled.post()
    pulled.settle()

    assert pulled.state == pulling.PULLED
    assert pulled.is_exact()
    assert elements(authored.key(pulled.author)) == [*map(str, pulled.world.truth(pulled.readers[0])), "0"]


def test_a_post_whose_actor_read_the_state_before_the_promotion_reaches_everybody(crowd, actors):
    late = crowd.post()
    crowd.world.events()
    read = service.audience(crowd.author)
    crowd.post()
    crowd.settle()  # promoted meanwhile; the late one has read "pushed", and has done nothing yet

    actors.fan_out(PUSH, late, crowd.author, read)
    crowd.work()

    assert crowd.state == pulling.PULLED
    assert crowd.is_exact()


def test_the_audience_of_a_pulled_author_is_nobody_for_who_asks_so(pulled):
    assert service.audience(pulled.author, without=pulling.PULLED) == (pulling.PULLED, [], False)
    assert service.audience(pulled.author).first


def test_a_post_whose_actor_read_the_state_before_the_demotion_reaches_everybody(pulled):
    late = pulled.post()
    pulled.world.events()
    assert pulled.state == pulling.PULLED
    pulled.leave(*pulled.readers[1:])
    pulled.post()
    pulled.settle()  # demoted meanwhile; the late one has read "pulled", and has done nothing yet

    authored.push(pulled.author, late)

    assert pulled.state is None
    assert pulled.is_exact()


def test_who_unfollows_between_two_steps_is_not_left_with_a_strangers_posts(crowd, small_steps):
    message = crowd.begin_turn()
    reader = crowd.readers[0]
    crowd.step(message, 0)
    crowd.leave(reader)
    crowd.settle()
    crowd.finish_turn(message, reader)
    crowd.post()
    crowd.settle()

    assert crowd.is_exact()
    assert contents(timeline.feed_key(reader)).pulled == []


def test_who_follows_between_two_steps_learns_of_it_by_a_rebuild_of_their_own(crowd, small_steps):
    message = crowd.begin_turn()
    newcomer = crowd.world.person()
    service.rebuild(newcomer)
    after = crowd.step(message, 0)
    crowd.world.follow(newcomer, crowd.author)
    crowd.settle()
    crowd.finish_turn(message, after)
    crowd.post()
    crowd.settle()

    assert crowd.shown(newcomer) == crowd.world.truth(newcomer)


def test_a_turn_begun_by_two_posts_at_once_is_one(crowd):
    for _ in range(3):
        crowd.post()
    for _, payload in crowd.world.events():
        crowd.handle(outbox.POST_CREATED, **payload)

    assert [event for event, _ in crowd.world.events()] == [outbox.TURN_BEGUN]


def test_a_message_of_an_earlier_turn_changes_nothing(crowd):
    first = crowd.begin_turn()
    crowd.finish_turn(first)
    crowd.leave(*crowd.readers[1:])
    second = crowd.begin_turn()

    crowd.finish_turn(first)
    assert crowd.state == pulling.DEMOTING

    crowd.finish_turn(second)
    crowd.finish_turn(first)
    assert crowd.state is None
    assert crowd.is_exact()


def test_a_pass_of_an_earlier_turn_does_not_end_a_later_one_in_the_same_direction(crowd, small_steps):
    """Its first half was made when the feeds had still to forget the author."""
    first = crowd.begin_turn()
    middle = crowd.step(first, 0)
    crowd.finish_turn(first)
    crowd.leave(*crowd.readers[1:])
    crowd.finish_turn(crowd.begin_turn())
    for reader in crowd.readers[1:]:
        crowd.world.follow(reader, crowd.author)
    crowd.begin_turn()

    crowd.finish_turn(first, middle)

    assert crowd.state == pulling.PROMOTING


def test_steps_that_are_repeated_or_die_half_way_are_made_again(crowd, small_steps, monkeypatch):
    message = crowd.begin_turn()
    crowd.step(message, 0)
    crowd.step(message, 0)
    monkeypatch.setattr(warming, "renew", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        crowd.step(message, crowd.readers[0])
    monkeypatch.undo()
    monkeypatch.setattr(pulling, "BATCH", 1)

    crowd.finish_turn(message, crowd.readers[0])

    assert crowd.state == pulling.PULLED
    crowd.post()
    crowd.settle()
    assert crowd.is_exact()


def test_a_turn_whose_message_was_lost_is_begun_again_by_a_later_post(crowd):
    crowd.begin_turn()
    run(POSTS, text("UPDATE pulled_authors SET changed_at = now() - interval '2 hours'"))
    commit()

    crowd.post()
    crowd.settle()

    assert crowd.state == pulling.PULLED


def test_cold_feeds_stay_cold_in_a_turn(crowd):
    timeline.make_cold(crowd.readers[:1])

    crowd.post()
    crowd.settle()

    assert elements(timeline.feed_key(crowd.readers[0])) == []
    assert crowd.is_exact()


def test_posts_follows_unfollows_and_deletions_go_on_while_the_threshold_is_crossed_again_and_again(crowd, small_steps):
    author, other, (first, second, third) = crowd.author, crowd.other, crowd.readers
    for _ in range(3):
        up = crowd.begin_turn()
        after = crowd.step(up, 0)
        posts.unfollow(first, author)
        dead = crowd.post()
        crowd.post(other)
        posts.delete(dead, author)
        crowd.settle()
        posts.follow(first, author)
        crowd.finish_turn(up, after or 0)
        crowd.settle()
        assert crowd.is_exact()
        crowd.leave(second, third)
        down = crowd.begin_turn()
        after = crowd.step(down, 0)
        posts.follow(second, author)
        crowd.post()
        posts.delete(min(set(crowd.world.truth(first)) & set(crowd.own)), author)
        crowd.settle()
        crowd.finish_turn(down, after or 0)
        posts.follow(third, author)
        crowd.settle()
        assert crowd.is_exact()


# --- what else knows of it ---------------------------------------------------------------------------------


def test_a_message_that_fails_for_good_leaves_the_authors_list_cold(pulled):
    assert pulled.is_exact()

    service.forget(post_id=1, author_id=pulled.author)

    assert elements(authored.key(pulled.author)) == []


def test_a_redis_from_elsewhere_keeps_no_authors_list(pulled):
    assert pulled.is_exact()
    client().set(authored.key(pulled.author) + ":lease", "somebody's")

    for server in primaries().values():
        list(watch.forget_everything(server))

    assert not list(client().scan_iter("authored:*"))
    assert pulled.is_exact()


def test_an_authors_list_is_no_feed(pulled):
    assert pulled.is_exact()

    timeline.make_cold(pulled.readers)

    assert list(client().scan_iter("authored:*"))
    assert timeline.is_empty()


def test_warming_builds_feeds_that_know_their_pulled_authors(pulled):
    timeline.make_cold(pulled.readers)

    warming.warm("run", pulled.readers)

    assert [contents(timeline.feed_key(reader)).pulled for reader in pulled.readers] == [[pulled.author]] * 3
    assert pulled.is_exact()


def verified(runner, *options: str) -> tuple[int, dict[str, int]]:
    """The exit code, and how many feeds show each kind of difference."""
    result = runner.invoke(args=["verify-feeds", "--settle", "0.1", "--json", *options])
    found = json.loads(result.output)
    return result.exit_code, {kind: number for kind, number in found["kinds"].items() if number}


def put_list(key: str, *elements: object) -> None:
    client().delete(key)
    client().rpush(key, *map(str, elements))


def test_feeds_that_are_merged_are_verified_and_so_are_those_whose_authors_list_is_cold(pulled, runner):
    authored.make_cold([pulled.author])
    assert verified(runner) == (0, {})

    assert pulled.is_exact()
    assert verified(runner) == (0, {})


def test_a_wrong_authors_list_is_found_in_all_feeds_and_repaired(pulled, runner):
    newest, *rest = [int(post) for post in pulled.world.truth(pulled.readers[0])]
    post = pulled.post()
    pulled.settle()
    put_list(authored.key(pulled.author), newest, *rest, 0)

    assert verified(runner) == (1, {verify.MISSING: 3})
    assert verified(runner, "--repair") == (0, {})
    assert elements(authored.key(pulled.author)) == [*map(str, [post, newest, *rest]), "0"]


@pytest.mark.parametrize("mark", ["0", "0:{author},{other}", "0:{other}"])
def test_a_mark_that_names_the_wrong_authors_is_found_and_repaired(pulled, runner, mark):
    key = timeline.feed_key(pulled.readers[0])
    *ids, _ = elements(key)
    put_list(key, *ids, mark.format(author=pulled.author, other=pulled.other))

    assert verify.WRONG_PULLED in verified(runner)[1]
    assert verified(runner, "--repair") == (0, {})
    assert contents(key).pulled == [pulled.author]


def test_a_feed_in_the_middle_of_a_turn_is_not_divergent(crowd, runner, small_steps):
    crowd.step(crowd.begin_turn(), 0)

    assert crowd.state == pulling.PROMOTING
    assert verified(runner) == (0, {})


def test_a_post_of_a_pulled_author_is_explained(pulled, runner):
    assert pulled.is_exact()
    post = pulled.post()
    pulled.settle()

    said = runner.invoke(args=["explain-feed", str(pulled.readers[0]), str(post)]).output

    assert "author is:            pulled" in said
    assert "author's list:        complete, 3 posts" in said
    assert "position:             0 (0 is the newest)" in said
    assert "it belongs into this feed, and the list agrees" in said
