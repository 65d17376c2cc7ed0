"""What posts send and get."""

from typing import Any

from marshmallow import Schema, fields

from app.fields import Id, Text

POST_LENGTH = 10_000


class NewPost(Schema):
    text = Text(1, POST_LENGTH, required=True)


class EditedPost(NewPost):
    id = Id(required=True)


class Post(Schema):
    id = Id()
    text = fields.String()
    author_user_id = Id(attribute="author_id")
    created_at = fields.DateTime(format="iso")
    updated_at = fields.DateTime(format="iso")


def dump(post: Any) -> dict[str, Any]:
    """A row of `posts`, as it is sent."""
    dumped: dict[str, Any] = _post.dump(post)
    return dumped


new_post = NewPost()
edited_post = EditedPost()
_post = Post()
