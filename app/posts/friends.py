"""HTTP routes of friends."""

from typing import Any

from flask import Blueprint

from app.auth.tokens import current_user_id
from app.http.pages import next_link
from app.http.rate_limits import account, limited
from app.http.request import load_id, load_query
from app.posts import schemas, service
from app.posts.follows import Position

blueprint = Blueprint("friends", __name__, url_prefix="/friend")

Answer = tuple[list[dict[str, Any]], list[tuple[str, str]]]


@blueprint.put("/set/<user_id>")
@limited("follow_rate_per_account", by=account)
def set_friend(user_id: str) -> dict[str, Any]:
    service.follow(current_user_id(), load_id(user_id, "user_id"))
    return {}


@blueprint.put("/delete/<user_id>")
@limited("follow_rate_per_account", by=account)
def delete_friend(user_id: str) -> dict[str, Any]:
    service.unfollow(current_user_id(), load_id(user_id, "user_id"))
    return {}


@blueprint.get("/list/<user_id>")
def list_followees(user_id: str) -> Answer:
    query = load_query(schemas.cursor_query)
    return _page(query["limit"], *service.list_followees(load_id(user_id, "user_id"), query["limit"], query["cursor"]))


@blueprint.get("/followers/<user_id>")
def list_followers(user_id: str) -> Answer:
    query = load_query(schemas.cursor_query)
    return _page(query["limit"], *service.list_followers(load_id(user_id, "user_id"), query["limit"], query["cursor"]))


def _page(limit: int, found: list[service.Named], end: Position | None) -> Answer:
    return [schemas.dump_follow(each) for each in found], next_cursor(end, limit)


def next_cursor(end: Position | None, limit: int) -> list[tuple[str, str]]:
    """Return the header that leads to the page after this position, if there is one."""
    return [next_link(f"cursor={schemas.dump_cursor(end)}&limit={limit}")] if end else []
