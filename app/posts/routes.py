"""HTTP routes of posts."""

from typing import Any

from flask import Blueprint, Response, jsonify

from app.auth.tokens import current_user_id
from app.http.body import load_body
from app.http.pages import next_link, page_query
from app.http.rate_limits import account, limited
from app.http.request import load_id, load_query
from app.posts import schemas, service

blueprint = Blueprint("posts", __name__, url_prefix="/post")


@blueprint.post("/create")
@limited("post_rate_per_account", by=account)
def create() -> Response:
    post = load_body(schemas.new_post)
    return jsonify(str(service.publish(current_user_id(), post["text"])))


@blueprint.put("/update")
@limited("edit_rate_per_account", by=account)
def update() -> dict[str, Any]:
    post = load_body(schemas.edited_post)
    service.edit(post["id"], current_user_id(), post["text"])
    return {}


@blueprint.put("/delete/<post_id>")
def delete(post_id: str) -> dict[str, Any]:
    service.delete(load_id(post_id, "post_id"), current_user_id())
    return {}


@blueprint.get("/get/<post_id>")
def get(post_id: str) -> dict[str, Any]:
    return schemas.dump(service.get(load_id(post_id, "post_id")))


@blueprint.get("/list/<user_id>")
def list_posts(user_id: str) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    query = load_query(page_query)
    posts, has_more = service.list_by_author(load_id(user_id, "user_id"), query["limit"], query["before"])
    links = [next_link(f"before={posts[-1].id}&limit={query['limit']}")] if has_more else []
    return [schemas.dump(post) for post in posts], links
