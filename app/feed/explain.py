"""Saying of one post why it is in a feed, or is not."""

from collections.abc import Iterator, Sequence

from app.feed import authored, bodies, follows, merging, pulling, timeline, truth
from app.posts import outbox
from app.posts.store import select_post
from app.settings import settings


def explain(user_id: int, post_id: int) -> Iterator[tuple[str, str]]:
    """What SQL, the list, the body and the outbox say, as (name, finding), and the verdict last."""
    post = select_post(post_id)
    since = post and follows.followed_since(user_id, post.author_id)
    newest = [int(newer_id) for newer_id in truth.contents(user_id, settings().feed_cap)[0]]
    belongs = post_id in newest
    [own] = timeline.contents_of([timeline.feed_key(user_id)])
    theirs = timeline.contents_of(map(authored.key, own.pulled))
    elements = [int(element) for element in _merged(own, theirs)]
    age = outbox.oldest_age()

    yield "post", f"alive, version {post.version}, by user {post.author_id}" if post else "there is no such post"
    if post:
        yield "author", f"followed since {since:%Y-%m-%d %H:%M:%S %Z}" if since else "not followed"
    if since:
        yield "newer posts above it", _rank(newest, post_id)
    if post and (state := pulling.state_of(post.author_id)):
        yield "author is", f"{state}: posts are in a list of the author's own"
    yield "list", _reach([int(element) for element in own.ids])
    if own.pulled:
        yield "pulled authors", f"{len(own.pulled)} that the list is merged with"
    if post and post.author_id in own.pulled:
        yield "author's list", _reach([int(element) for element in theirs[own.pulled.index(post.author_id)].ids])
    yield "position", f"{elements.index(post_id)} (0 is the newest)" if post_id in elements else "not in the list"
    yield "body", _body(post_id)
    yield "outbox", "empty" if age is None else f"events wait, the oldest for {age:.1f} s"
    yield "verdict", _verdict(belongs, elements, post_id, waiting=age is not None)


def _merged(own: timeline.Contents, theirs: Sequence[timeline.Contents]) -> list[bytes]:
    return merging.whole([own, *theirs], settings().feed_cap) if own.ids else []


def _rank(newest: list[int], post_id: int) -> str:
    if post_id in newest:
        return f"{newest.index(post_id)}, within the cap of {settings().feed_cap}"
    return f"{settings().feed_cap} or more: beyond the cap"


def _reach(elements: list[int]) -> str:
    if not elements:
        return "cold: it is built when it is read"
    if elements[-1] == int(timeline.END):
        return f"complete, {len(elements) - 1} posts"
    return f"{len(elements)} posts, right down to {elements[-1]}"


def _body(post_id: int) -> str:
    version = bodies.cached_version(post_id)
    if version is None:
        return "not cached: it is read from SQL"
    return "cached as gone" if version == int(bodies.GONE) else f"cached at version {version}"


def _verdict(belongs: bool, elements: list[int], post_id: int, *, waiting: bool) -> str:
    there = post_id in elements
    reached = bool(elements) and (elements[-1] == int(timeline.END) or post_id >= min(elements))
    should = "belongs into this feed" if belongs else "does not belong into this feed"
    if belongs == there:
        return f"it {should}, and the list agrees"
    if belongs and not reached:
        return f"it {should}; the list does not reach down to it and is extended when it is read"
    if waiting:
        return f"it {should}; the list does not agree yet, and events wait in the outbox"
    return f"it {should} and the list does not agree: if that stays, run rebuild-feed and report it"
