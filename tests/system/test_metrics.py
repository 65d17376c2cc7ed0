"""Metrics as Prometheus sees them: a real web, a real worker, the dashboard, the alerts, and Prometheus itself."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from app.auth.tokens import issue_token
from app.db.engine import db
from app.factory import create_app
from app.redis.client import close
from app.settings import Settings
from local.ports import free_port
from tests.conftest import RUN, clean, unless_there
from tests.factories import Factory, eventually
from tests.system.test_end_to_end import drop_queues
from tests.tools import check_prometheus_queries
from tests.tools.processes import ROOT, Process, Web, start_worker

PROMETHEUS = ROOT / "deploy" / "prometheus"
SCRAPE_SECONDS = 2.0  # the worker asks RabbitMQ for its queues at each
LEFT = "lenta-metrics-1-1"  # the folder of a service that has ended: process 1 began at another time

# Series added by Prometheus.
OF_PROMETHEUS = {"up": {"job", "instance"}}
OF_TARGETS = {"job", "instance"}


@dataclass
class Service:
    app: Flask
    web: Web
    worker: Process
    metrics_port: int
    folder: Path  # for temporary files of the web and the worker

    def token(self, user_id: int) -> str:
        with self.app.app_context():
            return issue_token(user_id)

    def of_web(self) -> list[Sample]:
        return scrape(self.web.port)

    def of_worker(self) -> list[Sample]:
        return scrape(self.metrics_port)


def scrape(port: int) -> list[Sample]:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float:
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@pytest.fixture(scope="module")
def service(_migrated: Settings, rabbitmq_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start two web and two worker processes, with an author's new post."""
    folder = tmp_path_factory.mktemp("metrics")
    settings = replace(
        _migrated,
        broker_url=rabbitmq_url,
        broker_namespace=f"lenta-metrics-{RUN}",
        port=free_port(),
        metrics_port=free_port(),
        web_workers=2,
    )
    app = create_app(settings)
    clean(app)
    with app.app_context():
        author, *readers = Factory().people(6)
        for reader in readers:
            Factory().follow(reader, author)
    with ExitStack() as stack:
        stack.callback(end, app, settings)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("TMPDIR", str(folder))
        (folder / LEFT).mkdir()
        web = Web(settings, folder / "web.log")
        stack.callback(web.stop)
        worker = start_worker(settings, folder / "worker.log", "--processes", "2")
        stack.callback(worker.stop)
        made = Service(app, web.wait(), worker, settings.metrics_port, folder)
        use(made, author, readers)
        yield made


def end(app: Flask, settings: Settings) -> None:
    drop_queues(settings.broker_url, settings.broker_namespace)
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()
    close(app)


def use(service: Service, author: int, readers: list[int]) -> None:
    """Have all that the dashboard shows happen once."""
    assert service.web.call("POST", "/post/create", service.token(author), {"text": "hello"})[0] == 200
    for reader in readers:
        assert service.web.get("/post/feed", service.token(reader))[0] == 200
    eventually(
        lambda: value(service.of_worker(), "lenta_delivery_lag_seconds_count") >= 6, "follows and post are delivered"
    )
    with service.app.app_context():
        assert service.app.test_cli_runner().invoke(args=["verify-feeds"]).exit_code == 0
    eventually(lambda: has(service.of_worker(), "lenta_feeds_cached"), "the feeds are counted")
    eventually(lambda: all(reads(service) >= len(readers) for _ in range(16)), "each web process shows all reads")


def reads(service: Service) -> float:
    return value(service.of_web(), "lenta_http_requests_total", route="/post/feed")


def has(samples: list[Sample], name: str) -> bool:
    return any(sample.name == name for sample in samples)


def queries() -> list[check_prometheus_queries.Query]:
    return check_prometheus_queries.panels() + check_prometheus_queries.alerts()


def named(expression: str) -> dict[str, set[str]]:
    """The metrics of a query, each with the labels that it selects by."""
    found: dict[str, set[str]] = {}
    for metric, selector in re.findall(r"\b(lenta_\w+|up)\b(\{[^}]*\})?", expression):
        found.setdefault(metric, set()).update(re.findall(r"(\w+)\s*(?:=|!)", selector))
    return found


