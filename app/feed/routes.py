"""HTTP calls of the feed."""

from flask import Blueprint, Response, request

from app.auth import current_user_id
from app.feed import reading, schemas
from app.fields import load_query
from app.operation import Link, describe
from app.posts.schemas import EXAMPLE, post

blueprint = Blueprint("feed", __name__)


@blueprint.get("/post/feed")
@describe(
    name="read_feed",
    summary="Read one's feed, newest first: by offset up to the cap, or without end the posts before one",
    query=schemas.page_query,
    answer=post,
    many=True,
    example=[EXAMPLE],
    headers={
        "X-Feed-Source": "Where the page came from: `cache`, `rebuilt` or `database`",
        "Link": 'The next page, `<…>; rel="next"`, where this one is full',
    },
    links={
        "get the first": Link("get_post", {"post_id": "$response.body#/0/id"}),
        "go on behind the first": Link("read_feed", {"before": "$response.body#/0/id"}),
    },
)
def feed() -> Response:
    query = load_query(schemas.page_query)
    page = reading.read_page(current_user_id(), query["offset"], query["limit"], query["before"])
    response = Response(b"[" + b",".join(page.posts) + b"]", mimetype="application/json")
    response.headers["X-Feed-Source"] = page.source
    if page.last_id is not None:
        here = request.script_root + request.path
        response.headers["Link"] = f'<{here}?before={page.last_id}&limit={query["limit"]}>; rel="next"'
    return response
