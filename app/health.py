"""Health checks, for balancers and people. They answer within seconds, whatever is frozen."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import psycopg2
import redis
from flask import Blueprint, Response, jsonify

from app.auth import public
from app.db import REPLICA, USERS, ask
from app.feed import replica
from app.feed.service import given_up
from app.operation import describe
from app.posts import outbox
from app.settings import settings

DATABASE_SECONDS = 2.0  # each; Redis has REDIS_TIMEOUT_MS
BROKER = "not asked: the web needs none. Events wait in the outbox while it is away, see outbox_oldest_s"

UP = {"status": "up", "ms": 0.4}
READY = {
    "status": "ready",
    "databases": {"users": UP, "posts": UP},
    "redis": UP,
    "broker": BROKER,
    "outbox_oldest_s": None,
    "given_up": 0,
}
STATE = {
    "type": "object",
    "properties": {"status": {"type": "string"}, "ms": {"type": "number"}},
    "required": ["status", "ms"],
    "additionalProperties": False,
}
READINESS = {
    "type": "object",
    "properties": {
        "status": {"enum": ["ready", "not ready"]},
        "databases": {
            "type": "object",
            "properties": {"users": STATE, "posts": STATE, REPLICA: STATE},
            "required": ["users", "posts"],
            "additionalProperties": False,
        },
        "redis": STATE,
        "broker": {"const": BROKER},
        "outbox_oldest_s": {
            "type": ["number", "null"],
            "description": "For how long the oldest event has waited for the broker, seconds; null: none waits, or "
            "the database of posts is down. It grows while the broker or the workers are down.",
        },
        "given_up": {
            "type": ["integer", "null"],
            "description": "Messages that failed for good; their feeds were made cold. null: Redis is down.",
        },
    },
    "required": ["status", "databases", "redis", "broker", "outbox_oldest_s", "given_up"],
    "additionalProperties": False,
}
LIVENESS = {
    "type": "object",
    "properties": {"status": {"const": "live"}},
    "required": ["status"],
    "additionalProperties": False,
}

blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
@public
@describe(name="live", summary="The process answers", answer=LIVENESS, example={"status": "live"})
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@blueprint.get("/ready")
@public
@describe(
    name="ready",
    summary="Requests can be served: both databases answer",
    answer=READINESS,
    example=READY,
    unready={"schema": READINESS, "example": READY | {"status": "not ready"}},
)
def ready() -> Response:
    """200 while requests can be served: both databases answer. Without Redis feeds are read from SQL.

    `posts_replica` is there where POSTS_REPLICA_URL is set: without it the primary is read, so it never counts.
    `outbox_oldest_s` says how long the oldest event has waited for the broker (null: none waits), `given_up` how many
    messages failed for good; their feeds were made cold.
    """
    users, _ = _check(partial(ask, USERS, "SELECT 1", DATABASE_SECONDS))
    posts, age = _check(partial(outbox.oldest_age_within, DATABASE_SECONDS))
    cache, dropped = _check(given_up)
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
            "outbox_oldest_s": age,
            "given_up": dropped,
        }
    )
    response.status_code = 200 if is_ready else 503
    return response


def _check(probe: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
    """The state of a server, and what the probe returned (None where it is down)."""
    start = perf_counter()
    answer = None
    try:
        answer = probe()
        status = "up"
    except (psycopg2.Error, redis.RedisError) as error:
        status = f"down: {type(error).__name__}"
    return {"status": status, "ms": round((perf_counter() - start) * 1000, 1)}, answer
