"""HTTP calls of posts."""

from typing import Any

from flask import Blueprint, Response, jsonify

from app.auth import current_user_id
from app.errors import Forbidden, NotFound
from app.fields import ID_PATTERN, load_body, load_id
from app.operation import EMPTY, Link, describe
from app.posts import schemas, service

blueprint = Blueprint("posts", __name__, url_prefix="/post")


@blueprint.post("/create")
@describe(
    name="create_post",
    summary="Write a post. It is in its readers' feeds a moment later",
    body=schemas.new_post,
    sent={"text": "Hello"},
    answer={"type": "string", "pattern": ID_PATTERN},
    example=schemas.POST_ID,
    links={
        "get it": Link("get_post", {"post_id": "$response.body"}),
        "edit it": Link("update_post", body={"id": "$response.body", "text": "Hello again"}),
        "delete it": Link("delete_post", {"post_id": "$response.body"}),
    },
)
def create() -> Response:
    post = load_body(schemas.new_post)
    return jsonify(str(service.publish(current_user_id(), post["text"])))


@blueprint.put("/update")
@describe(
    name="update_post",
    summary="Edit a post of one's own",
    body=schemas.edited_post,
    sent={"id": schemas.POST_ID, "text": "Hello again"},
    answer=EMPTY,
    example={},
    errors=(Forbidden, NotFound),
    links={"get it": Link("get_post", {"post_id": "$request.body#/id"})},
)
def update() -> dict[str, Any]:
    post = load_body(schemas.edited_post)
    service.edit(post["id"], current_user_id(), post["text"])
    return {}


@blueprint.put("/delete/<post_id>")
@describe(
    name="delete_post",
    summary="Delete a post of one's own",
    answer=EMPTY,
    example={},
    errors=(Forbidden, NotFound),
)
def delete(post_id: str) -> dict[str, Any]:
    service.delete(load_id(post_id, "post_id"), current_user_id())
    return {}


@blueprint.get("/get/<post_id>")
@describe(
    name="get_post",
    summary="Get a post",
    answer=schemas.post,
    example=schemas.EXAMPLE,
    errors=(NotFound,),
    links={"get its author": Link("get_user", {"user_id": "$response.body#/author_user_id"})},
)
def get(post_id: str) -> dict[str, Any]:
    return schemas.dump(service.get(load_id(post_id, "post_id")))
