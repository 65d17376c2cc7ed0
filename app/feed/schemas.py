"""Schemas of the feed's query and posts."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from app.feed.live import log
from app.http.fields import Id, NonNegativeInteger
from app.settings import settings


def _validate_within_cap(limit: int) -> None:
    maximum = settings().feed_cap
    if limit > maximum:
        raise ValidationError(f"Must be from 1 to {maximum}.")


class Place(fields.Field[log.Place]):
    """A place in the log of live events."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> log.Place:
        try:
            return log.parse_place(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class LiveQuery(Schema):
    after = Place(load_default=None, allow_none=False)


class Seen(Schema):
    id = Id(required=True)


class PageQuery(Schema):
    offset = NonNegativeInteger(load_default=0, validate=validate.Range(0, 2**31 - 1))
    limit = NonNegativeInteger(load_default=10, validate=[validate.Range(min=1), _validate_within_cap])
    before = Id(load_default=None, allow_none=False)
    after = Id(load_default=None, allow_none=False)
    expand = fields.String(load_default=None, allow_none=False, validate=validate.OneOf(["author"]))


live_query = LiveQuery()
page_query = PageQuery()
seen = Seen()
