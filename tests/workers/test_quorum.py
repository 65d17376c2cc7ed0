"""The queues as quorum queues, where the virtual host's default says so: the actors' rules hold there too."""

import os
import shutil
import subprocess
from urllib.parse import urlsplit

import dramatiq
import pika
import pytest
from dramatiq.common import xq_name

from tests.conftest import RUN
from tests.factories import eventually
from tests.workers.test_actors import (  # noqa: F401 - they are collected here once more, on `broker_url` below
    test_a_failed_message_is_not_lost_when_it_cannot_be_put_back,
    test_a_message_that_cannot_be_parsed_is_dead_and_blocks_nobody,
    test_a_message_that_fails_for_good_leaves_its_feeds_cold,
    test_events_reach_every_feed,
    test_queues_are_durable_and_messages_persistent,
    test_warming_reaches_all_who_follow_somebody,
    world,
)

VHOST = f"lenta-test-{RUN}"


def control(*arguments: str) -> None:
    program = shutil.which("rabbitmqctl") or "/usr/sbin/rabbitmqctl"
    subprocess.run([program, "--quiet", *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def rabbitmq_url(rabbitmq_url):
    """Create a virtual host with quorum queues by default."""
    user = urlsplit(rabbitmq_url).username or "guest"
    try:
        control("add_vhost", VHOST, "--default-queue-type", "quorum")
        control("set_permissions", "-p", VHOST, user, ".*", ".*", ".*")
    except (OSError, subprocess.CalledProcessError) as error:
        message = f"needs rabbitmqctl, and the right to make a virtual host: {error}"
        if os.environ.get("REQUIRE_SERVICES"):
            pytest.fail(message)
        pytest.skip(message)
    yield urlsplit(rabbitmq_url)._replace(path=f"/{VHOST}").geturl()
    control("delete_vhost", VHOST)


@pytest.fixture
def broker_url(rabbitmq_url):
    return rabbitmq_url


def test_every_queue_is_a_quorum_queue(actors):
    actors.follows_changed.send(1)
    channel = dramatiq.get_broker().connection.channel()

    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="'quorum'"):
        channel.queue_declare(
            xq_name(actors.follows_changed.queue_name), durable=True, arguments={"x-queue-type": "classic"}
        )


def test_a_message_that_kills_workers_becomes_a_dead_letter(actors, rabbitmq_url):
    control("set_policy", "-p", VHOST, "limit", ".*", '{"delivery-limit": 3}', "--apply-to", "queues")
    actors.follows_changed.send(1)

    for _ in range(4):
        eventually(lambda: counts(actors)[0] == 1, "it is back in its queue")
        take_and_die(rabbitmq_url, actors.follows_changed.queue_name)

    eventually(lambda: counts(actors) == (0, 0, 1), "it is among the dead letters")
    control("clear_policy", "-p", VHOST, "limit")


def take_and_die(url: str, queue: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().basic_get(queue)


def counts(actors) -> tuple[int, int, int]:
    return dramatiq.get_broker().get_queue_message_counts(actors.follows_changed.queue_name)
