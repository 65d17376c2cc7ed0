"""docker-compose.yml in operation: rights, logs, outages, alerts. Each test leaves all running."""

import json
import re
import subprocess
from contextlib import suppress
from datetime import datetime

import pytest

from tests.factories import eventually
from tests.system.compose.project import Person, Project, last_before_gap
from tests.tools.processes import ROOT

OURS = ("web", "worker", "worker-bulk")
GRAPH = "".join(f"{person} {(person + 3 * step) % 40}\n" for person in range(40) for step in (1, 2, 3))


def test_a_post_reaches_the_feed(author: Person, reader: Person) -> None:
    post = author.post("Hello")

    eventually(lambda: post in reader.feed(), "the post in the feed")


def test_a_checkout_that_only_its_owner_reads_is_read_by_all_servers(project: Project) -> None:
    assert project.psql("lenta_posts", "SELECT count(*) FROM alembic_version") == "1"
    assert "quorum" in project.execute("rabbitmq", "rabbitmqctl", "--quiet", "list_queues", "type")
    assert project.ask_prometheus("rules")["groups"]
    assert set(project.running()) == {*OURS, "postgres", "rabbitmq", "redis", "prometheus", "grafana"}


@pytest.mark.parametrize("service", OURS)
def test_a_container_of_ours_has_no_rights_and_writes_only_to_tmp(project: Project, service: str) -> None:
    status = project.execute(service, "cat", "/proc/self/status")
    assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)

    for path in ("/lenta/x", "/opt/venv/x", "/etc/x"):
        with pytest.raises(subprocess.CalledProcessError, match="non-zero"):
            project.execute(service, "sh", "-c", f"echo > {path}")
    project.execute(service, "sh", "-c", "echo > /tmp/x")


