"""Settings: one error names every missing or invalid variable."""

import os
import subprocess
import sys
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from app.factory import create_app
from app.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]

REQUIRED = {
    "USERS_DATABASE_URL": "postgresql://lenta:hidden@db/users",
    "POSTS_DATABASE_URL": "postgresql+psycopg2://lenta:hidden@db/posts",
    "REDIS_URL": "redis://:hidden@cache:6379/0",
    "BROKER_URL": "amqp://lenta:hidden@broker/",
    "JWT_SECRET_KEY": "hidden, and of 32 bytes or more.",
}
DEFAULTS = {
    "POSTS_REPLICA_URL": "",
    "JWT_PREVIOUS_SECRET_KEYS": "",
    "JWT_PRIVATE_KEY": "",
    "JWT_PUBLIC_KEY": "",
    "JWT_TTL": 86_400,
    "FEED_CAP": 1000,
    "FEED_TTL": 2_592_000,
    "POST_TTL": 604_800,
    "FEED_FANOUT_BATCH": 2000,
    "FEED_BULK_FOLLOWERS": 10_000,
    "FEED_PULL_FOLLOWERS": 0,
    "FEED_PAGE_BYTES": 1_048_576,
    "BROKER_NAMESPACE": "lenta",
    "REDIS_TIMEOUT_MS": 500,
    "DATABASE_POOL_SIZE": 8,
    "DATABASE_STATEMENT_TIMEOUT_MS": 10_000,
    "DATABASE_LOCK_TIMEOUT_MS": 3_000,
    "HOST": "127.0.0.1",
    "PORT": 8000,
    "WEB_WORKERS": 2,
    "WEB_CONNECTIONS": 2000,
    "LIVE_CONNECTIONS": 1000,
    "HASH_CONCURRENCY": 1,
    "WORKER_NICE": 0,
    "METRICS_HOST": "127.0.0.1",
    "METRICS_PORT": 9191,
    "TRUSTED_PROXIES": 0,
    "LOGIN_RATE_PER_ACCOUNT": "10 per minute",
    "LOGIN_RATE_PER_ADDRESS": "60 per minute",
    "REGISTER_RATE_PER_ADDRESS": "60 per hour",
    "POST_RATE_PER_ACCOUNT": "60 per minute",
    "EDIT_RATE_PER_ACCOUNT": "60 per minute",
    "FOLLOW_RATE_PER_ACCOUNT": "120 per minute",
    "EXPORT_RATE_PER_ACCOUNT": "10 per hour",
    "WEB_CLIENT": "on",
    "CORS_ORIGINS": "",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "auto",
}
KEY = Ed25519PrivateKey.generate()
PRIVATE_KEY = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_KEY = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
OR_NONE = {name for name in DEFAULTS if name.startswith("DATABASE_") and name.endswith("_MS")}  # may be 0
OR_NONE |= {"FEED_PULL_FOLLOWERS", "LIVE_CONNECTIONS", "METRICS_PORT", "TRUSTED_PROXIES", "WORKER_NICE"}
NUMBERS = [name for name, default in DEFAULTS.items() if isinstance(default, int) and name not in OR_NONE]
URLS = [name for name in REQUIRED if name.endswith("_URL")]


