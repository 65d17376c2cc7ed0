"""The erasure of a user who is gone: every feed is exact afterwards, and nothing of the user is left."""

import pytest
from sqlalchemy import event as sql
from sqlalchemy import text

from app.db.engine import POSTS, READS, commit, db, execute
from app.errors import Unauthorized
from app.feed import erase
from app.feed.cache import post_bodies, timeline
from app.feed.maintenance import verify
from app.feed.rebuild import rebuild, rebuild_author
from app.posts import service as posts
from app.redis.client import client
from app.users import accounts, known_addresses, outbox
from tests.app.feed.celebrity import change_settings, contents, elements


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(erase, "BATCH", 2)
    monkeypatch.setattr(erase, "POSTS_BATCH", 2)


@pytest.fixture
def pulled(app, crowd):
    """The author is pulled, and has written one post before and one since."""
    change_settings(app, feed_pull_followers=2)
    for _ in range(2):
        crowd.post()
        crowd.settle()
    assert crowd.state == "pulled"
    return crowd


def relay_users(crowd):
    """Handle the events of the users database, and what they lead to."""
    for row in outbox.OUTBOX.lock_batch(outbox.OUTBOX.events, 100):
        outbox.OUTBOX.delete([row.id])
        commit()
        crowd.handle(row.event, **row.payload)
    crowd.settle()


def delete(crowd, user_id=None):
    accounts.delete_for_operator(user_id or crowd.author)
    relay_users(crowd)


def divergent(user_ids):
    *_, report = verify.verify(user_ids, recheck_seconds=0)
    return report.divergent


def left_in_sql(user_id):
    query = text("""
        SELECT (SELECT count(*) FROM posts WHERE author_id = :id), (SELECT count(*) FROM deleted_posts),
            (SELECT count(*) FROM follows WHERE :id IN (follower_id, followee_id)),
            (SELECT count(*) FROM pulled_authors WHERE author_id = :id), (SELECT count(*) FROM outbox),
            (SELECT count(*) FROM feed_seen WHERE user_id = :id)
    """)
    row = tuple(execute(POSTS, query, {"id": user_id}).one())
    commit()
    return row


def keys_of(*ids):
    return [key for key in client().scan_iter("*") for i in ids if str(i).encode() in key]


def feed(reader):
    return elements(timeline.HOME.key(reader))


def test_all_posts_leave_all_feeds_and_others_stay(crowd):
    other = crowd.world.person()
    for reader in crowd.readers:
        crowd.world.follow(reader, other)
    for _ in range(5):
        crowd.post()
    kept = crowd.post(other)
    crowd.settle()
    for reader in crowd.readers:
        rebuild(reader)

    delete(crowd)

    assert [feed(reader) for reader in crowd.readers] == [[str(kept), "0"]] * len(crowd.readers)
    assert divergent(crowd.readers) == {}
    assert left_in_sql(crowd.author) == (0, 0, 0, 0, 0, 0)


