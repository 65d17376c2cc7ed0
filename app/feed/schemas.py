"""What a reader of a feed sends."""

from marshmallow import Schema, ValidationError, fields, validate

from app.fields import Id, Whole
from app.posts.schemas import Post
from app.settings import settings


class _WithinCap:
    """At most FEED_CAP."""

    def __call__(self, limit: int) -> None:
        if limit > self.maximum():
            raise ValidationError(f"Must be from 1 to {self.maximum()}.")

    def maximum(self) -> int:
        return settings().feed_cap


class PageQuery(Schema):
    offset = Whole(load_default=0, validate=validate.Range(0, 2**31 - 1))
    limit = Whole(load_default=10, validate=[validate.Range(min=1), _WithinCap()])
    before = Id(load_default=None, allow_none=False)
    expand = fields.String(load_default=None, allow_none=False, validate=validate.OneOf(["author"]))


class Author(Schema):
    id = Id(required=True)
    first_name = fields.String(required=True)
    second_name = fields.String(required=True)


class FeedPost(Post):
    author = fields.Nested(
        Author, allow_none=True, metadata={"description": "With `expand=author`; null where it is no user"}
    )


page_query = PageQuery()
feed_post = FeedPost()
