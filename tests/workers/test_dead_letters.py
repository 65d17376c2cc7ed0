"""The command dead-letters, on both brokers: listing loses nothing, replayed messages are handled."""

import json
import subprocess
import sys

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import xq_name

from app.feed.cache import timeline
from app.feed.rebuild import rebuild_for_message
from tests.factories import Factory, eventually
from tests.tools.processes import ROOT
from workers import dead_letters, queues
from workers.cli import commands
from workers.errors import BROKER_UNAVAILABLE

GARBAGE = b"\xff not a message"


@pytest.fixture
def world(actors):
    return Factory()


@pytest.fixture
def broker(actors):
    """Provide the broker of the actors; a command creates another."""
    return dramatiq.get_broker()


@pytest.fixture
def run(actors, broker):
    """Runs the command on the application of the actors."""
    app = broker.middleware[0]._app
    commands.init_app(app)

    def run(*arguments, exit_code=0):
        result = app.test_cli_runner().invoke(args=["dead-letters", *arguments])
        dramatiq.set_broker(broker)
        assert result.exit_code == exit_code, result.output
        return result

    return run


def dead(broker, queue="rebuild"):
    return queues.depths(broker)[queue].dead


def kill(broker, actor, *args, **kwargs):
    """A message among the dead letters, as it comes there: with all its tries behind it. Returns its id."""
    message = actor.message_with_options(
        args=args, kwargs=kwargs, retries=11, traceback="Traceback: it failed", request_id="find-me"
    )
    bury(broker, actor.queue_name, message.encode(), message.message_id)
    return message.message_id


def bury(broker, queue_name, body, id_="garbage"):
    """Put a body among the dead letters of a queue."""
    if isinstance(broker, RabbitmqBroker):
        broker.declare_queue(queue_name, ensure=True)
        broker.channel.basic_publish("", xq_name(queue_name), body)
    else:
        key = f"{broker.namespace}:{queue_name}.XQ"
        broker.client.hset(f"{key}.msgs", id_, body)
        broker.client.zadd(key, {id_: 1_800_000_000_000 + broker.client.zcard(key)})


def test_what_is_dead_is_listed_and_stays(actors, broker, run):
    first = kill(broker, actors.follows_changed, 1)
    second = kill(broker, actors.warm, "run", [1, 2])

    for _ in range(2):
        listed = json.loads(run("list", "--json").output)

    assert [(letter["id"], letter["queue"], letter["actor"], letter["retries"]) for letter in listed] == [
        (first, "rebuild", "follows_changed", 11),
        (second, "warm", "warm", 11),
    ]
    assert (dead(broker, "rebuild"), dead(broker, "warm")) == (1, 1)


def test_listing_one_queue_leaves_out_the_others(actors, broker, run):
    kill(broker, actors.follows_changed, 1)
    bulk = kill(broker, actors.deliver_bulk, timeline.PUSH, 1, 2, [3])

    listed = json.loads(run("list", "--queue", "bulk", "--json").output)

    assert [letter["id"] for letter in listed] == [bulk]


def test_more_than_the_limit_is_counted(actors, broker, run):
    oldest, *_ = [kill(broker, actors.follows_changed, number) for number in range(5)]

    output = run("list", "--limit", "1").output

    assert oldest in output
    assert "and 4 more" in output


def test_a_message_is_shown_with_its_arguments_and_what_it_failed_with(actors, broker, run):
    message_id = kill(broker, actors.deliver, timeline.PUSH, 5, 6, follower_ids=[7])

    shown = json.loads(run("show", message_id, "--json").output)

    assert (shown["args"], shown["kwargs"]) == ([timeline.PUSH, 5, 6], {"follower_ids": [7]})
    assert (shown["traceback"], shown["request_id"]) == ("Traceback: it failed", "find-me")
    assert "Traceback: it failed" in run("show", message_id).output


def test_what_cannot_be_parsed_is_listed_and_shown_as_it_is(actors, broker, run):
    bury(broker, actors.deliver.queue_name, GARBAGE)

    [letter] = json.loads(run("list", "--json").output)

    assert letter["id"].startswith("unreadable-")
    assert "cannot be parsed" in letter["problem"]
    assert "\\xff not a message" in run("show", letter["id"]).output


def test_a_replayed_message_is_carried_out_and_leaves_the_dead_letters(world, actors, broker, run, make_worker):
    reader = world.person()
    message_id = kill(broker, actors.follows_changed, reader)

    output = run("replay", message_id).output

    assert "1 replayed" in output
    assert dead(broker) == 0
    make_worker()
    eventually(lambda: world.feed(reader) == [0], "the message was carried out")