def test_the_image_holds_the_service_its_bytecode_and_no_secret(project: Project) -> None:
    bytecode = "import json, os, wsgi; print(os.path.exists(json.__cached__), os.path.exists(wsgi.__cached__))"

    named = re.findall("^!(.+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(project.execute("web", "ls", "-A", "/lenta").split()) == {*named, "__pycache__"}
    for secret in project.secrets:
        project.execute("web", "sh", "-c", f"! grep -rqF {secret} /lenta /opt/venv")
        assert secret not in project.run("docker", "history", "--no-trunc", project.name)
    assert project.execute("web", "python", "-c", bytecode).endswith("True True\n")


def test_the_webs_log_is_json(project: Project) -> None:
    lines = project.compose("logs", "--no-log-prefix", "web").splitlines()

    assert lines
    for line in lines:
        assert json.loads(line)["level"]


def test_posts_wait_for_a_broker_and_a_new_redis_is_filled(project: Project, author: Person, reader: Person) -> None:
    project.compose("stop", "rabbitmq")
    post = author.post("Later")
    project.compose("start", "rabbitmq")
    eventually(lambda: post in reader.feed(), "the post in the feed", seconds=120)

    project.compose("restart", "redis")

    eventually(lambda: post in reader.feed(), "the post in the feed")
    assert " 0 divergent" in project.execute("web", "flask", "--app", "wsgi", "verify-feeds")


def test_a_worker_that_dies_is_started_again(project: Project, author: Person, reader: Person) -> None:
    restarts = project.state("worker")["RestartCount"]

    with suppress(subprocess.CalledProcessError):
        project.execute("worker", "sh", "-c", "kill -9 -1")

    eventually(lambda: project.state("worker")["RestartCount"] == restarts + 1, "another start")
    post = author.post("Again")
    eventually(lambda: post in reader.feed(), "the post in the feed")


def test_what_outgrows_the_memory_is_killed_and_the_service_goes_on(project: Project) -> None:
    assert project.state("web")["HostConfig"]["Memory"] == 2**30

    with pytest.raises(subprocess.CalledProcessError, match="137"):
        project.execute("web", "python", "-c", "bytearray(2**31)")

    assert project.call("GET", "/health/ready")["status"] == "ready"


def test_that_no_live_worker_is_left_is_an_alert(project: Project) -> None:
    def scraped() -> dict[str, str]:
        return {
            target["labels"]["job"]: target["health"] for target in project.ask_prometheus("targets")["activeTargets"]
        }

    def is_alert() -> bool:
        alerts = project.ask_prometheus("alerts")["alerts"]
        return "LentaTargetDown" in [alert["labels"]["alertname"] for alert in alerts]

    jobs = ("lenta-web", "lenta-worker", "lenta-worker-bulk")
    eventually(lambda: scraped() == dict.fromkeys(jobs, "up") and not is_alert(), "all is well", seconds=90)

    project.compose("stop", "worker")

    eventually(is_alert, "the alert", seconds=90)
    project.compose("start", "worker")
    eventually(lambda: not is_alert(), "no alert", seconds=90)


# --- docs/compose.md, chapter by chapter --------------------------------------------------------------------


def test_looking_at_it(project: Project) -> None:
    (project.folder / "graph.txt").write_text(GRAPH)

    printed = project.shell("docs/compose.md", "Look")

    assert "Loaded 40 users" in printed


def test_an_upgrade_serves_until_the_web_is_replaced(project: Project, author: Person, reader: Person) -> None:
    before = project.state("web")["Image"]
    with (project.folder / "wsgi.py").open("a") as file:
        file.write("# A newer version.\n")

    with project.watched() as answered:
        project.shell("docs/compose.md", "Upgrade")

    assert project.state("web")["Image"] == project.state("worker")["Image"] != before
    workers_replaced = datetime.fromisoformat(project.state("worker")["State"]["StartedAt"]).timestamp()
    assert (
        last_before_gap(answered) > workers_replaced
    )  # so it was served while the image was built and databases migrated
    post = author.post("Newer")
    eventually(lambda: post in reader.feed(), "the post in the feed")


def test_workers_that_were_scaled_stay_so(project: Project) -> None:
    project.shell("docs/compose.md", "Scale")

    project.compose("up", "-d", "--wait")

    assert project.running()["worker"] == 2


def test_a_backup_is_restored(project: Project, author: Person, reader: Person) -> None:
    kept = author.post("Kept")
    eventually(lambda: kept in reader.feed(), "the post in the feed")
    project.shell("docs/compose.md", "Back up")
    lost = author.post("After the backup")
    eventually(lambda: lost in reader.feed(), "the post in the feed")

    printed = project.shell("docs/compose.md", "Restore")

    assert " 0 divergent" in printed
    assert reader.feed()[0] == kept
    assert (project.folder / "posts.dump").stat().st_mode & 0o077 == 0


def test_no_registry_is_asked_for_what_is_built_here(project: Project) -> None:
    project.compose("pull", *OURS, "migrate", "postgres", "rabbitmq", "prometheus", "grafana")


def test_postgres_without_the_posts_is_unhealthy_until_they_are_made(
    project: Project, author: Person, reader: Person
) -> None:
    project.compose("stop", *OURS)  # a first start has not come to them
    project.psql("lenta_users", "DROP DATABASE lenta_posts WITH (FORCE)")
    eventually(lambda: project.state("postgres")["State"]["Health"]["Status"] == "unhealthy", "PostgreSQL's health", 60)

    project.shell("docs/compose.md", "When it does not start")

    reader.follow(author)
    post = author.post("The first")
    eventually(lambda: reader.feed() == [post], "the post in the feed")


def test_down_takes_all_of_it_down_and_up_finds_the_data(project: Project, reader: Person) -> None:
    before = reader.feed()

    project.shell("docs/compose.md", "Take down")

    left = ("--filter", f"label=com.docker.compose.project={project.name}", "--quiet")
    assert project.run("docker", "ps", "--all", *left) == project.run("docker", "network", "ls", *left) == ""
    project.compose("up", "-d", "--wait")
    eventually(lambda: reader.feed() == before, "the feed as it was")
