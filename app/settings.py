"""Settings, read from the environment once at start.

A setting's variable is its name in capitals. `Settings.from_env` names every missing or invalid variable in one
error, so that a misconfigured service stops at start and can be fixed in one step.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, cast
from urllib.parse import urlsplit

import limits
from flask import current_app

from app.auth import keys
from app.auth.keys import SECRET_BYTES, Keys
from app.redis.url import parse as parse_redis_url


class SettingsError(Exception):
    """Lists one line per missing or invalid variable."""


def _setting(
    help_: str,
    *,
    default: Any = MISSING,
    schemes: tuple[str, ...] = (),
    minimum: int = 1,
    maximum: int = 2**31 - 1,
    choices: tuple[str, ...] = (),
    check: Callable[[str], object] | None = None,
) -> Any:
    metadata = {
        "help": help_,
        "schemes": schemes,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "check": check,
    }
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


ON, OFF = "on", "off"


def _check_rate(text: str) -> None:
    if text != OFF:
        try:
            limits.parse(text)
        except ValueError as error:
            raise ValueError(f"must be like '10 per minute' or '100/hour', or {OFF}, not {text[:40]!r}") from error


def _check_origins(text: str) -> None:
    for origin in text.split(","):
        parts = urlsplit(origin.strip())
        bare = f"{parts.scheme}://{parts.netloc}"
        if origin.strip() != "*" and (parts.scheme not in ("http", "https") or origin.strip() != bare):
            raise ValueError(
                f"must be a comma-separated list of origins like https://example.org, or *, not {origin[:80]!r}"
            )


def _check_broker(text: str) -> None:
    urls = text.split(",") if text.startswith(AMQP) else [text]
    for url in urls:
        _check_url(url, AMQP if len(urls) > 1 else (*AMQP, *REDIS))


POSTGRESQL = ("postgresql", "postgresql+psycopg2")
AUTO, JSON, TEXT = "auto", "json", "text"
LOG_LEVELS = ("debug", "info", "warning", "error")
REDIS = ("redis", "rediss", "unix")
AMQP = ("amqp", "amqps")
MULTI_NODE_REDIS = ("redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")


@dataclass(frozen=True, kw_only=True)
class Settings:
    users_database_url: str = _setting("PostgreSQL database of users", schemes=POSTGRESQL)
    posts_database_url: str = _setting("PostgreSQL database of posts, follows and the outbox", schemes=POSTGRESQL)
    posts_replica_url: str = _setting(
        "streaming replica of the posts database; read unless it lags", default="", schemes=POSTGRESQL
    )
    redis_url: str = _setting("Redis or Valkey for the feeds", schemes=(*REDIS, *MULTI_NODE_REDIS))
    broker_url: str = _setting(
        "broker: RabbitMQ (amqp://, comma-separated for a cluster) or Redis (redis://)",
        check=_check_broker,
    )
    jwt_secret_key: str = _setting(
        f"key that signs tokens, at least {SECRET_BYTES} bytes", default="", check=keys.check_secret
    )
    jwt_previous_secret_keys: str = _setting(
        "previous signing keys, comma-separated", default="", check=keys.parse_secrets
    )
    jwt_private_key: str = _setting(
        "Ed25519 private key in PEM; signs tokens instead of the secret key", default="", check=keys.parse_private
    )
    jwt_public_key: str = _setting("Ed25519 public keys in PEM; verify tokens", default="", check=keys.parse_public)
    jwt_ttl: int = _setting("lifetime of a token, seconds", default=86_400)
    feed_cap: int = _setting("maximum number of posts in a feed", default=1000, maximum=5000)
    feed_ttl: int = _setting("lifetime of an unread feed, seconds", default=30 * 86_400)
    post_ttl: int = _setting("lifetime of a cached post body, seconds", default=7 * 86_400)
    feed_fanout_batch: int = _setting(
        "followers per delivery message; 1 sends one message per follower", default=2000, maximum=10_000
    )
    feed_bulk_followers: int = _setting("followers above which a fan-out uses the bulk queue", default=10_000)
    feed_pull_followers: int = _setting(
        "followers above which an author is pulled: merged into pages instead of fanned out; 0 disables",
        default=0,
        minimum=0,
    )
    feed_page_bytes: int = _setting(
        "maximum size of a page of posts, bytes; a page has at least one post",
        default=1_048_576,
        minimum=1024,
    )
    broker_namespace: str = _setting("prefix of queue names", default="lenta")
    redis_timeout_ms: int = _setting("timeout of a request for Redis, milliseconds", default=500)
    database_pool_size: int = _setting("connections per pool; a process has three pools", default=8)
    database_statement_timeout_ms: int = _setting(
        "timeout of one statement in a request, milliseconds; commands have none", default=10_000, minimum=0
    )
    database_lock_timeout_ms: int = _setting(
        "timeout of a request for a lock held by another transaction, milliseconds", default=3_000, minimum=0
    )
    host: str = _setting("address gunicorn listens on", default="127.0.0.1")
    port: int = _setting("port gunicorn listens on", default=8000, maximum=65_535)
    web_workers: int = _setting("gunicorn worker processes", default=2)
    web_connections: int = _setting("maximum client connections per gunicorn worker", default=2000, maximum=100_000)
    live_connections: int = _setting(
        "maximum connections for live events per gunicorn worker; 0: none", default=1000, minimum=0, maximum=100_000
    )
    hash_concurrency: int = _setting(
        "concurrent password hashes per process, 64 MiB each; further logins wait", default=1, maximum=64
    )
    worker_nice: int = _setting("niceness of the workers, to let the web go first", default=0, minimum=0, maximum=19)
    metrics_host: str = _setting("address of the workers' metrics", default="127.0.0.1")
    metrics_port: int = _setting("port of the workers' metrics; 0 disables", default=9191, minimum=0, maximum=65_535)
    trusted_proxies: int = _setting(
        "number of proxies in front whose X-Forwarded-For is trusted", default=0, minimum=0, maximum=10
    )
    login_rate_per_account: str = _setting(
        "login attempts per account, counted separately for addresses that have logged in to it; or off",
        default="10 per minute",
        check=_check_rate,
    )
    login_rate_per_address: str = _setting(
        "login attempts per address, or off", default="60 per minute", check=_check_rate
    )
    register_rate_per_address: str = _setting(
        "registrations per address, or off", default="60 per hour", check=_check_rate
    )
    post_rate_per_account: str = _setting(
        "posts written by an account, or off", default="60 per minute", check=_check_rate
    )
    edit_rate_per_account: str = _setting("edits by an account, or off", default="60 per minute", check=_check_rate)
    follow_rate_per_account: str = _setting(
        "follows, unfollows and blocks by an account, or off", default="120 per minute", check=_check_rate
    )
    export_rate_per_account: str = _setting(
        "exports of its data by an account, or off", default="10 per hour", check=_check_rate
    )
    web_client: str = _setting("the web client at /: on or off", default=ON, choices=(ON, OFF))
    cors_origins: str = _setting(
        "allowed CORS origins, comma-separated, or *; none by default", default="", check=_check_origins
    )
    log_level: str = _setting("debug, info, warning or error", default="info", choices=LOG_LEVELS)
    log_format: str = _setting(
        "json, text, or auto: text in a terminal, else json", default=AUTO, choices=(AUTO, JSON, TEXT)
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the environment.

        Raises SettingsError, which names each missing or invalid variable.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        problems = []
        for setting in fields(cls):
            variable = setting.name.upper()
            text = environ.get(variable, "")
            if not text and setting.default is not MISSING:
                continue
            try:
                values[setting.name] = _parse(text, cast(type, setting.type), setting.metadata)
            except ValueError as error:
                problems.append(f"{variable} {error}")
        if not any(environ.get(name) for name in ("JWT_SECRET_KEY", "JWT_PRIVATE_KEY", "JWT_PUBLIC_KEY")):
            problems.append(f"JWT_SECRET_KEY is not set: key that signs tokens, at least {SECRET_BYTES} bytes")
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values)

    def broker_urls(self) -> list[str]:
        """Return the URLs of the RabbitMQ nodes, or of the one Redis."""
        return self.broker_url.split(",") if self.broker_url.startswith(AMQP) else [self.broker_url]

    def keys(self) -> Keys:
        """Return the token keys. Raises SettingsError if none is set."""
        try:
            return Keys.load(
                self.jwt_secret_key, self.jwt_previous_secret_keys, self.jwt_private_key, self.jwt_public_key
            )
        except ValueError as error:
            raise SettingsError(f"JWT_SECRET_KEY, JWT_PRIVATE_KEY, JWT_PUBLIC_KEY: {error}") from error


def _parse(text: str, type_: type, rule: Mapping[str, Any]) -> str | int:
    if not text:
        raise ValueError(f"is not set: {rule['help']}")
    if type_ is int:
        least, most = rule["minimum"], rule["maximum"]
        if not text.isascii() or not text.isdigit() or len(text) > 10 or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}, not {text[:20]!r}")
        return int(text)
    if rule["choices"] and text not in rule["choices"]:
        raise ValueError(f"must be one of {', '.join(rule['choices'])}, not {text!r}")
    if rule["schemes"]:
        _check_url(text, rule["schemes"])
    if rule["check"]:
        rule["check"](text)
    return text


def _check_url(url: str, schemes: tuple[str, ...]) -> None:
    scheme = url.partition("://")[0]
    if scheme not in schemes:
        hint = "; queues cannot be kept on a Redis Cluster or behind Sentinels" if scheme in MULTI_NODE_REDIS else ""
        raise ValueError(f"must be a URL that starts with {' or '.join(s + '://' for s in schemes)}{hint}")
    if scheme in (*REDIS, *MULTI_NODE_REDIS):
        parse_redis_url(url)
        return
    try:
        _ = urlsplit(url).port
    except ValueError as error:  # its message may leak part of the password
        raise ValueError("must be a URL whose host and port can be read") from error


def settings() -> Settings:
    """Return the settings of the current application."""
    return cast(Settings, current_app.extensions["settings"])