def problems(**changes):
    """The lines of the error that the environment leads to."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_env(REQUIRED | changes)
    return str(raised.value).splitlines()


# --- missing -----------------------------------------------------------------------------------------------


def test_every_missing_variable_is_named_in_one_error():
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({})

    lines = str(raised.value).splitlines()
    assert [line.split()[0] for line in lines] == list(REQUIRED)
    assert all("is not set" in line for line in lines)


@pytest.mark.parametrize("variable", REQUIRED)
def test_an_empty_variable_is_a_missing_one(variable):
    lines = problems(**{variable: ""})

    assert len(lines) == 1
    assert lines[0].startswith(f"{variable} is not set")


def test_what_is_missing_and_what_is_bad_are_named_together():
    lines = problems(REDIS_URL="", PORT="high", FEED_CAP="0")

    assert [line.split()[0] for line in lines] == ["REDIS_URL", "FEED_CAP", "PORT"]


def test_an_application_without_settings_is_not_made(monkeypatch):
    for setting in fields(Settings):
        monkeypatch.delenv(setting.name.upper(), raising=False)

    with pytest.raises(SettingsError, match="USERS_DATABASE_URL"):
        create_app()


def test_gunicorn_stops_and_names_each_variable(tmp_path):
    gunicorn = [sys.executable, "-m", "gunicorn", "--check-config", "--config", str(ROOT / "gunicorn.conf.py")]

    done = subprocess.run(
        [*gunicorn, "wsgi:app"], env={"HOME": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert done.returncode != 0
    assert [name for name in REQUIRED if name not in done.stderr] == []
    assert "Traceback" not in done.stderr


# --- bad ---------------------------------------------------------------------------------------------------


def test_no_proxy_is_trusted_unless_it_is_said_how_many():
    assert Settings.from_env(REQUIRED | {"TRUSTED_PROXIES": "0"}).trusted_proxies == 0


def test_no_port_for_metrics_is_opened_where_it_is_0():
    assert Settings.from_env(REQUIRED | {"METRICS_PORT": "0"}).metrics_port == 0


def test_no_client_gets_live_events_where_their_connections_are_0():
    assert Settings.from_env(REQUIRED | {"LIVE_CONNECTIONS": "0"}).live_connections == 0


@pytest.mark.parametrize("variable", [name for name in DEFAULTS if "_RATE_PER_" in name])
def test_a_rate_is_a_number_per_time_or_off(variable):
    for rate in ("off", "5 per minute", "100/hour"):
        assert asdict(Settings.from_env(REQUIRED | {variable: rate}))[variable.lower()] == rate
    for rate in ("often", "5", "5 per blink", "OFF", "-1 per minute"):
        (line,) = problems(**{variable: rate})
        assert line.startswith(f"{variable} must be like ")


@pytest.mark.parametrize(
    "origins", ["example.org", "ftp://a.example", "https://a.example/", "https://a.example,", "null"]
)
def test_what_is_no_origin_is_named(origins):
    (line,) = problems(CORS_ORIGINS=origins)

    assert line.startswith("CORS_ORIGINS must be a comma-separated list of origins")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e3", "ten", " 5", "5 ", "+5", "٣", "1" * 5000])
@pytest.mark.parametrize("variable", NUMBERS)
def test_a_number_is_whole_and_at_least_1(variable, text):
    lines = problems(**{variable: text})

    assert len(lines) == 1
    assert lines[0].startswith(f"{variable} ")


@pytest.mark.parametrize("variable", NUMBERS)
def test_a_number_that_no_clock_or_pool_could_hold_is_named(variable):
    lines = problems(**{variable: "1000000000000"})

    assert len(lines) == 1
    assert lines[0].startswith(f"{variable} ")


@pytest.mark.parametrize(("variable", "most"), [("FEED_CAP", 5000), ("FEED_FANOUT_BATCH", 10_000), ("PORT", 65_535)])
def test_a_number_may_go_to_its_bound_and_not_beyond(variable, most):
    settings = Settings.from_env(REQUIRED | {variable: str(most)})

    assert asdict(settings)[variable.lower()] == most
    assert problems(**{variable: str(most + 1)}) == [
        f"{variable} must be a whole number from 1 to {most}, not '{most + 1}'"
    ]


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("USERS_DATABASE_URL", "mysql://db/users"),
        ("USERS_DATABASE_URL", "sqlite:///users.db"),
        ("USERS_DATABASE_URL", "postgresql+asyncpg://db/users"),
        ("POSTS_DATABASE_URL", "postgres://db/posts"),
        ("POSTS_DATABASE_URL", "db/posts"),
        ("REDIS_URL", "http://cache"),
        ("REDIS_URL", "cache:6379"),
        ("REDIS_URL", "amqp://cache"),
        ("BROKER_URL", "kafka://broker"),
        ("BROKER_URL", "broker"),
        ("BROKER_URL", "amqp://a,kafka://b"),
        ("BROKER_URL", "amqp://a,redis://b"),
        ("BROKER_URL", "amqp://a,"),
        ("POSTS_REPLICA_URL", "mysql://replica/posts"),
    ],
)
def test_a_url_of_another_kind_is_named(variable, url):
    lines = problems(**{variable: url})

    assert len(lines) == 1
    assert lines[0].startswith(f"{variable} must be a URL that starts with ")


@pytest.mark.parametrize("variable", URLS)
def test_a_url_whose_port_is_no_number_is_named(variable):
    scheme = REQUIRED[variable].partition(":")[0]

    lines = problems(**{variable: f"{scheme}://somewhere:port/0"})

    assert len(lines) == 1
    assert lines[0].startswith(f"{variable} ")


@pytest.mark.parametrize(
    ("variable", "url", "problem"),
    [
        ("REDIS_URL", "redis+cluster://:hidden@one:7000,two:port/", "hosts and ports can be read"),
        ("REDIS_URL", "redis+cluster://:hidden@one:7000,:7001/", "hosts and ports can be read"),
        ("REDIS_URL", "redis+cluster://:hidden@one:70000/", "hosts and ports can be read"),
        ("REDIS_URL", "redis+cluster://:hidden@/", "hosts and ports can be read"),
        ("REDIS_URL", "redis+cluster://:hidden@one/3", "must not name a database"),
        ("REDIS_URL", "redis+sentinel://:hidden@one:26379", "must name the service"),
        ("REDIS_URL", "redis+sentinel://:hidden@one:26379/feeds/first", "database by its number"),
        ("BROKER_URL", "redis+cluster://:hidden@one/", "queues cannot be kept on a Redis Cluster"),
        ("BROKER_URL", "rediss+sentinel://:hidden@one/feeds", "behind Sentinels"),
    ],
)
def test_a_url_of_many_servers_that_cannot_be_used_says_why(variable, url, problem):
    [line] = problems(**{variable: url})

    assert line.startswith(f"{variable} must ")
    assert problem in line
    assert "hidden" not in line


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("REDIS_URL", "rediss://cache:6380/1"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("REDIS_URL", "redis+cluster://one:7000,two:7001,[::1]:7002/"),
        ("REDIS_URL", "rediss+cluster://user:hidden@one,two?ssl_ca_certs=/etc/ca.crt"),
        ("REDIS_URL", "redis+sentinel://:hidden@one:26379,two/feeds"),
        ("REDIS_URL", "rediss+sentinel://one,two:26380/feeds/1?sentinel_password=hidden"),
        ("BROKER_URL", "amqps://broker"),
        ("BROKER_URL", "redis://cache/1"),
        ("BROKER_URL", "amqp://lenta:hidden@a:5672/,amqps://lenta:hidden@b"),
    ],
)
def test_other_kinds_of_servers_are_taken(variable, url):
    settings = Settings.from_env(REQUIRED | {variable: url})

    assert asdict(settings)[variable.lower()] == url


def test_a_secret_of_31_bytes_is_too_short_and_one_of_32_is_not():
    settings = Settings.from_env(REQUIRED | {"JWT_SECRET_KEY": "é" * 16})

    assert len(settings.jwt_secret_key.encode()) == 32
    assert problems(JWT_SECRET_KEY="x" * 31) == ["JWT_SECRET_KEY must have at least 32 bytes"]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("JWT_PREVIOUS_SECRET_KEYS", "hidden"),
        ("JWT_PREVIOUS_SECRET_KEYS", "k" * 32 + ","),
        ("JWT_PRIVATE_KEY", "hidden"),
        ("JWT_PRIVATE_KEY", PUBLIC_KEY),
        ("JWT_PUBLIC_KEY", "hidden"),
        ("JWT_PUBLIC_KEY", PRIVATE_KEY),
    ],
)
def test_a_key_that_cannot_be_used_is_named_and_not_shown(variable, text):
    lines = problems(**{variable: text})

    assert len(lines) == 1
    assert lines[0].startswith(f"{variable} must ")
    assert text not in lines[0]


@pytest.mark.parametrize("key", [{"JWT_PRIVATE_KEY": PRIVATE_KEY}, {"JWT_PUBLIC_KEY": PUBLIC_KEY}])
def test_with_a_private_or_a_public_key_no_secret_is_needed(key):
    settings = Settings.from_env(REQUIRED | {"JWT_SECRET_KEY": ""} | key)

    assert settings.jwt_secret_key == ""


@pytest.mark.parametrize("level", ["loud", "INFO!", "5"])
def test_a_log_level_that_is_none_is_named(level):
    lines = problems(LOG_LEVEL=level)

    assert len(lines) == 1
    assert lines[0].startswith("LOG_LEVEL ")


def test_no_error_shows_a_password():
    lines = problems(
        USERS_DATABASE_URL="mysql://lenta:hidden@db/users",
        POSTS_REPLICA_URL="postgresql://lenta:hidden@replica:hidden/posts",
        BROKER_URL="amqp://lenta:hidden@a,amqp://lenta:hidden@b:hidden",
        JWT_SECRET_KEY="hidden",
    )

    assert len(lines) == 4
    assert "hidden" not in "".join(lines)


# --- good --------------------------------------------------------------------------------------------------


def test_the_required_variables_suffice_and_the_others_have_these_defaults():
    settings = Settings.from_env(REQUIRED)

    expected = {name.lower(): value for name, value in (REQUIRED | DEFAULTS).items()}
    assert asdict(settings) == expected


def test_every_variable_is_read():
    numbers = {name: default + 1 for name, default in DEFAULTS.items() if isinstance(default, int)}
    texts = {"BROKER_NAMESPACE": "other", "HOST": "0.0.0.0", "LOG_LEVEL": "debug", "JWT_PREVIOUS_SECRET_KEYS": "k" * 32}
    texts |= {name: "5 per hour" for name in DEFAULTS if "_RATE_" in name}
    texts |= {"METRICS_HOST": "0.0.0.0", "POSTS_REPLICA_URL": "postgresql://replica/posts"}
    texts |= {"CORS_ORIGINS": "https://a.example, http://b.example:8080", "LOG_FORMAT": "text", "WEB_CLIENT": "off"}
    texts |= {"JWT_PRIVATE_KEY": PRIVATE_KEY, "JWT_PUBLIC_KEY": PUBLIC_KEY}

    settings = Settings.from_env({name: str(value) for name, value in (REQUIRED | numbers | texts).items()})

    assert asdict(settings) == {name.lower(): value for name, value in (REQUIRED | numbers | texts).items()}


def test_an_empty_variable_that_has_a_default_takes_it():
    settings = Settings.from_env(REQUIRED | {"FEED_CAP": ""})

    assert settings.feed_cap == 1000


def test_variables_of_others_are_left_alone():
    settings = Settings.from_env(REQUIRED | {"PATH": "/bin", "FEED_CAPACITY": "many"})

    assert settings == Settings.from_env(REQUIRED)


def test_the_environment_of_the_process_is_read_where_none_is_given(monkeypatch):
    for name in DEFAULTS:
        monkeypatch.delenv(name, raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)

    settings = Settings.from_env()

    assert settings == Settings.from_env(REQUIRED)
    assert os.environ["REDIS_URL"] == settings.redis_url


# --- told --------------------------------------------------------------------------------------------------


def documented():
    """The table of docs/configuration.md: the cells beside each variable, without backticks."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    rows = {}
    for line in page.splitlines():
        if line.startswith("| `"):
            name, *cells = (cell.strip().strip("`") for cell in line.strip().strip("|").split("|"))
            if name.replace("_", "").isupper():
                rows[name] = cells
    return rows


def test_the_documentation_names_exactly_the_settings_that_there_are():
    assert list(documented()) == [setting.name.upper() for setting in fields(Settings)]


def test_the_documentation_gives_each_default():
    table = documented()

    wrong = [
        setting.name.upper()
        for setting in fields(Settings)
        if setting.default is not MISSING and str(setting.default) not in table.get(setting.name.upper(), [])
    ]
    assert wrong == []
