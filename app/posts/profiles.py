"""HTTP routes of profiles: users, their counts, and what they and the caller are to each other; an export."""

from typing import Any

from flask import Blueprint, Flask, Response, current_app, g

from app.auth.tokens import current_user_id
from app.http.rate_limits import account, limited
from app.http.request import load_id
from app.posts import export, service
from app.users import schemas

blueprint = Blueprint("profiles", __name__)


@blueprint.get("/user/me")
def me() -> dict[str, Any]:
    user, counts = service.get_me(current_user_id())
    return schemas.dump_me(user) | counts._asdict()


@blueprint.get("/user/export")
@limited("export_rate_per_account", by=account)
def export_me() -> Response:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    lines = export.stream(app, current_user_id(), me(), g.request_id)
    headers = {"Content-Disposition": f'attachment; filename="lenta-{current_user_id()}.ndjson"'}
    return Response(lines, content_type="application/x-ndjson", headers=headers)


@blueprint.get("/user/get/<user_id>")
def get(user_id: str) -> dict[str, Any]:
    user, counts, relation = service.get_profile(load_id(user_id, "user_id"), current_user_id())
    return schemas.dump(user) | counts._asdict() | relation._asdict()
