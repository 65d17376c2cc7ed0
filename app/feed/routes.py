"""HTTP calls of the feed."""

from flask import Blueprint, Response, request

from app import metrics
from app.auth import current_user_id
from app.feed import authors, reading, schemas
from app.fields import load_query
from app.operation import Link, describe
from app.posts.schemas import EXAMPLE

blueprint = Blueprint("feed", __name__)


@blueprint.get("/post/feed")
@describe(
    name="read_feed",
    summary="Read one's feed, newest first: by offset up to the cap, or without end the posts before one",
    query=schemas.page_query,
    answer=schemas.feed_post,
    many=True,
    optional=("author",),
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
    metrics.feed_reads_noted.append(page.source)
    posts = authors.beside(page.posts) if query["expand"] else page.posts
    headers = [("Content-Type", "application/json"), ("X-Feed-Source", page.source)]
    if page.last_id is not None:
        here, expand = request.script_root + request.path, "&expand=author" if query["expand"] else ""
        headers.append(("Link", f'<{here}?before={page.last_id}&limit={query["limit"]}{expand}>; rel="next"'))
    return Response(b"[" + b",".join(posts) + b"]\n", headers=headers)
