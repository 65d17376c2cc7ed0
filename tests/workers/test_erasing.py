"""A deleted account on real brokers: nothing of the user is left in any store."""

import dramatiq
import pytest
from sqlalchemy import text

from app.auth import revoked_tokens
from app.db.engine import POSTS, USERS, commit, execute
from app.feed import erase
from app.feed.cache import post_bodies
from app.feed.maintenance import verify
from app.feed.rebuild import rebuild
from app.posts import outbox as posts_outbox
from app.posts import service as posts
from app.redis.client import client
from app.users import accounts, cached_names, known_addresses
from app.users import outbox as users_outbox
from tests.factories import Factory, eventually
from tests.workers.test_dead_letters import bury, kill
from workers.dead_letters import open_queue

TOMBSTONES = {(USERS, "token_generations"), (POSTS, "gone_users")}


@pytest.fixture
def world(actors, monkeypatch):
    monkeypatch.setattr(actors, "FORGET_DELAY", 500)
    monkeypatch.setattr(erase, "BATCH", 2)
    monkeypatch.setattr(erase, "POSTS_BATCH", 2)
    return Factory()


@pytest.fixture
def ann(world):
    """Ann has posts, follows both ways, a feed, cached bodies, and a known address."""
    ann, *others = world.people(4)
    for other in others:
        world.follow(other, ann)
        world.follow(ann, other)
        world.post(other)
    posts.block(others[0], ann)
    mine = [world.post(ann) for _ in range(5)]
    posts.delete(mine[0], ann)
    posts.edit(mine[1], ann, "edited")
    for user_id in (ann, *others):
        rebuild(user_id)
    post_bodies.fill(mine)
    cached_names.names_as_json([ann])
    known_addresses.remember(ann, "192.0.2.1")
    return ann, mine, others


def rows_naming(ids):
    """(database, table) of each row of both databases that holds one of these ids, anywhere."""
    found = []
    for bind in (USERS, POSTS):
        tables = execute(bind, text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        for table in tables:
            rows = execute(bind, text(f"SELECT CAST(t AS text) FROM {table} t")).scalars()
            found += [(bind, table) for row in rows if any(str(i) in row for i in ids)]
    commit()
    return set(found)


def keys_naming(ids):
    """All keys that hold one of these ids, in the name or the content."""
    found = []
    for key in client().scan_iter("*"):
        content = {
            b"string": lambda key: client().get(key),
            b"list": lambda key: client().lrange(key, 0, -1),
            b"hash": lambda key: client().hgetall(key),
            b"set": lambda key: client().smembers(key),
            b"zset": lambda key: client().zrange(key, 0, -1),
            b"stream": lambda key: client().xrange(key),
            b"none": lambda key: None,  # it has just expired
        }[client().type(key)](key)
        if any(str(i) in f"{key} {content}" for i in ids):
            found.append(key.decode())
    return sorted(found)


def letters_naming(ids):
    with open_queue(dramatiq.get_broker()) as dead:
        letters = [letter for queue in ("feed", "rebuild", "bulk", "warm") for letter in dead.letters(queue)]
    return [letter for letter in letters if any(str(i).encode() in letter.body for i in ids)]


def is_quiet():
    sizes = posts_outbox.size() + users_outbox.OUTBOX.size()
    commit()
    return sizes == 0


def test_nothing_of_a_deleted_user_is_left_but_the_id_of_the_tombstones(ann, make_worker, monkeypatch):
    user_id, post_ids, others = ann
    ids = [user_id, *post_ids]
    before = rows_naming(ids), keys_naming(ids)
    monkeypatch.setattr(post_bodies, "GONE_SECONDS", 1)
    make_worker()

    accounts.delete_for_operator(user_id)

    eventually(lambda: rows_naming(ids) == TOMBSTONES and is_quiet(), "only the tombstones are left in SQL", 60)
    eventually(lambda: keys_naming(ids) == [revoked_tokens.REVOKED_KEY], "only the revocation is left in Redis", 60)
    *_, report = verify.verify(others, recheck_seconds=0)
    assert len(before[0]) >= 4
    assert len(before[1]) >= 8
    assert report.divergent == {}
    assert letters_naming(ids) == []


def test_dead_letters_that_name_the_user_or_a_post_go_and_others_stay(ann, actors, make_worker, monkeypatch):
    user_id, post_ids, others = ann
    forget, forgotten = erase.forget, []
    monkeypatch.setattr(erase, "forget", lambda user_id: (forget(user_id), forgotten.append(user_id)))
    broker = dramatiq.get_broker()
    kill(broker, actors.deliver, "push", post_ids[2], others[0], others)
    kill(broker, actors.follows_changed, follower_id=user_id)
    kill(broker, actors.warm, "run", [*others, user_id])
    kept = kill(broker, actors.post_edited, post_id=others[0])
    bury(broker, actors.warm.queue_name, b"not a message, and names %d" % user_id)
    before = len(letters_naming([user_id, *post_ids]))

    accounts.delete_for_operator(user_id)
    make_worker()

    # A look at the letters would hide them from the worker.
    eventually(lambda: len(forgotten) == 2, "the user was forgotten, and once more", 90)
    assert (before, letters_naming([user_id, *post_ids])) == (4, [])
    assert [letter.id for letter in letters_naming(others)] == [kept]
