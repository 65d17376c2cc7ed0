"""Every setting, read from the environment once, at start.

A setting's variable is its name in capitals. `Settings.from_env` names every missing or bad variable in one
error, so that a misconfigured service stops at start and is mended in one go.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, cast
from urllib.parse import urlsplit

import limits
from flask import current_app

from app import keys, urls
from app.keys import SECRET_BYTES, Keys


class SettingsError(Exception):
    """One line for each variable that is missing or cannot be used."""


def _setting(
    help_: str,
    *,
    default: Any = MISSING,
    schemes: tuple[str, ...] = (),
    least: int = 1,
    most: int = 2**31 - 1,
    choices: tuple[str, ...] = (),
    check: Callable[[str], object] | None = None,
) -> Any:
    metadata = {"help": help_, "schemes": schemes, "least": least, "most": most, "choices": choices, "check": check}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


OFF = "off"


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
                f"must be origins like https://example.org, with commas between, or *, not {origin[:80]!r}"
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
REDIS_OF_MANY = ("redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")


@dataclass(frozen=True, kw_only=True)
class Settings:
    users_database_url: str = _setting("PostgreSQL database of users", schemes=POSTGRESQL)
    posts_database_url: str = _setting("PostgreSQL database of posts, follows and the outbox", schemes=POSTGRESQL)
    posts_replica_url: str = _setting(
        "streaming replica of the posts database, read where it is not behind", default="", schemes=POSTGRESQL
    )
    redis_url: str = _setting("Redis or Valkey that holds the feeds", schemes=(*REDIS, *REDIS_OF_MANY))
    broker_url: str = _setting(
        "RabbitMQ (amqp://, with commas between those of a cluster) or Redis (redis://) as the broker",
        check=_check_broker,
    )
    jwt_secret_key: str = _setting(
        f"key that signs tokens, {SECRET_BYTES} bytes or more", default="", check=keys.check_secret
    )
    jwt_previous_secret_keys: str = _setting(
        "keys that signed tokens before, with commas between", default="", check=keys.parse_secrets
    )
    jwt_private_key: str = _setting(
        "Ed25519 private key in PEM that signs tokens in place of the secret one", default="", check=keys.parse_private
    )
    jwt_public_key: str = _setting("Ed25519 public keys in PEM that verify tokens", default="", check=keys.parse_public)
    jwt_ttl: int = _setting("life of a token, seconds", default=86_400)
    feed_cap: int = _setting("posts a feed holds", default=1000, most=5000)
    feed_ttl: int = _setting("life of a feed that nobody reads, seconds", default=30 * 86_400)
    post_ttl: int = _setting("life of a cached post body, seconds", default=7 * 86_400)
    feed_fanout_batch: int = _setting(
        "followers in one message; 1 sends a message per follower", default=1000, most=10_000
    )
    feed_bulk_followers: int = _setting("above this many followers a fan-out goes to the bulk queue", default=10_000)
    feed_pull_followers: int = _setting(
        "above this many followers an author is pulled: not fanned out, but merged into each page; 0 for never",
        default=0,
        least=0,
    )
    broker_namespace: str = _setting("prefix of the queues' names", default="lenta")
    redis_timeout_ms: int = _setting("how long a request waits for Redis, milliseconds", default=500)
    database_pool_size: int = _setting("connections a process keeps to each database", default=8)
    host: str = _setting("address that gunicorn listens on", default="127.0.0.1")
    port: int = _setting("port that gunicorn listens on", default=8000, most=65_535)
    web_workers: int = _setting("gunicorn worker processes", default=2)
    web_threads: int = _setting("threads of a gunicorn worker", default=4)
    metrics_host: str = _setting("address that workers show their metrics on", default="127.0.0.1")
    metrics_port: int = _setting(
        "port that workers show their metrics on, 0 for none", default=9191, least=0, most=65_535
    )
    trusted_proxies: int = _setting("proxies in front, whose X-Forwarded-For is believed", default=0, least=0, most=10)
    login_rate_per_account: str = _setting(
        "how often anybody may try to log in as one user, or off", default="10 per minute", check=_check_rate
    )
    login_rate_per_address: str = _setting(
        "how often one address may try to log in, or off", default="60 per minute", check=_check_rate
    )
    register_rate_per_address: str = _setting(
        "how often one address may register somebody, or off", default="60 per hour", check=_check_rate
    )
    cors_origins: str = _setting(
        "origins whose pages may call, with commas between, or *; none by default", default="", check=_check_origins
    )
    log_level: str = _setting("debug, info, warning or error", default="info", choices=LOG_LEVELS)
    log_format: str = _setting(
        "json, text, or auto: text in a terminal, else json", default=AUTO, choices=(AUTO, JSON, TEXT)
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the environment.

        Raises SettingsError naming each variable that is missing or cannot be used.
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
            problems.append(f"JWT_SECRET_KEY is not set: key that signs tokens, {SECRET_BYTES} bytes or more")
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values)

    def broker_urls(self) -> list[str]:
        """The nodes of RabbitMQ, any of which serves; or the one Redis."""
        return self.broker_url.split(",") if self.broker_url.startswith(AMQP) else [self.broker_url]

    def keys(self) -> Keys:
        """The keys of tokens. Raises SettingsError where none is set."""
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
        least, most = rule["least"], rule["most"]
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
        hint = "; queues cannot be kept on a Redis Cluster or behind Sentinels" if scheme in REDIS_OF_MANY else ""
        raise ValueError(f"must be a URL that starts with {' or '.join(s + '://' for s in schemes)}{hint}")
    if scheme in (*REDIS, *REDIS_OF_MANY):
        urls.parse(url)
        return
    try:
        _ = urlsplit(url).port
    except ValueError as error:  # its own message may show a part of the password
        raise ValueError("must be a URL whose host and port can be read") from error


def settings() -> Settings:
    """The settings of the current application."""
    return cast(Settings, current_app.extensions["settings"])