def grouped(expression: str) -> set[str]:
    """The labels that a query groups by."""
    return {label for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", labels)}


def test_the_web_counts_for_all_its_processes(service):
    asked = 0
    for pid in service.web.children():
        while not handled(service, pid):
            ask_at_once(service, 16)
            asked += 16
            assert asked < 10_000, "one of them gets nothing to do"

    eventually(
        lambda: value(service.of_web(), "lenta_http_requests_total", route="/openapi.json") == asked,
        "the scraped process shows the metrics of both",
    )
    assert value(service.of_web(), "lenta_http_request_seconds_count", route="/openapi.json") == asked


def ask_at_once(service: Service, times: int) -> None:
    """On several connections: one after the other may all go to the same process."""
    with ThreadPoolExecutor(8) as pool:
        assert all(status == 200 for status, *_ in pool.map(service.web.get, ["/openapi.json"] * times))


def handled(service: Service, pid: int) -> bool:
    """Whether a process of the web has counted a request."""
    return any("/openapi.json" in file.read_text() for file in service.folder.glob(f"lenta-metrics-*/{pid}-*.json"))


def test_a_web_process_that_died_has_counted_all_the_same(service):
    before = reads(service)
    assert before >= 5
    dead, *_ = service.web.children()

    subprocess.run(["kill", "-9", str(dead)], check=True)
    eventually(lambda: dead not in service.web.children() and len(service.web.children()) == 2, "there is another")

    eventually(lambda: answers(service), "the web answers")
    assert reads(service) >= before
    assert list(service.folder.glob(f"lenta-metrics-*/{dead}-*")) == []


def test_processes_that_replace_all_others_go_on_counting(service):
    before = reads(service)
    replaced = set(service.web.children())

    service.web.send(signal.SIGHUP)
    eventually(lambda: not replaced & set(service.web.children()), "all are replaced")

    eventually(lambda: answers(service), "the web answers")
    assert reads(service) >= before
    assert not any(list(service.folder.glob(f"lenta-metrics-*/{pid}-*")) for pid in replaced)


def test_two_services_on_one_machine_count_apart(service):
    assert not has(service.of_web(), "lenta_messages_total")
    assert not has(service.of_worker(), "lenta_http_requests_total")
    assert len(list(service.folder.glob("lenta-metrics-*"))) == 2


def test_the_folder_of_a_service_that_has_ended_is_removed(service):
    assert not (service.folder / LEFT).exists()


def test_a_folder_that_is_removed_is_made_again_and_nothing_is_lost(service):
    def pages() -> float:
        return value(service.of_web(), "lenta_http_requests_total", route="/post/feed")

    def messages() -> float:
        return value(service.of_worker(), "lenta_messages_total", result="done")

    before = pages(), messages()

    for folder in service.folder.glob("lenta-metrics-*"):
        shutil.rmtree(folder)

    eventually(lambda: pages() >= before[0], "the web shows everything")
    eventually(lambda: messages() >= before[1], "so does the worker")


def answers(service: Service) -> bool:
    try:
        return bool(service.of_web())
    except OSError:
        return False


def test_the_lag_of_a_post_is_observed_from_the_request_to_the_worker(service):
    before = value(service.of_worker(), "lenta_deliveries_total", op="push")
    lags = value(service.of_worker(), "lenta_delivery_lag_seconds_count")
    with service.app.app_context():
        author, reader = Factory().people(2)
        Factory().follow(reader, author)

    assert service.web.call("POST", "/post/create", service.token(author), {"text": "hello"})[0] == 200

    eventually(lambda: value(service.of_worker(), "lenta_deliveries_total", op="push") == before + 1, "it is delivered")
    eventually(lambda: value(service.of_worker(), "lenta_delivery_lag_seconds_count") == lags + 2, "so is the follow")
    assert value(service.of_worker(), "lenta_messages_total", actor="post_created", result="done") > 0


def test_every_metric_and_label_of_a_query_is_there(service):
    there: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for sample in service.of_web() + service.of_worker():
        there.setdefault(sample.name, set()).update(sample.labels)

    wrong = []
    for query in queries():
        metrics = named(query.expression)
        labels = {label for metric in metrics for label in there.get(metric, set())}
        assert metrics, query
        wrong += [
            (query.place, metric, selected)
            for metric, selected in metrics.items()
            if metric not in there or not selected <= there[metric] | OF_TARGETS
        ]
        wrong += [(query.place, "by", label) for label in grouped(query.expression) - labels - OF_TARGETS]

    assert wrong == []


def test_prometheus_understands_every_query_and_finds_what_it_asks_for(service, tmp_path):
    unless_there("prometheus", "prometheus")
    port = free_port()
    jobs = {"lenta-web": service.web.port, "lenta-worker": service.metrics_port}
    config = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms", "evaluation_interval": "1s"}
        | {"scrape_timeout": f"{SCRAPE_SECONDS * 1000:.0f}ms"},
        "rule_files": [str(PROMETHEUS / "alerts.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{at}"]}]} for job, at in jobs.items()
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    url = f"http://127.0.0.1:{port}"
    command = ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    with (tmp_path / "log").open("w") as log:
        prometheus = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        eventually(lambda: wrong(url) == [], f"all queries return what they must: {tmp_path / 'log'}", 90)
        firing = check_prometheus_queries.ask(url, 'ALERTS{alertstate="firing"}', "1m")
    finally:
        prometheus.terminate()
        prometheus.wait(20)

    assert firing == []


def wrong(url: str) -> list[Any] | None:
    try:
        return [
            (query.place, problem)
            for query, _, problem in check_prometheus_queries.evaluate(url, "10s", strict=False)
            if problem
        ]
    except OSError:
        return None


def test_prometheus_accepts_the_rules_and_the_configuration():
    unless_there("promtool", "prometheus")

    for arguments in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]):
        done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_fire_when_they_must_and_only_then():
    unless_there("promtool", "prometheus")

    done = subprocess.run(
        ["promtool", "test", "rules", "alerts.test.yml"], cwd=PROMETHEUS, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_is_wrong_and_where_it_is_told_what_to_do():
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    told = re.findall(r"^#+ (\w+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)

    for rule in (rule for group in groups for rule in group["rules"]):
        annotations = rule["annotations"]
        assert annotations.keys() == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["alert"] in told
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_alert_is_tested():
    tests = (PROMETHEUS / "alerts.test.yml").read_text()

    for query in check_prometheus_queries.alerts():
        assert f"alertname: {query.place}}}" in tests or f"alertname: {query.place}," in tests
        assert f'alertname="{query.place}"' in tests


def test_panels_do_not_overlap_and_take_prometheus_from_the_variable():
    dashboard = json.loads(check_prometheus_queries.DASHBOARD.read_text())
    taken = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(taken) == len(set(taken))
    assert all(x < 24 for x, _ in taken)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert {p["datasource"]["uid"] for p in dashboard["panels"] if "targets" in p} == {"${datasource}"}
    assert [v["name"] for v in dashboard["templating"]["list"]] == ["datasource"]
