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


def dump(row: Any) -> dict[str, Any]:
    """A row of `posts`, as it is sent."""
    dumped: dict[str, Any] = post.dump(row)
    return dumped


# An example, for /openapi.json.
POST_ID = "2125011481818468354"
EXAMPLE = {
    "id": POST_ID,
    "text": "Hello",
    "author_user_id": "2125011480165912577",
    "created_at": "2026-11-23T22:36:38.129061+00:00",
    "updated_at": "2026-11-23T22:36:38.129061+00:00",
}

new_post = NewPost()
edited_post = EditedPost()
post = Post()
