"""Schemas of posts, follows and blocks."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields

from app.http.fields import Id, Text
from app.http.pages import LimitQuery
from app.ids import parse_id
from app.posts.follows import Position

MAX_POST_LENGTH = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_MICROSECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class NewPost(Schema):
    text = Text(1, MAX_POST_LENGTH, required=True)


class EditedPost(NewPost):
    id = Id(required=True)


class Post(Schema):
    id = Id()
    text = fields.String()
    author_user_id = Id(attribute="author_id")
    created_at = fields.DateTime(format="iso")
    updated_at = fields.DateTime(format="iso")


class Cursor(fields.Field[Position]):
    """A place in a list of follows or blocks, as `dump_cursor` writes it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Position:
        match = re.fullmatch("([0-9]{1,18})-([0-9]{1,19})", value)
        if match is None or int(match[1]) > _LAST_MICROSECOND:
            raise ValidationError("Must be a cursor as Link has it.")
        return Position(_EPOCH + int(match[1]) * _MICROSECOND, parse_id(match[2]))


class CursorQuery(LimitQuery):
    cursor = Cursor(load_default=None, allow_none=False)


class Follow(Schema):
    id = Id(attribute="user_id")
    first_name = fields.String()
    second_name = fields.String()
    followed_at = fields.DateTime(attribute="since", format="iso")


class Block(Schema):
    id = Id(attribute="user_id")
    first_name = fields.String()
    second_name = fields.String()
    blocked_at = fields.DateTime(attribute="since", format="iso")


def dump(row: Any) -> dict[str, Any]:
    """Serialize a row of `posts`."""
    dumped: dict[str, Any] = post.dump(row)
    return dumped


def dump_follow(row: Any) -> dict[str, Any]:
    """Serialize a follow with the names of the user at its other end."""
    dumped: dict[str, Any] = follow.dump(row)
    return dumped


def dump_block(row: Any) -> dict[str, Any]:
    """Serialize a block with the names of the blocked user."""
    dumped: dict[str, Any] = block.dump(row)
    return dumped


def dump_cursor(position: Position) -> str:
    """Write microseconds since 1970 and the user's id."""
    return f"{(position.since - _EPOCH) // _MICROSECOND}-{position.user_id}"


new_post = NewPost()
edited_post = EditedPost()
post = Post()
cursor_query = CursorQuery()
follow = Follow()
block = Block()
