"""The command feed-stats: figures of servers and metrics, and unavailable servers."""

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from time import monotonic

import pytest
from dramatiq import get_broker
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as Counted

from app.db.engine import db
from app.factory import create_app
from app.feed.cache import timeline
from app.feed.invalidate import invalidate_after_failure
from app.feed.maintenance import counts
from app.feed.rebuild import rebuild
from app.redis.client import client, close
from tests.factories import Factory
from tests.tools.chaos.servers import proxy_to, through
from tests.tools.processes import environ_of
from workers.cli import commands, metrics_client

NOWHERE = "http://127.0.0.1:1/metrics"

# As two processes tell it: one of the web, one of the workers.
WEB = """\
# HELP lenta_feed_reads_total Feed pages by source
# TYPE lenta_feed_reads_total counter
lenta_feed_reads_total{source="cache"} 970.0
lenta_feed_reads_total{source="rebuilt"} 20.0
lenta_feed_reads_total{source="database"} 10.0
"""
WORKER = """\
# HELP lenta_delivery_lag_seconds From the commit of a write to when it was in all feeds of a batch
# TYPE lenta_delivery_lag_seconds histogram
lenta_delivery_lag_seconds_bucket{le="0.1"} 50.0
lenta_delivery_lag_seconds_bucket{le="0.2"} 90.0
lenta_delivery_lag_seconds_bucket{le="1.0"} 99.0
lenta_delivery_lag_seconds_bucket{le="+Inf"} 100.0
lenta_delivery_lag_seconds_count 100.0
lenta_delivery_lag_seconds_sum 12.5
"""


@pytest.fixture
def serve():
    """Serve a text over HTTP."""
    servers = []

    def start(text):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/metrics"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def stats(settings, _migrated):
    """Run the command with other settings. Returns its JSON, or with text=True its output."""

    def run(*arguments, text=False, **changes):
        app = create_app(replace(settings, **changes))
        commands.init_app(app)
        with app.app_context():
            result = app.test_cli_runner().invoke(args=["feed-stats", *arguments, *([] if text else ["--json"])])
            for engine in db.engines.values():
                engine.dispose()
        close(app)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output if text else json.loads(result.output)

    return run


def three_feeds(world):
    """Create two readers with warm feeds, one complete, and a third with a cold feed."""
    author, *readers = world.people(4)
    for reader in readers:
        world.follow(reader, author)
    world.posts(author, 5)
    for reader in readers[:2]:
        rebuild(reader)
    client().rpop(timeline.HOME.key(readers[1]))
    world.events()
    return readers


def test_feeds_are_counted_as_cached_complete_and_cold(world, stats):
    three_feeds(world)

    found = stats()

    assert found["readers"] == 3
    feeds = found["feeds"]
    assert (feeds["cached"], feeds["complete"], feeds["cold"], feeds["entries"]) == (2, 1, 1, 10)
    assert feeds["bytes"] > 0
    assert feeds["bytes_per_entry"] == round(feeds["bytes"] / 10, 1)


def test_a_feed_of_somebody_who_follows_nobody_makes_no_other_less_cold(world, stats):
    three_feeds(world)
    rebuild(world.person())

    feeds = stats()["feeds"]

    assert (feeds["cached"], feeds["cold"]) == (3, 1)


def test_a_sample_tells_about_how_many_there_are(world, app):
    for number in range(400):
        client().rpush(timeline.HOME.key(number + 1), 7, 0)
        client().set(f"post:{number}", "something else")

    *_, counted = counts.count(100)

    assert counted.cached == 100
    assert 250 < counted.cached / counted.share < 600


def test_a_sample_of_more_than_there_are_is_exact(world, stats):
    three_feeds(world)

    feeds = stats("--sample", "50")["feeds"]

    assert (feeds["cached"], feeds["sampled"]) == (2, None)


def test_what_waits_in_the_outbox_and_on_the_queues_is_counted(actors, stats, broker_url):
    Factory().post(Factory().person())
    actors.follows_changed.send(1)

    found = stats(broker_url=broker_url, broker_namespace=get_broker().lenta_namespace)

    assert found["outbox"]["rows"] == 1
    assert 0 <= found["outbox"]["oldest_seconds"] < 60
    assert found["queues"]["rebuild"] == {"ready": 1, "delayed": 0, "dead": 0}
    assert set(found["queues"]) == {"feed", "rebuild", "bulk", "warm"}


