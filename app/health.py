"""Health checks, bounded by timeouts even if a server hangs."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import psycopg2
import redis
from flask import Blueprint, Response, jsonify

from app.auth.tokens import public
from app.db import replica, requirements
from app.db.engine import REPLICA
from app.db.outbox import Outbox
from app.feed.invalidate import failed_message_count
from app.posts.outbox import OUTBOX as POSTS_OUTBOX
from app.settings import settings
from app.users.outbox import OUTBOX as USERS_OUTBOX

DATABASE_SECONDS = 2.0  # per database; for Redis REDIS_TIMEOUT_MS applies
BROKER = "not checked: the web does not use it; see outbox_oldest_s"

blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
@public
def live() -> dict[str, str]:
    """Respond as long as the process runs."""
    return {"status": "live"}


@blueprint.get("/ready")
@public
def ready() -> Response:
    """Return 200 while both databases respond. Without Redis, feeds are read from SQL.

    `posts_replica` is included if POSTS_REPLICA_URL is set; it does not affect the status, as the primary replaces it.
    `outbox_oldest_s` is the age of the oldest event that waits for the broker (null if none waits), `given_up` the
    number of messages that failed permanently; their feeds were invalidated.
    """
    users, users_age = _check(partial(_oldest_event_age, USERS_OUTBOX))
    posts, posts_age = _check(partial(_oldest_event_age, POSTS_OUTBOX))
    cache, dropped = _check(failed_message_count)
    databases = {"users": users, "posts": posts}
    if settings().posts_replica_url:
        found, state = _check(partial(replica.state, DATABASE_SECONDS))
        databases[REPLICA] = found | {"status": state or found["status"]}
    is_ready = users["status"] == posts["status"] == "up"
    response = jsonify(
        {
            "status": "ready" if is_ready else "not ready",
            "databases": databases,
            "redis": cache,
            "broker": BROKER,
            "outbox_oldest_s": max((age for age in (users_age, posts_age) if age is not None), default=None),
            "given_up": dropped,
        }
    )
    response.status_code = 200 if is_ready else 503
    return response


def _oldest_event_age(outbox: Outbox) -> float | None:
    requirements.check(outbox.bind, DATABASE_SECONDS)
    return outbox.oldest_age_within(DATABASE_SECONDS)


def _check(probe: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """Return a server's state and the probe's result (None if it is down)."""
    start = perf_counter()
    answer = None
    try:
        answer = probe()
        status = "up"
    except (psycopg2.Error, redis.RedisError) as error:
        status = f"down: {type(error).__name__}"
    except requirements.UnsuitableDatabaseError as error:
        status = f"down: {error}"
    return {"status": status, "ms": round((perf_counter() - start) * 1000, 1)}, answer
