"""HTTP routes of profiles: users, their counts, and what they and the caller are to each other."""

from typing import Any

from flask import Blueprint

from app.auth.tokens import current_user_id
from app.http.request import load_id
from app.posts import service
from app.users import schemas

blueprint = Blueprint("profiles", __name__)


@blueprint.get("/user/me")
def me() -> dict[str, Any]:
    user, counts = service.get_me(current_user_id())
    return schemas.dump_me(user) | counts._asdict()


@blueprint.get("/user/get/<user_id>")
def get(user_id: str) -> dict[str, Any]:
    user, counts, relation = service.get_profile(load_id(user_id, "user_id"), current_user_id())
    return schemas.dump(user) | counts._asdict() | relation._asdict()
