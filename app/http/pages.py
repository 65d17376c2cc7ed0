"""Pages by cursor: the query of a page, and the address of the next in the header Link."""

from flask import request
from marshmallow import Schema, validate

from app.http.fields import Id, NonNegativeInteger

MAX_LIMIT = 100


class LimitQuery(Schema):
    limit = NonNegativeInteger(load_default=10, validate=validate.Range(1, MAX_LIMIT))


class PageQuery(LimitQuery):
    """Schema of a page of what has ids, newest first."""

    before = Id(load_default=None, allow_none=False)


def next_link(query: str) -> tuple[str, str]:
    """Return the header that leads to the same address with another query."""
    return link(request.script_root + request.path, query)


def link(path: str, query: str) -> tuple[str, str]:
    """Return the header that leads to the next page at `path`."""
    return "Link", f'<{path}?{query}>; rel="next"'


page_query = PageQuery()
