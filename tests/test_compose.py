"""docker-compose.yml and .env.example, as written: no engine is needed."""

import re
import subprocess
from dataclasses import MISSING, fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
ENV_EXAMPLE = (ROOT / ".env.example").read_text()

OURS = ["migrate", "web", "worker", "worker-bulk"]
WITHOUT_HEALTH_CHECK = {
    "migrate",  # ends
    "worker",  # listens to nothing; dramatiq ends when a worker process dies, and is started again
    "worker-bulk",
}

# ${NAME:?message}: compose refuses to start without it.
REQUIRED = r"\$\{[A-Z_]+:\?[^}]+\}"
OPTIONAL = r"\$\{[A-Z_]+:-[^}]*\}"
VARIABLE = re.compile(r"\$\{([A-Z_]+)")
SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|COOKIE|_KEY")

REQUIRED_SETTINGS = {field.name.upper() for field in fields(Settings) if field.default is MISSING}
DEFAULTS = {field.name.upper(): str(field.default) for field in fields(Settings) if field.default is not MISSING}
OPTIONAL_KEYS = {
    *("JWT_PREVIOUS_SECRET_KEYS", "JWT_PRIVATE_KEY", "JWT_PUBLIC_KEY"),
    "GF_SECURITY_ADMIN_PASSWORD",  # Grafana's container refuses to start without it
}
REQUIRED_BY_COMPOSE = {"JWT_SECRET_KEY"}  # elsewhere a private or a public key does as well
SET_BY_IMAGE = {"HOST", "PORT", "METRICS_HOST", "METRICS_PORT"}


def settings_of(service):
    return {name: value for name, value in SERVICES[service]["environment"].items() if value is not None}


def examples():
    """(name, value) of each line of .env.example, those behind a # included."""
    return re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE)


@pytest.mark.parametrize("service", SERVICES)
def test_a_secret_comes_from_the_environment_and_nothing_starts_without_it(service):
    environment = SERVICES[service].get("environment", {})

    for name, value in environment.items():
        if SECRET_NAME.search(name):
            assert re.fullmatch(r"\$\{[A-Z_]+:-\}" if name in OPTIONAL_KEYS else REQUIRED, str(value)), name


@pytest.mark.parametrize("service", SERVICES)
def test_no_url_holds_a_password(service):
    for name, value in SERVICES[service].get("environment", {}).items():
        password = urlsplit(re.sub(REQUIRED, "REQUIRED", re.sub(OPTIONAL, "optional", str(value)))).password
        assert password in (None, "REQUIRED"), name


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_a_health_check_unless_it_ends_or_works_off_a_queue(service):
    assert ("healthcheck" in SERVICES[service]) != (service in WITHOUT_HEALTH_CHECK)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_waits_for_what_it_depends_on_to_be_healthy_or_done(service):
    for dependency, rule in SERVICES[service].get("depends_on", {}).items():
        ends = SERVICES[dependency].get("restart") == "no"
        assert rule["condition"] == ("service_completed_successfully" if ends else "service_healthy")
        assert ends or "healthcheck" in SERVICES[dependency]


@pytest.mark.parametrize("service", OURS)
def test_every_required_setting_is_given(service):
    assert settings_of(service).keys() >= REQUIRED_SETTINGS


@pytest.mark.parametrize("service", OURS)
def test_with_only_the_secrets_filled_in_the_settings_can_be_used(service):
    environment = {
        name: re.sub(OPTIONAL, lambda variable: variable[0].partition(":-")[2][:-1], re.sub(REQUIRED, "5" * 64, value))
        for name, value in settings_of(service).items()
    }

    settings = Settings.from_env(environment)

    assert settings.users_database_url == f"postgresql://lenta:{'5' * 64}@postgres:5432/lenta_users"
    assert settings.broker_url == f"amqp://lenta:{'5' * 64}@rabbitmq:5672/"
    assert settings.feed_cap == Settings.feed_cap


@pytest.mark.parametrize("service", OURS)
def test_every_other_setting_can_be_given_in_the_env_file(service):
    environment = settings_of(service)

    for name in DEFAULTS.keys() - SET_BY_IMAGE - REQUIRED_BY_COMPOSE:
        assert re.fullmatch(rf"\$\{{{name}:-.*\}}", environment[name]), name
    assert environment.keys() <= REQUIRED_SETTINGS | DEFAULTS.keys()


