"""Live events over HTTP: what a client shows is what `GET /post/feed` says."""

import os
import signal

from app.auth.tokens import VerifiedToken, issue_token
from app.feed.live import log
from app.feed.live.log import Place
from app.feed.live.subscription import MAX_PENDING, SSE, Message, Subscription
from app.posts import service as posts
from app.redis.client import client
from tests.factories import eventually
from tests.tools.live import LiveReader


def shows(reader: LiveReader, *texts: str) -> None:
    eventually(lambda: sorted(reader.posts.values()) == sorted(texts), f"the client shows {texts}: {reader.posts}")


def test_a_client_shows_the_feed_without_reading_it_again(service, live, world):
    reader, author, other = world.people(3)
    world.follow(reader, author)
    web = service()
    client_ = live(web, reader)

    first = world.post(author, "first")
    shows(client_, "first")
    second = world.post(author, "second")
    posts.edit(first, author, "edited")
    shows(client_, "edited", "second")
    posts.delete(second, author)
    shows(client_, "edited")

    assert client_.pages == 1
    world.follow(reader, other)
    eventually(lambda: client_.count("changed"), "a follow makes it read its page")
    assert client_.pages == 2
    assert sorted(name for name, _ in client_.seen) == ["changed", "deleted", "edited", "posted", "posted"]


def test_a_client_that_comes_back_gets_what_it_missed(service, live, world):
    reader, author = world.people(2)
    world.follow(reader, author)
    web = service()
    before = live(web, reader)
    world.post(author, "seen")
    shows(before, "seen")
    before.close()

    world.post(author, "missed")
    after = live(web, reader, before=before)

    shows(after, "seen", "missed")
    assert after.pages == 0


def test_a_client_of_a_lost_log_reads_its_page_again(service, live, world, app):
    reader, author = world.people(2)
    world.follow(reader, author)
    client_ = live(service(), reader)

    client().delete(log.LOG_KEY, log.LISTENING_KEY)
    world.post(author, "in between")

    eventually(lambda: client_.count("reset") == 1, "it is told")
    shows(client_, "in between")


def test_a_log_out_ends_the_connection_and_says_why(service, live, world):
    reader = world.person()
    web = service()
    client_ = live(web, reader)

    assert web.call("POST", "/logout", client_.token)[0] == 200

    eventually(lambda: ("end", {"reason": "token_revoked"}) in client_.seen, "it is told")
    eventually(lambda: client_.status == 401, "it may not come back")


def test_a_stop_sends_clients_away_and_they_miss_nothing(service, live, world):
    reader, author = world.people(2)
    world.follow(reader, author)
    web = service(web_workers=1)
    client_ = live(web, reader)
    [child] = web.children()

    os.kill(child, signal.SIGTERM)  # gunicorn starts another
    world.post(author, "in between")

    eventually(lambda: ("end", {"reason": "restart"}) in client_.seen, "it is told")
    shows(client_, "in between")
    assert client_.pages == 1


def test_above_its_limit_a_process_refuses_and_says_when_to_come_again(service, live, world):
    reader, other = world.people(2)
    web = service(live_connections=1)
    live(web, reader)

    status, body, headers = web.get("/post/feed/live", issue_token(other))

    assert (status, body["code"]) == (503, 1010)
    assert int(headers["Retry-After"]) >= 1


def test_a_client_that_does_not_read_is_reset_not_kept():
    start = Place("5f3a9c1e", "0-0")
    subscription = Subscription(VerifiedToken(1, 2**40, "token", 0), SSE, start, lambda: start)

    for number in range(MAX_PENDING + 1):
        subscription.put(Message(Place(subscription.start.token, f"{number}-0"), "posted", b"{}"))

    [message] = subscription.take(0)
    assert (message.name, message.place.entry_id) == ("reset", f"{MAX_PENDING}-0")


def test_a_place_that_is_none_is_refused(client_of, world):
    response = client_of(world.person()).get("/post/feed/live?after=12")

    assert response.status_code == 400
    assert response.json["errors"] == {"after": ["Must be the id of an event."]}
