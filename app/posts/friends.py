"""HTTP calls of friends: whom one follows."""

from typing import Any

from flask import Blueprint

from app.auth import current_user_id
from app.fields import load_id
from app.posts import service

blueprint = Blueprint("friends", __name__, url_prefix="/friend")


@blueprint.put("/set/<user_id>")
def set_friend(user_id: str) -> dict[str, Any]:
    service.follow(current_user_id(), load_id(user_id, "user_id"))
    return {}


@blueprint.put("/delete/<user_id>")
def delete_friend(user_id: str) -> dict[str, Any]:
    service.unfollow(current_user_id(), load_id(user_id, "user_id"))
    return {}
