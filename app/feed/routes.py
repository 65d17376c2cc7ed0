"""HTTP calls of the feed."""

from flask import Blueprint, Response, request

from app.auth import current_user_id
from app.feed import reading, schemas
from app.fields import load_query

blueprint = Blueprint("feed", __name__)


@blueprint.get("/post/feed")
def feed() -> Response:
    query = load_query(schemas.page_query)
    page = reading.read_page(current_user_id(), query["offset"], query["limit"], query["before"])
    response = Response(b"[" + b",".join(page.posts) + b"]", mimetype="application/json")
    response.headers["X-Feed-Source"] = page.source
    if page.last_id is not None:
        here = request.script_root + request.path
        response.headers["Link"] = f'<{here}?before={page.last_id}&limit={query["limit"]}>; rel="next"'
    return response
