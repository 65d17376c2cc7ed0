"""HTTP routes of the feed."""

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response, request

from app.auth.tokens import current_user_id
from app.feed import schemas
from app.feed.cache import author_names
from app.feed.read import Page, read_page
from app.feed.unread import count_unread
from app.http.body import load_body
from app.http.pages import link
from app.http.request import load_query
from app.observability import metrics
from app.posts import service

blueprint = Blueprint("feed", __name__)


@blueprint.get("/post/feed")
def feed() -> Response:
    query = load_query(schemas.page_query)
    page = read_page(current_user_id(), query["offset"], query["limit"], query["before"], query["after"])
    posts = author_names.with_authors(page.posts) if query["expand"] else page.posts
    body, headers = respond(page, posts, query, request.script_root + request.path)
    return Response(body, headers=headers)


def respond(
    page: Page, posts: Sequence[bytes], query: dict[str, Any], path: str
) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body and the headers of a page, and count it."""
    metrics.feed_read_buffer.append(page.source)
    headers = [("Content-Type", "application/json"), ("X-Feed-Source", page.source)]
    if page.last_id is not None:
        after = "" if query["after"] is None else f"&after={query['after']}"
        expand = "&expand=author" if query["expand"] else ""
        headers.append(link(path, f"before={page.last_id}&limit={query['limit']}{after}{expand}"))
    return b"[" + b",".join(posts) + b"]\n", headers


@blueprint.put("/post/feed/seen")
def mark_seen() -> dict[str, Any]:
    service.mark_seen(current_user_id(), load_body(schemas.seen)["id"])
    return {}


@blueprint.get("/post/feed/unread")
def unread() -> tuple[dict[str, Any], list[tuple[str, str]]]:
    count, seen = count_unread(current_user_id())
    body = {"unread": count.number, "seen": None if seen is None else str(seen), "is_capped": count.is_capped}
    return body, [("X-Feed-Source", count.source)]
