"""Use cases of posts and friends. Each writes its rows and its event in one transaction."""

from typing import Any

from sqlalchemy import Row

from app.db import commit
from app.errors import Forbidden, InvalidInput, NotFound
from app.posts import outbox, store
from app.users import service as users


def publish(author_id: int, text: str) -> int:
    """Create a post. Returns its id."""
    post_id = store.insert_post(author_id, text)
    outbox.put(outbox.POST_CREATED, post_id=post_id, author_id=author_id)
    commit()
    return post_id


def edit(post_id: int, editor_id: int, text: str) -> None:
    """Raises NotFound; Forbidden if `editor_id` is not the author."""
    _require_author(post_id, editor_id)
    store.update_post(post_id, text)
    outbox.put(outbox.POST_EDITED, post_id=post_id)
    commit()


def delete(post_id: int, editor_id: int) -> None:
    """Raises NotFound; Forbidden if `editor_id` is not the author."""
    _require_author(post_id, editor_id)
    store.delete_post(post_id)
    outbox.put(outbox.POST_DELETED, post_id=post_id, author_id=editor_id)
    commit()


def get(post_id: int) -> Row[Any]:
    """Raises NotFound."""
    post = store.select_post(post_id)
    if post is None:
        raise NotFound("There is no such post.")
    return post


def follow(follower_id: int, followee_id: int) -> None:
    """Repeating is no error. Raises NotFound for an unknown user, InvalidInput for oneself."""
    if follower_id == followee_id:
        raise InvalidInput(errors={"user_id": ["Nobody follows themselves."]})
    users.require(followee_id)
    if store.insert_follow(follower_id, followee_id):
        outbox.put(outbox.FOLLOWS_CHANGED, follower_id=follower_id)
    commit()


def unfollow(follower_id: int, followee_id: int) -> None:
    """Repeating is no error. Raises NotFound for an unknown user."""
    users.require(followee_id)
    if store.delete_follow(follower_id, followee_id):
        outbox.put(outbox.FOLLOWS_CHANGED, follower_id=follower_id)
    commit()


def _require_author(post_id: int, editor_id: int) -> None:
    author_id = store.lock_author(post_id)
    if author_id is None:
        raise NotFound("There is no such post.")
    if author_id != editor_id:
        raise Forbidden
