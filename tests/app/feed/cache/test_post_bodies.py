"""Bodies: a fill needs its lease, and an edit takes every lease away."""

import json

import pytest

from app.feed import lua
from app.feed.cache import post_bodies
from app.feed.cache.post_bodies import versioned
from app.feed.cache.timeline import PUSH
from app.feed.deliver import deliver
from app.feed.read import read_page
from app.posts import service as posts
from app.redis.client import client

POST = 1


def put(leases, version=1):
    post_bodies.put({POST: versioned(version, b"v%d" % version)}, leases)


def test_a_fill_with_its_lease_is_cached(world):
    leases = post_bodies.acquire([POST], steal=False)

    put(leases)

    assert ([*leases], world.body(POST)) == ([POST], b"v1")


def test_a_lease_is_a_miss_to_readers(world):
    post_bodies.acquire([POST], steal=False)

    assert (post_bodies.cached([POST]), post_bodies.cached_version(POST)) == ([None], None)


@pytest.mark.parametrize("there", ["lease", "body"])
def test_a_reader_leaves_a_lease_and_a_body_alone(world, there):
    first = post_bodies.acquire([POST], steal=False)
    if there == "body":
        put(first)

    second = post_bodies.acquire([POST], steal=False)
    put(second, 2)

    assert second == {}
    assert world.body(POST) == (b"v1" if there == "body" else None)


def test_an_edit_takes_the_lease_of_a_reader(world):
    reader = post_bodies.acquire([POST], steal=False)
    edit = post_bodies.acquire([POST], steal=True)

    put(reader, 1)
    put(edit, 2)

    assert world.body(POST) == b"v2"


def test_an_edit_takes_a_body_away_before_it_reads_sql(world):
    leases = post_bodies.acquire([POST], steal=False)
    put(leases)

    post_bodies.acquire([POST], steal=True)

    assert world.body(POST) is None


def test_a_lease_ends_with_its_put(world):
    leases = post_bodies.acquire([POST], steal=True)
    put(leases, 2)

    put(leases, 1)

    assert world.body(POST) == b"v2"


def test_a_fill_whose_lease_was_evicted_is_refused(world):
    leases = post_bodies.acquire([POST], steal=False)
    client().delete(f"post:{POST}")

    put(leases)

    assert world.body(POST) is None


def test_a_copy_of_its_begin_that_is_late_revives_no_lease(world):
    arguments = ["a token", post_bodies.LEASE_MS, "steal"]
    [lease] = lua.run("begin_body", [([f"post:{POST}"], arguments)])
    edit = post_bodies.acquire([POST], steal=True)
    put(edit, 2)
    lua.run("begin_body", [([f"post:{POST}"], arguments)])

    put({POST: lease}, 1)

    assert world.body(POST) is None


def test_a_lease_expires_so_that_a_reader_that_died_keeps_no_body_away(world):
    post_bodies.acquire([POST], steal=False)

    assert 0 < client().pttl(f"post:{POST}") <= post_bodies.LEASE_MS


def test_a_deleted_post_is_cached_as_deleted(world):
    post_bodies.refresh([POST])

    assert world.body(POST) == b""


def test_an_edit_is_read_at_once_when_its_event_is_handled(world, pair):
    reader, author = pair
    post = world.post(author, "first")
    deliver(PUSH, post, author, [reader])
    post_bodies.refresh([post])
    posts.edit(post, author, "second")

    post_bodies.refresh([post])

    assert [json.loads(body)["text"] for body in read_page(reader, 0, 1).posts] == ["second"]


def test_a_cached_body_is_what_the_post_call_answers(world, pair, client_of):
    reader, author = pair
    post = world.post(author, 'кот "Ñ" \U0001f408 </script>')
    deliver(PUSH, post, author, [reader])

    page = client_of(reader).get("/post/feed")

    assert page.get_json() == [client_of(reader).get(f"/post/get/{post}").get_json()]
