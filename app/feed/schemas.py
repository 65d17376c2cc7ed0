"""What a reader of a feed sends."""

from marshmallow import Schema, ValidationError, validate

from app.fields import Id, Whole
from app.settings import settings


def _within_cap(limit: int) -> None:
    cap = settings().feed_cap
    if limit > cap:
        raise ValidationError(f"Must be from 1 to {cap}.")


class PageQuery(Schema):
    offset = Whole(load_default=0, validate=validate.Range(0, 2**31 - 1))
    limit = Whole(load_default=10, validate=[validate.Range(min=1), _within_cap])
    before = Id(load_default=None)


page_query = PageQuery()
