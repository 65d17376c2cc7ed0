"""Requests and reads of feeds are counted, and shown at /metrics."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.feed.deliver import deliver, timeline
from app.feed.rebuild import rebuild
from app.observability import metrics
from tests.factories import Factory

DOCUMENTED = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", re.MULTILINE)


def value(app, sample, **labels):
    """A sample as /metrics shows it; 0 where it is not there yet."""
    page = app.test_client().get("/metrics").text
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    return sum(s.value for s in samples if s.name == sample and s.labels == labels)


@pytest.fixture
def moved(app):
    """By how much samples have moved since the test began."""

    class Moved:
        def __init__(self):
            self._before = app.test_client().get("/metrics").text

        def by(self, sample, **labels):
            before = [s for f in text_string_to_metric_families(self._before) for s in f.samples]
            return value(app, sample, **labels) - sum(
                s.value for s in before if s.name == sample and s.labels == labels
            )

    return Moved()


def test_it_is_shown_in_the_text_format_of_prometheus(app):
    answer = app.test_client().get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE lenta_http_requests_total counter" in answer.text


def test_requests_count_by_method_route_and_status(app, moved, client_of, world):
    reader = client_of(world.person())

    for user_id in ("2125011480165912577", "2125011480165912578", "no-number"):
        reader.get(f"/user/get/{user_id}")

    route = {"method": "GET", "route": "/user/get/<user_id>"}
    assert moved.by("lenta_http_requests_total", **route, status="404") == 2
    assert moved.by("lenta_http_requests_total", **route, status="400") == 1


def test_requests_are_timed_by_route(app, moved):
    app.test_client().get("/health/live")

    assert moved.by("lenta_http_request_seconds_count", route="/health/live") == 1
    assert moved.by("lenta_http_request_seconds_bucket", route="/health/live", le="+Inf") == 1
    assert 0 < moved.by("lenta_http_request_seconds_sum", route="/health/live") < 5


def test_an_error_of_ours_counts_as_one(app, moved, monkeypatch):
    monkeypatch.setitem(app.view_functions, "health.live", lambda: 1 / 0)
    app.view_functions["health.live"].is_public = True

    app.test_client().get("/health/live")

    assert moved.by("lenta_http_requests_total", method="GET", route="/health/live", status="500") == 1


def test_addresses_and_methods_that_clients_invent_make_one_series(app, moved):
    for name in ("a", "b"):
        app.test_client().open(f"/{name}", method=f"{name}LOCK".upper())

    assert moved.by("lenta_http_requests_total", method="other", route="none", status="404") == 2


def test_pages_of_feeds_count_by_where_they_came_from(app, moved, client_of, world, make_app):
    reader = world.person()

    answers = [client_of(reader).get("/post/feed") for _ in range(2)]
    away = make_app(redis_url="redis://127.0.0.1:1/0")
    token = client_of(reader).environ_base["HTTP_X_AUTH"]
    answers.append(away.test_client().get("/post/feed", headers={"X-Auth": token}))

    assert [answer.headers["X-Feed-Source"] for answer in answers] == ["rebuilt", "cache", "database"]
    for source in ("rebuilt", "cache", "database"):
        assert moved.by("lenta_feed_reads_total", source=source) == 1


def test_rebuilds_count_by_what_came_of_them(app, moved, world, monkeypatch):
    reader = world.person()

    rebuild(reader)
    timeline.HOME.acquire(reader)
    rebuild(reader, steal=False)
    monkeypatch.setattr(timeline.HOME, "commit", lambda *_: False)
    rebuild(reader)

    for result in ("done", "skipped", "contended"):
        assert moved.by("lenta_rebuilds_total", result=result) == 1


def test_deliveries_count_feeds(app, moved):
    world = Factory()
    author, *readers = world.people(4)
    for reader in readers:
        world.follow(reader, author)

    post = world.post(author)
    deliver("push", post, author, readers)
    deliver("remove", post, author, readers[:1])

    assert moved.by("lenta_deliveries_total", op="push") == 3
    assert moved.by("lenta_deliveries_total", op="remove") == 1


def test_the_documentation_tells_of_every_metric_and_of_no_other():
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    documented = {
        name: (type_, tuple(re.findall(r"`(\w+)`", labels))) for name, type_, labels in DOCUMENTED.findall(text)
    }

    there = {state.name: ("gauge", state.labels) for state in metrics.SHARED_GAUGES}
    for collector in metrics.REGISTRY._collector_to_names:
        (family,) = collector.describe()
        suffix = "_total" if family.type == "counter" else ""
        there[family.name + suffix] = (family.type, collector._labelnames)

    assert documented == there
