"""HTTP routes of blocks."""

from typing import Any

from flask import Blueprint

from app.auth.tokens import current_user_id
from app.http.rate_limits import account, limited
from app.http.request import load_id, load_query
from app.posts import schemas, service
from app.posts.friends import Answer, next_cursor

blueprint = Blueprint("blocks", __name__, url_prefix="/block")


@blueprint.put("/set/<user_id>")
@limited("follow_rate_per_account", by=account)
def set_block(user_id: str) -> dict[str, Any]:
    service.block(current_user_id(), load_id(user_id, "user_id"))
    return {}


@blueprint.put("/delete/<user_id>")
@limited("follow_rate_per_account", by=account)
def delete_block(user_id: str) -> dict[str, Any]:
    service.unblock(current_user_id(), load_id(user_id, "user_id"))
    return {}


@blueprint.get("/list")
def list_blocks() -> Answer:
    query = load_query(schemas.cursor_query)
    blocked, end = service.list_blocked(current_user_id(), query["limit"], query["cursor"])
    return [schemas.dump_block(each) for each in blocked], next_cursor(end, query["limit"])
