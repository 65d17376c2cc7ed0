"""docker-compose.yml and .env.example as written; tests/system/compose has what they do."""

import re
import subprocess
from dataclasses import MISSING, fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
ENV_EXAMPLE = (ROOT / ".env.example").read_text()

OURS = ["migrate", "web", "worker", "worker-bulk"]

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
def test_a_service_of_ours_has_no_more_rights_and_memory_than_it_needs(service):
    definition = SERVICES[service]

    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["mem_limit"] == "${CONTAINER_MEMORY:-1g}"


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_mounts_a_file_of_the_checkout(service):
    assert {volume.partition(":")[0] for volume in SERVICES[service].get("volumes", ())} <= COMPOSE["volumes"].keys()


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - OURS))
def test_a_server_has_no_rights_but_those_to_become_another_user(service):
    definition = SERVICES[service]

    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert set(definition.get("cap_add", ())) <= {"CHOWN", "DAC_READ_SEARCH", "FOWNER", "SETGID", "SETUID"}


def test_docker_compose_1_29_knows_every_section():
    assert all(name in ("services", "volumes") or name.startswith("x-") for name in COMPOSE)


@pytest.mark.parametrize("service", SERVICES)
def test_logs_do_not_fill_the_disk(service):
    assert SERVICES[service]["logging"]["options"].keys() == {"max-size", "max-file"}


def test_all_queues_are_worked_off_by_exactly_one_kind_of_worker():
    from_workers = re.findall(r'queue\("(\w+)"\)', (ROOT / "workers" / "actors.py").read_text())

    consumed = []
    for service in ("worker", "worker-bulk"):
        command = SERVICES[service]["command"]
        consumed += command[command.index("--queues") + 1 : command.index("--processes")]

    assert sorted(consumed) == sorted(f"${{BROKER_NAMESPACE:-lenta}}.{name}" for name in set(from_workers))


def test_observability_is_optional_and_listens_on_localhost_only():
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


def test_every_variable_that_compose_reads_is_in_the_example():
    assert set(VARIABLE.findall(COMPOSE_TEXT)) <= {name for name, _ in examples()}


def test_the_example_names_nothing_that_nobody_reads():
    known = set(VARIABLE.findall(COMPOSE_TEXT)) | REQUIRED_SETTINGS | DEFAULTS.keys() | {"COMPOSE_PROFILES"}

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