def test_what_was_given_up_is_counted(world, stats):
    invalidate_after_failure({"follower_id": 1})

    assert stats()["given_up"] == 1


def test_hits_and_lag_come_from_the_metrics_of_all(stats, serve):
    found = stats("--metrics", serve(WEB), "--metrics", serve(WORKER))

    assert found["reads"] == {"total": 1000, "hits": 0.97}
    assert found["lag_seconds"] == pytest.approx({"p50": 0.1, "p95": 0.2 + 0.8 * 5 / 9, "p99": 1.0})


def test_an_endpoint_without_metrics_leaves_unknown_values(stats, serve):
    found = stats("--metrics", NOWHERE, "--metrics", serve("<html>no metrics</html>"))

    assert (found["reads"], found["lag_seconds"]) == (None, None)
    assert NOWHERE in found["away"]
    assert "hits" in stats("--metrics", NOWHERE, text=True)


def test_metrics_of_which_nothing_was_counted_yet_are_no_unknown(stats, serve):
    registry = CollectorRegistry()
    Counted("lenta_feed_reads", "Pages", ["source"], registry=registry)
    Histogram("lenta_delivery_lag_seconds", "Lag", registry=registry)

    output = stats("--metrics", serve(generate_latest(registry).decode()), text=True)

    assert "no reads yet" in output
    assert "no deliveries yet" in output


def test_the_same_metric_of_two_processes_is_added_up():
    both = metrics_client.Scraped()

    metrics_client.add(both, WEB)
    metrics_client.add(both, WEB + WORKER)

    assert both.reads == {"cache": 1940, "rebuilt": 40, "database": 20}
    assert both.lag[inf] == 100


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({1.0: 10, 2.0: 20, inf: 20}, 0.5, 1.0),
        ({1.0: 10, 2.0: 20, inf: 20}, 0.75, 1.5),
        ({1.0: 0, 2.0: 10, inf: 10}, 0.5, 1.5),
        ({1.0: 10, inf: 20}, 0.9, 1.0),
        ({1.0: 0, inf: 0}, 0.5, None),
        ({}, 0.5, None),
    ],
)
def test_a_quantile_is_estimated_as_prometheus_does(buckets, share, expected):
    assert metrics_client.quantile(Counter(buckets), share) == expected


@pytest.mark.parametrize(
    ("setting", "url", "unknown", "known"),
    [
        ("broker_url", "amqp://127.0.0.1:1/", ["queues"], ["readers", "feeds", "outbox", "given_up"]),
        ("redis_url", "redis://127.0.0.1:1/0", ["feeds", "given_up"], ["readers", "outbox"]),
        ("posts_database_url", "postgresql://127.0.0.1:1/x", ["readers", "outbox"], ["feeds", "given_up"]),
    ],
)
def test_what_is_away_is_named_and_the_rest_is_shown(stats, world, setting, url, unknown, known):
    found = stats(**{setting: url})

    assert [found[name] for name in unknown] == [None] * len(unknown)
    assert all(found[name] is not None for name in known)
    assert found["away"]
    assert "unknown" in stats(text=True, **{setting: url})


def test_a_frozen_database_holds_nobody_up(stats, settings):
    proxy = proxy_to(settings.posts_database_url, 5432)
    proxy.freeze()
    started = monotonic()

    found = stats(posts_database_url=through(settings.posts_database_url, proxy))

    assert monotonic() - started < 10
    assert "no reply in time" in found["away"]["posts database"] or "timeout" in found["away"]["posts database"]
    proxy.close()


@pytest.mark.usefixtures("_migrated")
def test_watching_prints_again_and_again_until_it_is_interrupted(settings):
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "feed-stats", "--watch", "0.1", "--json"]
    with subprocess.Popen(command, env=environ_of(settings), stdout=subprocess.PIPE, text=True) as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]

        process.send_signal(signal.SIGINT)

        assert process.wait(10) == 0
    assert all(set(line) == set(lines[0]) for line in lines)


@pytest.mark.usefixtures("_migrated")
def test_watching_by_a_program_prints_whole_tables(settings):
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "feed-stats", "--watch", "0.1"]
    with subprocess.Popen(command, env=environ_of(settings), stdout=subprocess.PIPE, text=True) as process:
        seen = [process.stdout.readline().split()[:1] for _ in range(40)]

        process.send_signal(signal.SIGINT)

        assert process.wait(10) == 0
    assert seen.count(["time"]) > 1
    assert seen.count(["outbox"]) > 1
