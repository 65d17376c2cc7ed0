"""A Redis that went back in time is noticed, and nothing in it is trusted."""

from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.auth import revoked_tokens
from app.db.engine import POSTS, commit, execute
from app.db.identity import of_posts
from app.feed.cache import post_bodies, timeline
from app.feed.cache.timeline import PUSH
from app.feed.deliver import deliver
from app.feed.maintenance import failover, lost_steps, trust, warm
from app.feed.read import CACHE, DATABASE, REBUILT, read_page
from app.feed.rebuild import rebuild
from app.posts import gone, suspensions
from app.redis.client import client, primaries, replication_ids
from app.users import accounts
from app.users.outbox import OUTBOX as USERS_OUTBOX
from tests.conftest import empty
from tests.factories import Factory, eventually, ids_of
from tests.tools.redis_server import RedisServer


@pytest.fixture
def reader(world):
    """Create a reader and build the feed, on a trusted Redis."""
    reader, author = world.people(2)
    world.follow(reader, author)
    failover.check()
    client().delete(f"warm:asked:{replication_ids()}")
    world.events()
    rebuild(reader)
    post_bodies.refresh([1])
    return reader


def test_a_redis_that_is_the_same_is_left_alone(world, reader):
    assert not failover.check()

    assert world.feed(reader) == [0]
    assert world.events() == []


@pytest.mark.parametrize("mark", ["the run id of another server", None])
def test_a_redis_from_elsewhere_is_emptied_and_warming_asked_for(world, reader, mark):
    lease = timeline.HOME.acquire(reader)
    if mark:
        client().set(trust.TRUSTED_KEY, mark)
    else:
        client().delete(trust.TRUSTED_KEY)

    assert failover.check()

    assert world.feed(reader) == []
    assert world.body(1) is None
    assert not timeline.HOME.commit(reader, lease, [])
    assert [event for event, _ in world.events()] == ["warm_requested"]
    assert not failover.check()


def test_one_takes_care_and_the_others_wait(world, reader):
    client().delete(trust.TRUSTED_KEY)
    client().set(trust.lock_key(primaries()), 1)

    assert not failover.check()

    assert world.feed(reader) == [0]


def test_feeds_that_a_check_drops_after_warming_are_warmed_again(world, reader):
    client().delete(trust.TRUSTED_KEY)
    assert warm.request_once("before")

    assert failover.check()

    assert [event for event, _ in world.events()] == ["warm_requested"] * 2


def test_start_asks_for_warming_once_and_only_if_there_is_no_feed(world, reader):
    assert not failover.warm_if_empty()

    timeline.HOME.evict([reader])

    assert failover.warm_if_empty()
    assert not failover.warm_if_empty()
    assert [event for event, _ in world.events()] == ["warm_requested"]


def test_start_on_a_new_redis_leaves_nothing_for_the_watch_to_drop(world, reader):
    empty(client())

    assert failover.warm_if_empty()

    assert not failover.check()
    assert not failover.warm_if_empty()
    assert [event for event, _ in world.events()] == ["warm_requested"]


def test_start_while_a_check_is_under_way_leaves_it_to_the_check(world, reader):
    empty(client())
    client().set(trust.lock_key(primaries()), 1)

    assert not failover.warm_if_empty()

    assert world.events() == []


