"""Table of the data that each actor's permanent failure invalidates."""

import logging
from collections.abc import Mapping
from typing import Any

from app.feed.invalidate import INVALIDATORS

log = logging.getLogger(__name__)

# Arguments of each actor in order, as INVALIDATORS names them; None if one invalidates nothing. A delivery names its
# followers, so the author's other followers keep their feeds.
INVALIDATES: Mapping[str, tuple[str | None, ...]] = {
    "post_created": ("post_id", "author_id"),
    "post_edited": ("post_id",),
    "post_deleted": ("post_id", "author_id"),
    "follows_changed": ("follower_id",),
    "deliver": (None, "post_id", None, "follower_ids"),
    "deliver_bulk": (None, "post_id", None, "follower_ids"),
    "warm_requested": (None,),
    "warm": (None, "user_ids"),
}


def named_by(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data that a message of any version invalidates, by name."""
    names, args, kwargs = INVALIDATES.get(message["actor_name"]), message["args"], message["kwargs"]
    if names is None or len(args) > len(names):
        log.error("message of another version: invalidating from keyword arguments only")
        return {name: value for name, value in kwargs.items() if name in INVALIDATORS}
    by_position = {name: value for name, value in zip(names, args, strict=False) if name}
    return by_position | {name: value for name, value in kwargs.items() if name in names}
