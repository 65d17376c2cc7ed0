"""The relay: nothing leaves the outbox before the broker has it."""

import threading
from time import monotonic

import dramatiq
import pytest
from flask import current_app, g
from sqlalchemy import text

from app.db.engine import POSTS, commit, execute
from app.posts import outbox
from app.users.outbox import OUTBOX as USERS_OUTBOX
from tests.factories import Factory, blocked, eventually
from workers import relay
from workers.background import STOP_SECONDS
from workers.errors import BROKER_UNAVAILABLE
from workers.middleware import WRITTEN_AT


@pytest.fixture
def world(actors):
    return Factory()


def waiting(actor) -> int:
    """Messages on an actor's queue."""
    broker = dramatiq.get_broker()
    if hasattr(broker, "get_queue_message_counts"):
        return broker.get_queue_message_counts(actor.queue_name)[0]
    return broker.do_qsize(actor.queue_name)


def test_an_event_moves_from_the_outbox_to_the_queue(world, actors):
    world.post(world.person())

    moved = relay.relay_batch(dramatiq.get_broker())

    assert moved == 1
    assert world.events() == []
    eventually(lambda: waiting(actors.post_created) == 1, "the message is on the queue")


def test_an_event_that_no_actor_handles_stays_and_blocks_nobody(world):
    outbox.add("something_newer", x=1)
    world.post(world.person())

    moved = relay.relay_batch(dramatiq.get_broker())

    assert moved == 1
    assert [event for _, event, *_ in outbox.lock_batch(["something_newer"], 10)] == ["something_newer"]


def test_events_stay_while_the_broker_is_away(world, make_actors):
    world.post(world.person())
    make_actors(broker_url="amqp://guest:guest@127.0.0.1:1/")

    with pytest.raises(BROKER_UNAVAILABLE):
        relay.relay_batch(dramatiq.get_broker())

    assert [event for event, _ in world.events()] == ["post_created"]


@pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)
def test_events_stay_while_the_broker_is_frozen(world, make_actors, proxied_rabbitmq):
    """Then pika raises an error that is not an AMQPError."""
    proxy, url = proxied_rabbitmq
    world.post(world.person())
    make_actors(broker_url=f"{url}?stack_timeout=1")
    proxy.freeze()

    with pytest.raises(BROKER_UNAVAILABLE):
        relay.relay_batch(dramatiq.get_broker())

    assert [event for event, _ in world.events()] == ["post_created"]


def test_two_relays_never_take_the_same_event(world, app):
    world.post(world.person())
    taken = outbox.lock_batch([outbox.POST_CREATED], 10)
    elsewhere = []

    def take_elsewhere():
        with app.app_context():
            elsewhere.extend(outbox.lock_batch([outbox.POST_CREATED], 10))

    thread = threading.Thread(target=take_elsewhere)
    thread.start()
    thread.join()
    commit()

    assert len(taken) == 1
    assert elsewhere == []


def test_an_event_and_all_that_follows_from_it_carry_the_id_of_the_request(world, actors, make_worker, monkeypatch):
    """From the request to the outbox, the message, and the messages that it leads to."""
    seen = []
    reader, author = world.people(2)
    world.follow(reader, author)
    world.events()
    deliver = actors.deliver_post
    monkeypatch.setattr(actors, "deliver_post", lambda *arguments: (seen.append(g.request_id), deliver(*arguments)))
    g.request_id = "find-me"

    world.post(author)
    g.pop("request_id")
    make_worker()

    eventually(lambda: seen == ["find-me"], "the post is delivered under the id of its request")


def test_an_event_and_a_message_without_a_request_id_are_carried_out(world, actors, make_worker):
    """As they were before there was one."""
    reader, author = world.people(2)
    world.follow(reader, author)
    world.post(author)
    execute(POSTS, text("UPDATE outbox SET request_id = NULL"))
    commit()

    make_worker()

    eventually(lambda: len(world.feed(reader)) == 2, "the post is in the feed")


def test_the_arguments_of_a_message_are_what_they_were(world):
    """An older worker takes it: the id is among the options, which it ignores."""
    g.request_id = "find-me"
    world.post(world.person())

    (row,) = outbox.lock_batch([outbox.POST_CREATED], 10)

    assert (row.event, set(row.payload), row.request_id) == ("post_created", {"post_id", "author_id"}, "find-me")