def test_no_feed_is_rebuilt_by_sql(crowd):
    crowd.post()
    crowd.settle()
    for reader in crowd.readers:
        rebuild(reader)
    statements = []
    for bind in (POSTS, READS):
        sql.listen(db.engines[bind], "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    delete(crowd)

    assert statements
    assert [statement for statement in statements if "effective_follows" in statement] == []  # feeds are made of it
    assert [feed(reader) for reader in crowd.readers] == [["0"]] * len(crowd.readers)


def test_nothing_of_the_user_is_left_in_redis(crowd):
    crowd.post()
    crowd.settle()
    crowd.world.follow(crowd.author, crowd.readers[0])
    crowd.settle()
    rebuild(crowd.author)
    rebuild_author(crowd.author)
    post_bodies.fill(crowd.own)
    known_addresses.remember(crowd.author, "192.0.2.1")
    before = keys_of(crowd.author, *crowd.own)

    delete(crowd)

    assert len(before) >= 4
    assert keys_of(crowd.author, *crowd.own) == []


def test_a_pulled_author_leaves_the_marks(pulled):
    for reader in pulled.readers:
        rebuild(reader)
    before = [contents(timeline.HOME.key(reader)).pulled for reader in pulled.readers]

    delete(pulled)

    assert before == [[pulled.author]] * len(pulled.readers)
    assert [feed(reader) for reader in pulled.readers] == [["0"]] * len(pulled.readers)
    assert divergent(pulled.readers) == {}
    assert keys_of(pulled.author) == []
    assert left_in_sql(pulled.author) == (0, 0, 0, 0, 0, 0)


MARKS = {
    "0:12": ["9", "0"],
    "0:12,34": ["9", "0:34"],
    "0:34,12,56": ["9", "0:34,56"],
    "0:123": ["9", "0:123"],
    "0+:12": ["9"],
    "0+:12,34": ["9", "0+:34"],
    "0": ["9", "0"],
}


@pytest.mark.parametrize("mark", MARKS)
def test_the_author_alone_leaves_a_mark(app, mark):
    client().rpush(timeline.HOME.key(1), "9", "8", mark)
    client().expire(timeline.HOME.key(1), 1000)

    timeline.HOME.erase([1], 12, [8])

    assert feed(1) == MARKS[mark]
    assert 990 < client().ttl(timeline.HOME.key(1)) <= 1000


@pytest.mark.parametrize("elements_before", [["8"], ["8", "0+:12"], ["0+:12"], ["8", "0+:34"]])
def test_a_list_that_asserts_nothing_more_becomes_cold(app, elements_before):
    client().rpush(timeline.HOME.key(1), *elements_before)

    timeline.HOME.erase([1], 12, [8])

    assert feed(1) == []


def test_a_rebuild_that_has_read_a_post_cannot_commit_it(crowd):
    post_id, reader = crowd.post(), crowd.readers[0]
    crowd.settle()
    lease = timeline.HOME.acquire(reader)

    delete(crowd)

    assert not timeline.HOME.commit(reader, lease, [post_id])


def test_a_late_push_of_a_post_is_taken_back(crowd):
    crowd.post()
    late = crowd.world.events()
    for reader in crowd.readers:
        rebuild(reader)

    delete(crowd)
    for event, payload in late:
        crowd.handle(event, **payload)
    crowd.settle()

    assert [feed(reader) for reader in crowd.readers] == [["0"]] * len(crowd.readers)


def test_a_post_deleted_before_leaves_the_feeds_though_its_fan_out_comes_after(crowd):
    """The fan-out finds no follower any more, so the erasure must take it over."""
    post_id = crowd.post()
    crowd.settle()
    for reader in crowd.readers:
        rebuild(reader)
    posts.delete(post_id, crowd.author)
    late = crowd.world.events()

    delete(crowd)
    for event, payload in late:
        crowd.handle(event, **payload)

    assert [feed(reader) for reader in crowd.readers] == [["0"]] * len(crowd.readers)


def test_a_deletion_that_was_fanned_out_is_noted_no_more(crowd):
    posts.delete(crowd.post(), crowd.author)
    crowd.settle()

    assert left_in_sql(crowd.author)[1] == 0


def test_a_late_rebuild_leaves_no_feed_of_a_user_who_is_gone(crowd):
    reader = crowd.readers[0]
    delete(crowd, reader)

    rebuild(reader)
    rebuild_author(reader)
    crowd.handle("warm", run="run", user_ids=[reader, *crowd.readers[1:]])

    assert [key for key in keys_of(reader) if b"warm:" not in key] == []
    assert feed(crowd.readers[1]) == ["0"]


def test_each_step_may_come_twice(crowd, bag):
    for _ in range(3):
        crowd.post()
    crowd.settle()
    for reader in crowd.readers:
        rebuild(reader)
    handle = bag.handle
    bag.handle = lambda message: (handle(message), handle(message))

    delete(crowd)

    assert divergent(crowd.readers) == {}
    assert left_in_sql(crowd.author) == (0, 0, 0, 0, 0, 0)


def test_the_mark_of_how_far_the_user_has_read_goes_and_none_comes(crowd):
    post_id, reader = crowd.post(), crowd.readers[0]
    posts.mark_seen(reader, post_id)
    before = left_in_sql(reader)[-1]

    delete(crowd, reader)
    with pytest.raises(Unauthorized):
        posts.mark_seen(reader, post_id)
    db.session.rollback()

    assert before == 1
    assert left_in_sql(reader) == (0, 0, 0, 0, 0, 0)
