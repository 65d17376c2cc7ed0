"""Several RabbitMQ nodes: any of them serves, and one that goes away takes nothing with it."""

import threading
from urllib.parse import urlsplit

import pytest

from app.posts import outbox
from tests.factories import Factory, eventually
from tests.tools.proxy import Proxy
from workers.broker import make_broker

pytestmark = pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)  # the actors' own is not used

DEAD = "amqp://guest:guest@127.0.0.1:{}/"


@pytest.fixture
def nodes(rabbitmq_url):
    """Two ways to RabbitMQ, each a proxy, and the URL of both."""
    parts = urlsplit(rabbitmq_url)
    user = parts.netloc.rpartition("@")[0]
    proxies = [Proxy(parts.hostname or "127.0.0.1", parts.port or 5672) for _ in range(2)]
    yield proxies, ",".join(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}").geturl() for proxy in proxies)
    for proxy in proxies:
        proxy.close()


def test_the_first_node_that_answers_serves(rabbitmq_url, make_actors, make_worker):
    make_actors(broker_url=",".join([*(DEAD.format(port) for port in range(1, 6)), rabbitmq_url]))
    world = Factory()
    author, reader = world.people(2)
    make_worker()

    world.follow(reader, author)
    post = world.post(author)

    eventually(lambda: world.feed(reader) == [post, 0], "the post arrived")


def test_processes_spread_over_the_nodes(make_app, broker_url):
    app = make_app(broker_url="amqp://a,amqp://b")

    firsts = {make_broker(app, app.extensions["settings"]).parameters[0].host for _ in range(64)}

    assert firsts == {"a", "b"}


def test_nothing_is_lost_when_a_node_goes_away_while_messages_flow(nodes, make_actors, make_worker):
    proxies, url = nodes
    make_actors(broker_url=url, feed_fanout_batch=1)
    world = Factory()
    author, *readers = world.people(6)
    for reader in readers:
        world.follow(reader, author)
    make_worker()
    posts = [world.post(author)]
    eventually(lambda: all(world.feed(reader) == [*posts, 0] for reader in readers), "messages flow")

    for away in proxies:
        half_way = threading.Timer(0.05, away.refuse)
        half_way.start()
        try:
            for _ in range(40):
                posts.insert(0, world.post(author))
            half_way.join()
            eventually(lambda: all(world.feed(reader) == [*posts, 0] for reader in readers), "every post arrived", 90)
        finally:
            half_way.join()
            away.restore()  # a worker that cannot put a message back does not stop

    eventually(lambda: outbox.size() == 0, "the relay has seen the last confirm")