def test_events_that_say_the_same_are_sent_once_with_the_time_of_the_oldest(world, actors, monkeypatch):
    reader, other = world.people(2)
    for follower in (reader, other, reader, reader):
        outbox.add(outbox.FOLLOWS_CHANGED, follower_id=follower)
        commit()
    oldest = outbox.lock_batch([outbox.FOLLOWS_CHANGED], 1)[0].written_at
    commit()
    sent = []
    monkeypatch.setattr(type(actors.follows_changed), "send_with_options", lambda _, **options: sent.append(options))

    moved = relay.relay_batch(dramatiq.get_broker())

    assert moved == 4
    assert [message["kwargs"]["follower_id"] for message in sent] == [reader, other]
    assert sent[0][WRITTEN_AT] == oldest
    assert world.events() == []


# --- waking -----------------------------------------------------------------------------------------------

LONG, SOON = 40.0, 20.0  # a poll that comes too late for a test that waits for less


@pytest.fixture
def without_polls(monkeypatch):
    monkeypatch.setattr(relay, "POLL_SECONDS", LONG)
    monkeypatch.setattr(relay, "REPLY_SECONDS", LONG + 1)
    yield
    monkeypatch.undo()
    for each in (outbox.OUTBOX, USERS_OUTBOX):  # ends the waits
        each.wakeup.send()


@pytest.fixture
def run_relay():
    """Runs a relay in a thread."""
    stopping, threads = threading.Event(), []

    def run():
        broker = dramatiq.get_broker()
        threads.append(
            threading.Thread(target=relay.run_relay, args=(current_app._get_current_object(), broker, stopping))
        )
        threads[-1].start()
        return stopping

    yield run
    stopping.set()
    for thread in threads:
        outbox.OUTBOX.wakeup.send()  # ends its wait
        thread.join(LONG + 1)


def test_a_commit_wakes_the_relay(world, make_worker, without_polls):
    make_worker()
    reader, author = world.people(2)
    world.follow(reader, author)
    eventually(lambda: world.feed(reader) == [0], "the follow has been handled")

    post = world.post(author)

    eventually(lambda: world.feed(reader) == [post, 0], "the post is in the feed", SOON)


def test_a_commit_between_the_look_and_the_wait_wakes_the_relay(world, actors, without_polls, run_relay, monkeypatch):
    author, wait = world.person(), relay._wait

    def commit_first(*arguments):
        monkeypatch.setattr(relay, "_wait", wait)
        with make_context():
            world.post(author)
        wait(*arguments)

    make_context = current_app._get_current_object().app_context
    monkeypatch.setattr(relay, "_wait", commit_first)
    run_relay()

    eventually(lambda: relay._wait is wait, "the relay has looked")
    eventually(lambda: outbox.size() == 0, "the event has left the outbox", SOON)


def test_an_event_whose_wake_up_was_lost_is_found_by_a_poll(world, actors, run_relay):
    run_relay()
    eventually(blocked, "the relay waits")

    execute(POSTS, text("INSERT INTO outbox (event, payload) VALUES ('post_edited', '{\"post_id\": 1}')"))
    commit()

    eventually(lambda: outbox.size() == 0, "the event has left the outbox", SOON)


@pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)
@pytest.mark.parametrize("failure", ["refuse", "freeze"])
def test_events_are_relayed_without_redis(make_actors, behind, redis_server_url, run_relay, failure):
    proxy, url = behind(redis_server_url)
    make_actors(redis_url=url, redis_timeout_ms=1000)
    world = Factory()
    author = world.person()
    world.post(author)
    run_relay()
    eventually(lambda: outbox.size() == 0, "the queue is declared")

    getattr(proxy, failure)()
    for _ in range(3):
        world.post(author)
        eventually(lambda: outbox.size() == 0, "the event has left the outbox", SOON)
    proxy.restore()


def test_a_relay_that_stops_handles_the_wake_up_that_it_took(world, actors, run_relay, monkeypatch):
    author, wait = world.person(), relay._wait
    make_context = current_app._get_current_object().app_context

    def stop_meanwhile(outbox_, client_, stopping):
        with make_context():
            world.post(author)
        wait(outbox_, client_, stopping)
        stopping.set()

    monkeypatch.setattr(relay, "_wait", stop_meanwhile)
    stopping = run_relay()

    eventually(lambda: stopping.is_set() and outbox.size() == 0, "the event has left the outbox", SOON)


def test_a_waiting_relay_stops_before_it_is_given_up(world, actors, make_worker):
    worker = make_worker()
    eventually(blocked, "the relay waits")
    started = monotonic()

    worker.stop()

    assert monotonic() - started < STOP_SECONDS


def test_the_relay_goes_on_when_its_connection_is_lost(world, make_worker):
    make_worker()
    reader, author = world.people(2)
    world.follow(reader, author)
    eventually(lambda: world.feed(reader) == [0], "the follow has been handled")

    world.end_other_connections()
    post = world.post(author)

    eventually(lambda: world.feed(reader) == [post, 0], "the post is in the feed")
