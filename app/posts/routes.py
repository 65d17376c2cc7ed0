"""HTTP calls of posts."""

from typing import Any

from flask import Blueprint, Response, jsonify

from app.auth import current_user_id
from app.fields import load_body, load_id
from app.posts import schemas, service

blueprint = Blueprint("posts", __name__, url_prefix="/post")


@blueprint.post("/create")
def create() -> Response:
    post = load_body(schemas.new_post)
    return jsonify(str(service.publish(current_user_id(), post["text"])))


@blueprint.put("/update")
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