@pytest.mark.parametrize("service", OURS)
def test_our_services_run_with_no_more_rights_than_they_use(service):
    definition = SERVICES[service]

    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert definition["image"] == "lenta"


@pytest.mark.parametrize("service", SERVICES)
def test_logs_do_not_fill_the_disk(service):
    assert SERVICES[service]["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("service", OURS)
def test_a_service_of_ours_that_grows_is_stopped_before_the_servers_are(service):
    assert SERVICES[service]["mem_limit"] == "${CONTAINER_MEMORY:-1g}"


def test_all_queues_are_worked_off_by_exactly_one_kind_of_worker():
    from_workers = re.findall(r'queue\("(\w+)"\)', (ROOT / "workers" / "actors.py").read_text())

    consumed = []
    for service in ("worker", "worker-bulk"):
        command = SERVICES[service]["command"]
        consumed += command[command.index("--queues") + 1 : command.index("--processes")]

    assert sorted(consumed) == sorted(f"${{BROKER_NAMESPACE:-lenta}}.{name}" for name in set(from_workers))


def test_what_watches_the_service_starts_only_when_asked_for_and_listens_on_this_machine_only():
    watching = [name for name, service in SERVICES.items() if "observability" in service.get("profiles", [])]

    assert watching == ["prometheus", "grafana"]
    for name in watching:
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])
    assert all("profiles" not in service for name, service in SERVICES.items() if name not in watching)


def test_grafana_refuses_to_start_without_a_password():
    shell, option, script = SERVICES["grafana"]["entrypoint"]
    script = script.replace("$$", "$").replace("exec /run.sh", "echo started")

    without = subprocess.run([shell, option, script], env={"GF_SECURITY_ADMIN_PASSWORD": ""}, capture_output=True)
    given = subprocess.run([shell, option, script], env={"GF_SECURITY_ADMIN_PASSWORD": "x"}, capture_output=True)

    assert (without.returncode, without.stdout) == (1, b"")
    assert b"GRAFANA_PASSWORD" in without.stderr
    assert given.stdout == b"started\n"


def test_prometheus_looks_for_every_web_and_every_worker_where_the_image_shows_metrics():
    """By name and not by address: --scale makes more of them."""
    jobs = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    image = dict(re.findall(r"(\w+)=(\d+)", (ROOT / "Dockerfile").read_text()))

    found = {name: str(dns["port"]) for job in jobs for dns in job["dns_sd_configs"] for name in dns["names"]}

    workers = {name for name in OURS if name.startswith("worker")}
    assert found == {"web": image["PORT"]} | dict.fromkeys(workers, image["METRICS_PORT"])


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_what_is_mounted_is_there(service):
    for volume in SERVICES[service]["volumes"]:
        if volume.startswith("./"):
            assert (ROOT / volume.partition(":")[0]).is_dir()


def test_every_variable_that_compose_reads_is_in_the_example():
    assert set(VARIABLE.findall(COMPOSE_TEXT)) <= {name for name, _ in examples()}


def test_the_example_names_nothing_that_nobody_reads():
    known = set(VARIABLE.findall(COMPOSE_TEXT)) | REQUIRED_SETTINGS | DEFAULTS.keys()

    assert {name for name, _ in examples()} <= known


def test_a_secret_in_the_example_is_empty():
    secrets = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE_TEXT))

    assert secrets == {"JWT_SECRET_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"}
    for name in secrets:
        assert re.search(rf"^{name}=$", ENV_EXAMPLE, re.MULTILINE), name


def test_a_default_in_the_example_is_the_default():
    in_compose = dict(re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", COMPOSE_TEXT))

    for name, value in examples():
        if name in DEFAULTS:
            assert value == DEFAULTS[name]
        if name in in_compose:
            assert value == in_compose[name]


def test_the_image_takes_in_only_what_is_named():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    for rule in rules[1:]:
        named = rule.startswith("!")
        assert (ROOT / rule[1:]).exists() if named else rule.startswith("**/")
    assert "!.env" not in rules
