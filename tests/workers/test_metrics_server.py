"""The workers' /metrics: shared gauges, also while some sources are unavailable."""

import socket
import threading
from contextlib import ExitStack, closing
from time import monotonic
from urllib.parse import urlsplit
from urllib.request import urlopen

import dramatiq
import pytest
from flask import current_app
from prometheus_client.parser import text_string_to_metric_families

from app.db.engine import POSTS
from app.feed.maintenance import counts
from app.feed.rebuild import rebuild
from local.ports import free_port
from tests.factories import Factory, eventually
from tests.tools.proxy import Proxy
from tests.workers.conftest import load_actors
from workers import metrics_server
from workers.metrics_server import (
    MAX_CONNECTIONS,
    SILENCE_SECONDS,
    SharedGaugeCollector,
    run_scrape,
)

DEADLINE_SECONDS = 6.0

rabbitmq_only = pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)


@pytest.fixture(autouse=True)
def _deadline(monkeypatch):
    """Give what is not away the time that it takes on a busy machine."""
    monkeypatch.setattr(metrics_server, "DEADLINE_SECONDS", DEADLINE_SECONDS)


@pytest.fixture
def world(actors):
    return Factory()


@pytest.fixture
def app_of_actors(actors):
    return current_app._get_current_object()


def collected(app):
    """Return the samples of shared gauges, by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in SharedGaugeCollector(app, dramatiq.get_broker()).collect()
        for sample in family.samples
    }


def scraped(port):
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert answer.status == 200
        families = text_string_to_metric_families(answer.read().decode())
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


@pytest.fixture
def serve():
    """Serve an application's metrics on its port, like a worker. Returns a function that stops it, and waits."""
    running = []

    def serve(app):
        stopping = threading.Event()
        thread = threading.Thread(target=run_scrape, args=(app, dramatiq.get_broker(), stopping))
        thread.start()

        def stop():
            stopping.set()
            thread.join()

        running.append(stop)
        return stop

    yield serve
    for stop in running:
        stop()


def answers(port):
    try:
        return bool(scraped(port))
    except OSError:
        return False


def test_it_tells_of_the_outbox_the_queues_and_the_feeds(world, actors, app_of_actors):
    reader, author = world.people(2)
    world.follow(reader, author)
    world.post(author)
    rebuild(reader)
    counts.count_feeds()
    actors.follows_changed.send(reader)

    eventually(
        lambda: collected(app_of_actors)["lenta_queue_messages", "rebuild", "ready"] == 1, "it waits in the queue"
    )
    found = collected(app_of_actors)

    assert found["lenta_outbox_rows",] == 2
    assert 0 < found["lenta_outbox_oldest_seconds",] < 30
    assert found["lenta_queue_messages", "rebuild", "dead"] == 0
    assert found["lenta_feeds_cached",] == 1
    assert found["lenta_feed_bytes",] > 50
    assert found["lenta_redis_used_bytes",] > 100_000
    assert {found["lenta_scrape_errors", source] for source in ("outbox", "redis", "queues")} == {0}


def test_it_tells_what_verify_feeds_found(world, app_of_actors):
    rebuild(world.person())
    assert ("lenta_verify_checked",) not in collected(app_of_actors)

    app_of_actors.test_cli_runner().invoke(args=["verify-feeds"])

    found = collected(app_of_actors)
    names = ("checked", "divergent", "repaired", "cold", "full")
    assert [found[f"lenta_verify_{name}",] for name in names] == [1, 0, 0, 0, 1]
    assert found["lenta_verify_timestamp_seconds",] > 1.7e9


GONE = {"outbox": "lenta_outbox_rows", "redis": "lenta_redis_used_bytes", "queues": "lenta_queue_messages"}


@pytest.fixture
def behind_proxies(make_app, redis_url, broker_url, databases):
    """Provide an application behind proxies, its actors, and the proxies by source."""
    urls = {"outbox": databases[POSTS], "redis": redis_url, "queues": broker_url}
    proxies = {name: Proxy(urlsplit(url).hostname, urlsplit(url).port or 5432) for name, url in urls.items()}
    through = {
        name: urlsplit(url)
        ._replace(netloc=f"{urlsplit(url).netloc.rpartition('@')[0]}@127.0.0.1:{proxies[name].port}".removeprefix("@"))
        .geturl()
        for name, url in urls.items()
    }
    app = make_app(
        posts_database_url=through["outbox"],
        redis_url=through["redis"],
        broker_url=through["queues"],
        metrics_port=free_port(),
    )
    with app.app_context():
        load_actors(app)
        yield app, proxies
    for proxy in proxies.values():
        proxy.close()


@rabbitmq_only
@pytest.mark.parametrize("failure", ["refuse", "freeze"])
@pytest.mark.parametrize("away", GONE)
def test_what_is_away_is_left_out_and_said_and_the_rest_is_told_in_time(behind_proxies, serve, away, failure):
    app, proxies = behind_proxies
    port = app.extensions["settings"].metrics_port
    serve(app)
    eventually(lambda: answers(port), "the metrics are shown")
    assert {name for name, *_ in scraped(port)} >= set(GONE.values())

    getattr(proxies[away], failure)()
    started = monotonic()
    found = scraped(port)
    took = monotonic() - started
    proxies[away].restore()

    names = {name for name, *_ in found}
    assert GONE[away] not in names
    assert names >= {GONE[source] for source in GONE if source != away} | {"lenta_messages_total"}
    assert {source: found["lenta_scrape_errors", source] for source in GONE} == {s: float(s == away) for s in GONE}
    assert took < DEADLINE_SECONDS + 4
    eventually(lambda: scraped(port)["lenta_scrape_errors", away] == 0, "it is told again when it is back")


@rabbitmq_only
def test_the_first_process_answers_for_all_and_the_next_takes_over(make_app, actors, serve):
    port = free_port()
    app = make_app(metrics_port=port)
    stop_first = serve(app)
    eventually(lambda: answers(port), "the first answers")
    serve(app)

    stop_first()

    eventually(lambda: answers(port), "the second has taken over")


@rabbitmq_only
def test_clients_that_say_nothing_take_a_few_threads_and_not_for_long(make_app, actors, serve):
    port = free_port()
    serve(make_app(metrics_port=port))
    eventually(lambda: answers(port), "the metrics are shown")
    before = threading.active_count()

    with ExitStack() as stack:
        silent = [stack.enter_context(closing(connect(port))) for _ in range(3 * MAX_CONNECTIONS)]
        assert threading.active_count() <= before + MAX_CONNECTIONS
        assert silent[-1].recv(1) == b""
        eventually(lambda: answers(port), "the metrics are shown again", SILENCE_SECONDS + 15)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)  # a full backlog drops the first tries
