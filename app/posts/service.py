"""Use cases of posts, friends and blocks. Each writes its rows and its event in one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from flask import g
from sqlalchemy import Row

from app.db.engine import commit
from app.db.group_commit import write_together
from app.errors import Blocked, Forbidden, InvalidInput, NotFound, Unauthorized
from app.ids import MAX_ID
from app.posts import counts, follows, gone, outbox, seen, store, suspensions
from app.posts.counts import Counts
from app.posts.follows import NEWEST, Position, Relation
from app.posts.store import NewPost
from app.settings import settings
from app.users import service as users


class Named(NamedTuple):
    """A follow or a block: when it began, and the user at its other end."""

    user_id: int
    first_name: str
    second_name: str
    since: datetime


def publish(author_id: int, text: str) -> int:
    """Create a post, in one transaction with those of other requests. Returns its id.

    Raises Unauthorized if the author is gone. Where the account is being deleted, this request alone waits for that.
    """
    post_id = write_together(publish_all, NewPost(author_id, text, g.get("request_id")))
    if post_id is None:
        return _publish_alone(author_id, text)
    outbox.OUTBOX.wakeup.send()  # not in the shared transaction: a slow Redis would keep all its requests waiting
    return post_id


def publish_all(posts: Sequence[NewPost]) -> list[int | None]:
    """Create posts in one transaction; the caller wakes a relay.

    Returns their ids, None where the author is gone, or may be.
    """
    ids = store.insert_posts(posts)
    created = [(post, post_id) for post, post_id in zip(posts, ids, strict=True) if post_id]
    outbox.add_all(
        outbox.POST_CREATED,
        [({"post_id": post_id, "author_id": post.author_id}, post.request_id) for post, post_id in created],
    )
    commit()
    return ids


def _publish_alone(author_id: int, text: str) -> int:
    post_id = store.insert_post(author_id, text)
    if post_id is None:
        raise Unauthorized
    outbox.add(outbox.POST_CREATED, post_id=post_id, author_id=author_id)
    commit()
    return post_id


def edit(post_id: int, editor_id: int, text: str) -> None:
    """Edit a post. Raises NotFound; Forbidden if `editor_id` is not the author."""
    _require_author(post_id, editor_id)
    store.update_post(post_id, text)
    outbox.add(outbox.POST_EDITED, post_id=post_id)
    commit()


def delete(post_id: int, editor_id: int) -> None:
    """Delete a post. Raises NotFound; Forbidden if `editor_id` is not the author."""
    _require_author(post_id, editor_id)
    _delete(post_id, editor_id)


def delete_for_operator(post_id: int) -> int:
    """Delete a post of any author, and return the author. Raises NotFound."""
    author_id = _lock_author(post_id)
    _delete(post_id, author_id)
    return author_id


def mark_seen(user_id: int, post_id: int) -> None:
    """Note that a user has read the feed up to this post.

    A read mark never goes back. The post may be deleted. Raises InvalidInput for an id that no post has had yet, which
    would hide posts to come; Unauthorized if the user is gone.
    """
    if post_id > seen.last_id():
        raise InvalidInput(errors={"id": ["No post has had this id yet."]})
    if not seen.move(user_id, post_id) and gone.gone_among([user_id]):
        raise Unauthorized
    commit()


def get(post_id: int) -> Row[Any]:
    """Return a post. Raises NotFound, also where the author is suspended."""
    post = store.select_visible_post(post_id)
    if post is None:
        raise NotFound("There is no such post.")
    return post


def list_by_author(author_id: int, limit: int, before: int | None = None) -> tuple[list[Row[Any]], bool]:
    """A page of an author's posts, newest first, and whether there are more. Raises NotFound for an unknown user.

    None are returned while the author is suspended.
    """
    users.ensure_exists(author_id)
    if suspensions.is_suspended(author_id):
        return [], False
    room = settings().feed_page_bytes
    return store.select_posts_by(author_id, limit, room, MAX_ID if before is None else before)


def follow(follower_id: int, followee_id: int) -> None:
    """Follow a user; idempotent.

    Raises NotFound for an unknown user, InvalidInput for oneself, Blocked if one of the two has blocked the other.
    """
    if follower_id == followee_id:
        raise InvalidInput(errors={"user_id": ["Users cannot follow themselves."]})
    users.ensure_exists(followee_id)
    store.lock_pair(follower_id, followee_id)
    if store.insert_follow(follower_id, followee_id):
        outbox.add(outbox.FOLLOWS_CHANGED, follower_id=follower_id)
    elif store.has_block(follower_id, followee_id):
        raise Blocked
    elif absent := gone.gone_among([follower_id, followee_id]):
        raise NotFound("There is no such user.") if followee_id in absent else Unauthorized
    commit()


def unfollow(follower_id: int, followee_id: int) -> None:
    """Unfollow a user; idempotent. Raises NotFound for an unknown user."""
    users.ensure_exists(followee_id)
    _delete_follow(follower_id, followee_id)
    commit()


def block(blocker_id: int, blocked_id: int) -> None:
    """Block a user and end both follows; idempotent. Raises NotFound for an unknown user, InvalidInput for oneself."""
    if blocker_id == blocked_id:
        raise InvalidInput(errors={"user_id": ["Users cannot block themselves."]})
    users.ensure_exists(blocked_id)
    store.lock_pair(blocker_id, blocked_id)  # a follow that is not committed yet would not be seen
    store.insert_block(blocker_id, blocked_id)
    _delete_follow(blocker_id, blocked_id)
    _delete_follow(blocked_id, blocker_id)
    commit()


def unblock(blocker_id: int, blocked_id: int) -> None:
    """Take a block back; idempotent. Raises NotFound for an unknown user."""
    users.ensure_exists(blocked_id)
    store.delete_block(blocker_id, blocked_id)
    commit()


def get_me(user_id: int) -> tuple[Row[Any], Counts]:
    """Return a user, and counts. Raises NotFound."""
    return users.get(user_id), counts.of_user(user_id)


def get_profile(user_id: int, asker_id: int) -> tuple[Row[Any], Counts, Relation]:
    """Return a user, counts, and what the user and the asker are to each other. Raises NotFound."""
    return *get_me(user_id), follows.relation(asker_id, user_id)


def list_followees(user_id: int, limit: int, before: Position | None = None) -> tuple[list[Named], Position | None]:
    """Return a page of followees, newest first, and where the next begins. Raises NotFound."""
    return _list(follows.newest_followees, user_id, limit, before or NEWEST)


def list_followers(user_id: int, limit: int, before: Position | None = None) -> tuple[list[Named], Position | None]:
    """Return a page of followers, newest first, and where the next begins. Raises NotFound."""
    return _list(follows.newest_followers, user_id, limit, before or NEWEST)


def list_blocked(user_id: int, limit: int, before: Position | None = None) -> tuple[list[Named], Position | None]:
    """Return a page of blocked users, newest first, and where the next begins. Raises NotFound."""
    return _list(follows.newest_blocked, user_id, limit, before or NEWEST)


def _list(
    select: Callable[[int, int, Position], list[Position]], user_id: int, limit: int, before: Position
) -> tuple[list[Named], Position | None]:
    found = select(user_id, limit + 1, before)
    shown = found[:limit]
    names = users.names([user_id, *(each.user_id for each in shown)])
    if user_id not in names:
        raise NotFound("There is no such user.")
    named = [Named(other, *names[other], since) for since, other in shown if other in names]
    return named, shown[-1] if len(found) > limit else None


def _delete_follow(follower_id: int, followee_id: int) -> None:
    if store.delete_follow(follower_id, followee_id):
        outbox.add(outbox.FOLLOWS_CHANGED, follower_id=follower_id)


def _delete(post_id: int, author_id: int) -> None:
    store.delete_post(post_id)
    outbox.add(outbox.POST_DELETED, post_id=post_id, author_id=author_id)
    commit()


def _require_author(post_id: int, editor_id: int) -> None:
    if _lock_author(post_id) != editor_id:
        raise Forbidden


def _lock_author(post_id: int) -> int:
    author_id = store.lock_author(post_id)
    if author_id is None:
        raise NotFound("There is no such post.")
    return author_id
