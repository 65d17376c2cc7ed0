"""Explains why a post is or is not in a feed."""

from collections.abc import Iterator

from app.feed import store
from app.feed.cache import post_bodies, timeline
from app.feed.hybrid import merge, policy
from app.posts import follows, outbox, suspensions
from app.posts.store import select_post
from app.settings import settings


def explain(user_id: int, post_id: int) -> Iterator[tuple[str, str]]:
    """Yield findings as (name, text), and the verdict last."""
    post = select_post(post_id)
    since = post and follows.followed_since(user_id, post.author_id)
    newest = [int(newer_id) for newer_id in store.select_feed(user_id, settings().feed_cap)[0]]
    belongs = post_id in newest
    [own] = timeline.load_many([timeline.HOME.key(user_id)])
    theirs = timeline.load_many(map(timeline.AUTHOR.key, own.pulled))
    merged = merge.merge_complete([own, *theirs], settings().feed_cap) if own.ids else []
    elements = [int(element) for element in merged]
    age = outbox.oldest_age()

    yield "post", f"alive, version {post.version}, by user {post.author_id}" if post else "there is no such post"
    if post:
        yield "author", f"followed since {since:%Y-%m-%d %H:%M:%S %Z}" if since else "not followed"
    if post and suspensions.is_suspended(post.author_id):
        yield "author is suspended", "posts are in no feed"
    if since:
        yield "newer posts above it", _rank(newest, post_id)
    if post and (state := policy.state_of(post.author_id)):
        yield "author is", f"{state}: posts are in the author's own list"
    yield "list", _reach([int(element) for element in own.ids])
    if own.pulled:
        yield "pulled authors", f"{len(own.pulled)}, merged with the list"
    if post and post.author_id in own.pulled:
        yield "author's list", _reach([int(element) for element in theirs[own.pulled.index(post.author_id)].ids])
    yield "position", f"{elements.index(post_id)} (0 is the newest)" if post_id in elements else "not in the list"
    yield "body", _body(post_id)
    yield "outbox", "empty" if age is None else f"events are waiting, the oldest for {age:.1f} s"
    yield "verdict", _verdict(belongs, elements, post_id, waiting=age is not None)


def _rank(newest: list[int], post_id: int) -> str:
    if post_id in newest:
        return f"{newest.index(post_id)}, within the cap of {settings().feed_cap}"
    return f"{settings().feed_cap} or more: beyond the cap"


def _reach(elements: list[int]) -> str:
    if not elements:
        return "cold: the next read builds it"
    if elements[-1] == int(timeline.END_MARK):
        return f"complete, {len(elements) - 1} posts"
    return f"{len(elements)} posts, exact down to {elements[-1]}"


def _body(post_id: int) -> str:
    version = post_bodies.cached_version(post_id)
    if version is None:
        return "not cached: the next read loads it from SQL"
    return "cached as deleted" if version == int(post_bodies.GONE) else f"cached at version {version}"


def _verdict(belongs: bool, elements: list[int], post_id: int, *, waiting: bool) -> str:
    there = post_id in elements
    reached = bool(elements) and (elements[-1] == int(timeline.END_MARK) or post_id >= min(elements))
    should = "belongs in this feed" if belongs else "does not belong in this feed"
    if belongs == there:
        return f"it {should}, and the list agrees"
    if belongs and not reached:
        return f"it {should}; the list ends above it and is extended when read"
    if waiting:
        return f"it {should}; the list does not agree yet, events are waiting in the outbox"
    return f"it {should} but the list does not agree: if this persists, run rebuild-feed and report it"
