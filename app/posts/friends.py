"""HTTP calls of friends: whom one follows."""

from typing import Any

from flask import Blueprint

from app.auth import current_user_id
from app.errors import NotFound
from app.fields import load_id
from app.operation import EMPTY, Link, describe
from app.posts import service

blueprint = Blueprint("friends", __name__, url_prefix="/friend")


@blueprint.put("/set/<user_id>")
@describe(
    name="set_friend",
    summary="Follow a user; repeating is no error",
    answer=EMPTY,
    example={},
    errors=(NotFound,),
    links={"take it back": Link("delete_friend", {"user_id": "$request.path.user_id"}), "read": Link("read_feed")},
)
def set_friend(user_id: str) -> dict[str, Any]:
    service.follow(current_user_id(), load_id(user_id, "user_id"))
    return {}


@blueprint.put("/delete/<user_id>")
@describe(
    name="delete_friend",
    summary="Follow a user no more; repeating is no error",
    answer=EMPTY,
    example={},
    errors=(NotFound,),
)
def delete_friend(user_id: str) -> dict[str, Any]:
    service.unfollow(current_user_id(), load_id(user_id, "user_id"))
    return {}
