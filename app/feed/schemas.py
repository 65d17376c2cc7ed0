"""What a reader of a feed sends."""

from marshmallow import Schema, ValidationError, validate

from app.fields import Id, Whole
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


page_query = PageQuery()