def test_a_replayed_message_has_all_its_tries_before_it(world, actors, broker, run, make_worker, monkeypatch):
    """A message that keeps its retry count would fail permanently at the first failure."""
    reader = world.person()
    tries = []

    def fail_once(user_id, message_id):
        tries.append(user_id)
        if len(tries) == 1:
            raise ConnectionError
        return rebuild_for_message(user_id, message_id)

    monkeypatch.setattr(actors, "rebuild_for_message", fail_once)
    run("replay", kill(broker, actors.follows_changed, reader))

    make_worker()

    eventually(lambda: world.feed(reader) == [0], "it was tried again")
    assert dead(broker) == 0


def test_replaying_one_leaves_the_others_dead(actors, broker, run):
    kill(broker, actors.follows_changed, 1)
    wanted = kill(broker, actors.follows_changed, 2)
    kill(broker, actors.follows_changed, 3)

    run("replay", wanted)

    depth = queues.depths(broker)["rebuild"]
    assert (depth.ready, depth.dead) == (1, 2)


def test_replaying_all_leaves_what_would_be_dead_again_and_says_why(actors, broker, run):
    good = [kill(broker, actors.follows_changed, 1), kill(broker, actors.warm, "run", [2])]
    kill(broker, actors.deliver, "too", "few")
    bury(broker, actors.deliver.queue_name, GARBAGE)
    unknown = actors.follows_changed.message(1).copy(actor_name="of_another_version")
    bury(broker, actors.deliver.queue_name, unknown.encode(), "unknown")

    result = run("replay", "--all", exit_code=1)

    assert f"{len(good)} replayed" in result.output
    for reason in ("does not accept its arguments", "cannot be parsed", "no actor 'of_another_version'"):
        assert reason in result.output
    assert [dead(broker, queue) for queue in ("feed", "rebuild", "warm")] == [3, 0, 0]


def test_asking_for_a_message_that_is_not_there_is_an_error(actors, broker, run):
    for command in ("show", "replay", "drop"):
        assert "no dead letter nothing" in run(command, "nothing", exit_code=1).output


@pytest.mark.parametrize("arguments", [[], ["--all", "some-id"]])
def test_replaying_takes_ids_or_all(run, arguments):
    assert "--all" in run("replay", *arguments, exit_code=2).output


def test_a_dropped_message_is_gone_and_the_others_stay(actors, broker, run):
    bury(broker, actors.deliver.queue_name, GARBAGE)
    kill(broker, actors.follows_changed, 1)
    unreadable = next(letter["id"] for letter in json.loads(run("list", "--json").output) if letter["problem"])

    run("drop", unreadable)

    assert dead(broker) == 1
    assert unreadable not in run("list").output


def test_dying_while_looking_loses_nothing(actors, broker):
    """Not by an error, which closes the connection: by the death of the process."""
    for number in range(5):
        kill(broker, actors.follows_changed, number)
    look_and_die = f"""
import os, sys
from app.factory import create_app
from app.settings import Settings
from workers import dead_letters
from workers.broker import make_broker
settings = Settings(**{vars(broker.middleware[0]._app.extensions["settings"])!r})
with dead_letters.open_queue(make_broker(create_app(settings), settings)) as box:
    print(len(list(box.letters("rebuild"))), flush=True)
    os._exit(9)
"""

    died = subprocess.run([sys.executable, "-c", look_and_die], cwd=ROOT, capture_output=True, text=True)

    assert (died.returncode, died.stdout.strip()) == (9, "5"), died.stderr
    eventually(lambda: dead(broker) == 5, "all are there")


def test_what_the_broker_did_not_confirm_stays_dead(actors, broker, monkeypatch):
    """The copy comes first, and its confirmation."""
    kill(broker, actors.follows_changed, 1)
    monkeypatch.setattr(broker, "enqueue", lambda message: (_ for _ in ()).throw(BROKER_UNAVAILABLE[0]("away")))

    with pytest.raises(BROKER_UNAVAILABLE), dead_letters.open_queue(broker) as box:
        dead_letters.replay(broker, box, next(box.letters("rebuild")))

    eventually(lambda: dead(broker) == 1, "it is still dead")


def test_a_broker_that_is_away_is_said_in_one_line(make_app, broker_url):
    app = make_app(broker_url=f"{broker_url.split(':')[0]}://127.0.0.1:1/")
    commands.init_app(app)

    with app.app_context():
        result = app.test_cli_runner().invoke(args=["dead-letters", "list"])

    assert result.exit_code == 1
    assert "broker unavailable" in result.output
    assert "Traceback" not in result.output
