"""How often one may try: logging in by account and by address, registering by address. Counted in Redis.

Without Redis nobody is kept out: guessing is slow in any case, for each try costs an argon2 hash.
Flask-Limiter owns the keys, LIMITS:LIMITER/lenta/…; each expires with its window.
"""

import logging
from collections.abc import Callable
from functools import wraps
from time import time
from typing import Any

import redis
from flask import Flask, request
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from limits.storage import RedisStorage, Storage
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from app.errors import TooManyRequests
from app.fields import parse_id
from app.redis import REDIS_AWAY, breaker
from app.settings import OFF, Settings

log = logging.getLogger(__name__)


class SharedRedis(RedisStorage):
    """Counts through the application's own client, whatever kind of Redis that is."""

    STORAGE_SCHEME = ["shared-redis"]
    base_exceptions = redis.RedisError

    def __init__(self, uri: str, client: redis.Redis, **options: Any) -> None:
        Storage.__init__(self, uri, **options)
        self.key_prefix, self.storage, self.target_server = self.PREFIX, client, "redis"
        self.initialize_storage(uri)


def init_app(app: Flask, settings: Settings) -> None:
    """Limit the calls that let people in; after their blueprints are registered."""
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    limiter = Limiter(
        get_remote_address,
        storage_uri="shared-redis://",
        storage_options={"client": app.extensions["redis"]},
        key_prefix="lenta",
    )
    limiter.init_app(app)
    # It would look at every request, before and after; ours ask where they need it.
    for hooks in (app.before_request_funcs, app.after_request_funcs, app.teardown_request_funcs):
        hooks[None].pop()
    by_address = [limiter.limit(rate) for rate in _rates(settings.login_rate_per_address)]
    by_account = [
        limiter.limit(rate, key_func=_account, exempt_when=lambda: not _account())
        for rate in _rates(settings.login_rate_per_account)
    ]
    registering = [limiter.limit(rate) for rate in _rates(settings.register_rate_per_address)]
    _limit(app, limiter, "users.log_in", by_address + by_account)
    _limit(app, limiter, "users.register", registering)


def _rates(setting: str) -> list[str]:
    return [] if setting == OFF else [setting]


def _limit(app: Flask, limiter: Limiter, endpoint: str, limits: list[Any]) -> None:
    """Have `endpoint` answer TooManyRequests beyond any of `limits`."""
    view = app.view_functions[endpoint]

    def check() -> None:
        """Counts, and raises RateLimitExceeded."""

    check.__qualname__ = endpoint  # limits are kept by it
    counted: Callable[[], None] = check
    for limit in limits:
        counted = limit(counted)

    @wraps(view)
    def limited(**arguments: Any) -> Any:
        if limits and not breaker().is_open:
            try:
                counted()
            except RateLimitExceeded as error:
                raise TooManyRequests(retry_after=_seconds_left(limiter)) from error
            except redis.RedisError as error:
                if isinstance(error, REDIS_AWAY):
                    breaker().trip()
                log.warning("Redis cannot count, nobody is kept out: %s", error)
        return view(**arguments)

    app.view_functions[endpoint] = limited


def _seconds_left(limiter: Limiter) -> int:
    """Until the window of the limit that was reached ends."""
    breached = limiter.current_limit
    return max(1, breached.reset_at - int(time())) if breached else 1


def _account() -> str:
    """The id that somebody tries to log in with, "" if there is none; `007` and `7` are one account."""
    try:
        return str(parse_id(request.get_json()["id"]))
    except (HTTPException, RecursionError, ValueError, TypeError, KeyError):
        return ""  # the view says what is wrong
