"""Rate limits, counted in Redis by the library `limits`. They fail open without Redis.

Owns the keys LIMITS:LIMITER/lenta/…; each expires with its window.
"""

from collections.abc import Callable
from functools import lru_cache, partial, wraps
from time import time
from typing import Any, TypeVar, cast

import limits
import redis
from flask import Flask, current_app
from limits.storage import RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter
from werkzeug.middleware.proxy_fix import ProxyFix

from app.auth.tokens import current_user_id
from app.errors import TooManyRequests
from app.http.addresses import client_subscriber
from app.redis.circuit_breaker import attempt
from app.settings import OFF, Settings, settings

View = TypeVar("View", bound=Callable[..., Any])


class AppRedisStorage(RedisStorage):
    """Counts through the application's own client, for every kind of Redis."""

    base_exceptions = redis.RedisError

    def __init__(self, client: redis.Redis) -> None:
        Storage.__init__(self)
        self.key_prefix, self.storage, self.target_server = self.PREFIX, client, "redis"
        self.initialize_storage("")


def init_app(app: Flask, settings: Settings) -> None:
    """Set up trusted proxies and the storage of counters."""
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)  # type: ignore[method-assign]
    app.extensions["rate_limiter"] = FixedWindowRateLimiter(AppRedisStorage(app.extensions["redis"]))


def address() -> str:
    """Return the key of the client's address."""
    return client_subscriber()


def account() -> str:
    """Return the key of the authenticated account."""
    return str(current_user_id())


def limited(setting: str, by: Callable[[], str]) -> Callable[[View], View]:
    """Limit the rate of a view, per key returned by `by`. It then raises TooManyRequests.

    `setting` names the setting with the rate. Stacked limits are checked from the outermost; the first to fail stops.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def limited_view(**arguments: Any) -> Any:
            rate: str = getattr(settings(), setting)
            if rate != OFF:
                count = partial(_seconds_to_wait, setting, _parse(rate), by())
                if (seconds := attempt(count, None, "rate limits not enforced")) is not None:
                    raise TooManyRequests(retry_after=seconds)
            return view(**arguments)

        return cast(View, limited_view)

    return decorate


_parse = lru_cache(limits.parse)


def _seconds_to_wait(setting: str, rate: limits.RateLimitItem, key: str) -> int | None:
    """Count a request. Returns the seconds until the window ends if it exceeds the rate, else None."""
    limiter: FixedWindowRateLimiter = current_app.extensions["rate_limiter"]
    if limiter.hit(rate, "lenta", setting, key):
        return None
    reset = limiter.get_window_stats(rate, "lenta", setting, key).reset_time
    return max(1, int(reset - time()))