def test_a_check_that_died_half_way_is_made_again(world, reader, monkeypatch):
    client().delete(trust.TRUSTED_KEY)
    monkeypatch.setattr(warm, "request_once", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failover.check()
    monkeypatch.undo()

    assert failover.check()

    assert [event for event, _ in world.events()] == ["warm_requested"]


@pytest.mark.parametrize(("name", "notice"), [("invalidate-feeds", ""), ("distrust-feeds", "now called")])
def test_invalidated_feeds_are_dropped_at_the_next_check(app, runner, world, name, notice):
    reader, author = world.people(2)
    world.follow(reader, author)
    failover.check()
    rebuild(reader)

    result = runner.invoke(args=[name])
    found = failover.check()

    assert result.exit_code == 0
    assert notice in result.stderr
    assert bool(notice) == bool(result.stderr)
    assert found
    assert timeline.ids_of([reader]) == [[]]


def test_a_drop_that_is_overtaken_by_invalidation_is_made_again(world, reader, monkeypatch):
    client().delete(trust.TRUSTED_KEY)
    request_once = warm.request_once

    def invalidate_first(*arguments, **options):
        failover.invalidate_all()
        return request_once(*arguments, **options)

    monkeypatch.setattr(warm, "request_once", invalidate_first)
    assert failover.check()
    monkeypatch.undo()
    rebuild(reader)

    assert failover.check()

    assert world.feed(reader) == []


def test_a_server_that_replaced_another_is_dropped_by_each_process_that_saw_it(make_app, world, reader):
    """The feeds may have been dropped before its last write to the other server."""
    late = make_app()
    with late.app_context():
        assert not failover.check()
        late.extensions["redis_trust"].servers = {"the server before"}

        assert failover.check()
        assert not failover.check()

    assert world.feed(reader) == []


@pytest.fixture
def elsewhere(reader):
    """Say that the feeds were written beside another history of SQL."""
    mark, sql = client().get(trust.TRUSTED_KEY).decode(), of_posts().current()
    assert sql in mark.split()
    client().set(trust.TRUSTED_KEY, mark.replace(sql, f"{sql[:-8]}00000000"))
    return reader


def test_feeds_of_another_timeline_of_sql_are_dropped_and_warmed(world, elsewhere):
    assert failover.check()

    assert world.feed(elsewhere) == []
    assert world.body(1) is None
    assert [event for event, _ in world.events()] == ["warm_requested"]
    assert not failover.check()


@pytest.fixture
def forgetful(world, reader):
    """Let the posts database forget a deletion, a suspension and a restore. Returns the three users."""
    deleted, hidden, shown = world.people(3)
    accounts.delete_for_operator(deleted)
    accounts.suspend(hidden)
    suspensions.insert(shown)
    commit()
    users_events()
    return deleted, hidden, shown


def users_events():
    rows = USERS_OUTBOX.lock_batch(USERS_OUTBOX.events, 100)
    USERS_OUTBOX.delete([row.id for row in rows])
    commit()
    return {(row.event, row.payload["user_id"]) for row in rows}


def test_what_another_timeline_of_sql_forgot_is_requested_again(world, forgetful, elsewhere, caplog):
    deleted, hidden, shown = forgetful

    assert failover.check()

    wanted = {("user_deleted", deleted), ("suspension_changed", hidden), ("suspension_changed", shown)}
    assert users_events() == wanted
    assert "requested again: 1 deletions of accounts, 2 suspensions" in caplog.text


@pytest.mark.parametrize("left", ["a follow", "a post", "nothing"])
def test_an_erasure_is_requested_again_only_if_it_has_left_something(world, forgetful, elsewhere, left):
    deleted, hidden, _ = forgetful
    gone.bury(deleted)
    if left == "a follow":
        execute(POSTS, text("INSERT INTO follows VALUES (:hidden, :gone)"), {"hidden": hidden, "gone": deleted})
    elif left == "a post":
        execute(POSTS, text("INSERT INTO posts (author_id, text) VALUES (:gone, '')"), {"gone": deleted})
    commit()

    assert failover.check()

    assert (("user_deleted", deleted) in users_events()) == (left != "nothing")


def test_where_only_redis_is_another_nothing_is_requested_again(world, forgetful):
    client().set(trust.TRUSTED_KEY, f"another {of_posts().current()}")
    client().set(revoked_tokens.MARK_KEY, "as before")

    assert failover.check()

    assert users_events() == set()
    assert client().get(revoked_tokens.MARK_KEY) == b"as before"


def test_beside_another_timeline_of_sql_revocations_are_read_again(world, elsewhere):
    client().set(revoked_tokens.MARK_KEY, "as before")

    assert failover.check()

    assert client().get(revoked_tokens.MARK_KEY) is None


def test_while_the_users_database_is_unavailable_feeds_are_trusted_and_requests_wait(
    world, forgetful, elsewhere, monkeypatch
):
    def fail():
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(lost_steps.store, "select_suspended", fail)
    assert failover.check()
    assert trust.is_trusted()
    assert [event for event, _ in world.events()] == ["warm_requested"]
    monkeypatch.undo()

    assert not failover.check()
    assert len(users_events()) == 3
    assert not failover.check()
    assert users_events() == set()


def test_pages_beside_another_timeline_of_sql_come_from_sql(world, elsewhere, monkeypatch):
    monkeypatch.setattr(trust, "DISTRUST_SECONDS", 0)
    trust.compare()
    before = read_page(elsewhere, 0, 10).source

    failover.check()

    assert (before, read_page(elsewhere, 0, 10).source) == (DATABASE, REBUILT)


def test_a_mark_of_the_version_before_gets_the_identity_of_sql_and_keeps_the_feeds(world, reader):
    client().set(trust.TRUSTED_KEY, replication_ids())

    assert not failover.check()

    assert world.feed(reader) == [0]
    assert of_posts().current() in client().get(trust.TRUSTED_KEY).decode().split()


def test_a_posts_database_that_is_away_changes_nothing(world, reader, monkeypatch):
    before = client().get(trust.TRUSTED_KEY)
    monkeypatch.setattr(of_posts(), "_fetch", lambda: None)

    assert not failover.check()
    trust.compare()

    assert client().get(trust.TRUSTED_KEY) == before
    assert read_page(reader, 0, 10).source == CACHE


def test_an_identity_from_before_a_failover_drops_nothing(world, elsewhere, monkeypatch):
    """Another process has dropped the feeds, and this one has not asked SQL since."""
    true = of_posts().ask()
    client().set(trust.TRUSTED_KEY, f"{replication_ids()} {true}")
    of_posts().known = f"{true[:-8]}00000000"

    assert not failover.check()

    assert world.feed(elsewhere) == [0]


def test_a_page_of_a_redis_that_went_back_comes_from_sql_until_its_feeds_are_dropped(make_app, tmp_path):
    with closing(RedisServer(tmp_path / "redis")) as server:
        app = make_app(redis_url=f"redis://127.0.0.1:{server.port}")
        with app.app_context():
            world = Factory()
            reader, author = world.people(2)
            world.follow(reader, author)
            failover.check()
            rebuild(reader)
            older = world.post(author)
            deliver(PUSH, older, author, [reader])
            dump = server.save()
            newer = world.post(author)
            deliver(PUSH, newer, author, [reader])
            before = read_page(reader, 0, 10)
            server.go_back_to(dump)
            stale = world.feed(reader)  # on another connection
            distrusted = [read_page(reader, 0, 10) for _ in range(2)]
            failover.check()
            eventually(lambda: read_page(reader, 0, 10).source == CACHE, "it is trusted again", 10)
            trusted = read_page(reader, 0, 10)

    assert stale == [older, 0]
    assert [(page.source, ids_of(page)) for page in (before, *distrusted)] == [
        (CACHE, [newer, older]),
        (DATABASE, [newer, older]),
        (DATABASE, [newer, older]),
    ]
    assert ids_of(trusted) == [newer, older]
