"""Health checks, for balancers and people."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import redis
from flask import Blueprint, Response, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.auth import public
from app.db import POSTS, USERS, run
from app.feed.service import given_up
from app.operation import describe
from app.posts.outbox import oldest_age
from app.redis import client

UP = {"status": "up", "ms": 0.4}
READY = {
    "status": "ready",
    "databases": {"users": UP, "posts": UP},
    "redis": UP,
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
            "properties": {"users": STATE, "posts": STATE},
            "required": ["users", "posts"],
            "additionalProperties": False,
        },
        "redis": STATE,
        "outbox_oldest_s": {"type": ["number", "null"]},
        "given_up": {"type": ["integer", "null"]},
    },
    "required": ["status", "databases", "redis", "outbox_oldest_s", "given_up"],
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

    `outbox_oldest_s` says how long the oldest event has waited for the broker (null: none waits), `given_up` how many
    messages failed for good; their feeds were made cold.
    """
    databases = {bind: _check(partial(run, bind, text("SELECT 1"))) for bind in (USERS, POSTS)}
    is_ready = all(state["status"] == "up" for state in databases.values())
    response = jsonify(
        {
            "status": "ready" if is_ready else "not ready",
            "databases": databases,
            "redis": _check(client().ping),
            "outbox_oldest_s": _read(oldest_age),
            "given_up": _read(given_up),
        }
    )
    response.status_code = 200 if is_ready else 503
    return response


def _read(figure: Callable[[], float | None]) -> float | None:
    """A figure, or None where what knows it is away."""
    try:
        return figure()
    except (SQLAlchemyError, redis.RedisError):
        return None


def _check(probe: Callable[[], object]) -> dict[str, Any]:
    start = perf_counter()
    try:
        probe()
        status = "up"
    except (SQLAlchemyError, redis.RedisError) as error:
        status = f"down: {type(error).__name__}"
    return {"status": status, "ms": round((perf_counter() - start) * 1000, 1)}
